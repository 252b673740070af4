// Whether somebody moves the terminal's window, by wheel, finger, key or scroll bar; only that can hold it, xterm's own late scrolling cannot.

/** So long after a gesture a move of the window is taken for its effect. */
const EFFECT_MS = 500;

export class Gestures {
  private at = -Infinity;
  private pressed = false;

  constructor(mount: HTMLElement) {
    mount.addEventListener("wheel", () => this.note(), { capture: true, passive: true });
    mount.addEventListener("pointerdown", () => (this.pressed = true), { capture: true });
    addEventListener("pointerup", this.released);
    addEventListener("pointercancel", this.released);
  }

  dispose(): void {
    removeEventListener("pointerup", this.released);
    removeEventListener("pointercancel", this.released);
  }

  /** A gesture that is not an event of the mount, such as a key. */
  note(): void {
    this.at = performance.now();
  }

  /** What was done before has no effect any more. */
  forget(): void {
    this.at = -Infinity;
  }

  get underWay(): boolean {
    return this.pressed || performance.now() - this.at < EFFECT_MS;
  }

  private readonly released = (): void => {
    if (this.pressed) this.note();
    this.pressed = false;
  };
}
