// The times beside the terminal: one cell for each row of the window, with the time of the line that begins there.
import type { Entry } from "./console";
import { formatTime, type TimeMode } from "./times";

/** `beginning` has what begins in each row of the window; `height` is that of a row, in pixels. */
export function drawTimes(gutter: HTMLElement, beginning: readonly (Entry | undefined)[], height: number, mode: TimeMode): void {
  gutter.style.setProperty("--row", `${height}px`);
  while (gutter.childElementCount < beginning.length) gutter.append(document.createElement("div"));
  while (gutter.childElementCount > beginning.length) gutter.lastElementChild?.remove();
  const now = Date.now();
  beginning.forEach((entry, row) => {
    const text = entry?.type === "line" ? formatTime(entry.at, mode, now) : "";
    const cell = gutter.children[row] as HTMLElement;
    if (cell.textContent !== text) cell.textContent = text;
  });
}
