// A copy of what the terminal shows, for the moment in which it is filled anew: no flash between two full screens.

/** Laid over the terminal; whoever asked for it takes it away. */
export function layGhost(mount: HTMLElement): Element | null {
  const rows = mount.querySelector(".xterm-rows");
  const copy = rows?.cloneNode(true) as HTMLElement | undefined;
  if (!rows?.parentElement || !copy) return null;
  copy.classList.add("qd-ghost");
  rows.parentElement.append(copy);
  return copy;
}
