// What this browser remembers of how somebody reads a console: times and wrapping. Lost storage means defaults.
import { TIME_MODES, type TimeMode } from "./times";

/** Storage for framework-free parts, or null where the browser forbids it. */
export function storage(): Storage | null {
  try {
    return localStorage;
  } catch {
    return null;
  }
}

function write(key: string, value: string): void {
  try {
    storage()?.setItem(`quarterdeck.${key}`, value);
  } catch {
    // Then it holds as long as the page.
  }
}

class Settings {
  timeMode = $state<TimeMode>("local");
  wrap = $state(true);

  constructor() {
    const mode = storage()?.getItem("quarterdeck.times") as TimeMode | null;
    // A phone's width is for the lines.
    this.timeMode = mode !== null && TIME_MODES.includes(mode) ? mode : matchMedia("(max-width: 560px)").matches ? "off" : "local";
    this.wrap = storage()?.getItem("quarterdeck.wrap") !== "no";
  }

  setTimeMode(mode: TimeMode): void {
    this.timeMode = mode;
    write("times", mode);
  }

  toggleWrap(): void {
    this.wrap = !this.wrap;
    write("wrap", this.wrap ? "yes" : "no");
  }
}

export const settings = new Settings();
