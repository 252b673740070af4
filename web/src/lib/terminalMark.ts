// The band over a line that somebody asked for: it goes with the line, and goes away after a moment.
import type { Entry } from "./console";

const MARK_MS = 5_000;

export class Mark {
  private entry: Entry | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly band = document.createElement("div");

  constructor() {
    this.band.className = "qd-mark";
    this.band.dataset.testid = "shown-line";
  }

  put(entry: Entry): void {
    this.clear();
    this.entry = entry;
    this.timer = setTimeout(() => this.clear(), MARK_MS);
  }

  clear(): void {
    clearTimeout(this.timer);
    this.band.remove();
    this.entry = null;
  }

  /** Draws it into the screen, which has so many rows; `placed` says where a line stands, and null when it is not in the window. */
  draw(screen: Element | null, rows: number, placed: (entry: Entry) => { row: number; height: number } | null): void {
    if (!this.entry || !screen) return;
    const place = placed(this.entry);
    if (!place) return this.band.remove();
    const height = screen.clientHeight / rows;
    this.band.style.top = `${place.row * height}px`;
    this.band.style.height = `${place.height * height}px`;
    if (!this.band.isConnected) screen.append(this.band);
  }
}
