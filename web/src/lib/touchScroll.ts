// Scrolling by touch, which xterm 6 does not know. A finger moves lines; letting go keeps some of the speed.

/** `rowHeight` is asked for each time, since the window may change; `scroll` moves by whole lines. */
export function touchScroll(surface: HTMLElement, rowHeight: () => number, scroll: (lines: number) => void): void {
  let last = 0;
  let rest = 0;
  let speed = 0;
  let at = 0;
  let gliding = 0;

  const move = (pixels: number) => {
    rest += pixels;
    const lines = Math.trunc(rest / rowHeight());
    rest -= lines * rowHeight();
    if (lines !== 0) scroll(lines);
  };
  const glide = () => {
    speed *= 0.95;
    move(speed * 16);
    if (Math.abs(speed) > 0.05) gliding = requestAnimationFrame(glide);
  };

  surface.addEventListener("touchstart", (touch) => {
    cancelAnimationFrame(gliding);
    last = touch.touches[0]?.clientY ?? 0;
    rest = speed = 0;
    at = touch.timeStamp;
  }, { passive: true });
  surface.addEventListener("touchmove", (touch) => {
    const y = touch.touches[0]?.clientY ?? last;
    const passed = Math.max(1, touch.timeStamp - at);
    speed = 0.7 * ((last - y) / passed) + 0.3 * speed;
    move(last - y);
    last = y;
    at = touch.timeStamp;
  }, { passive: true });
  surface.addEventListener("touchend", () => {
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) glide();
  });
}
