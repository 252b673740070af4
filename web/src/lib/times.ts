// How the time of a line is written beside it.

export type TimeMode = "off" | "local" | "utc" | "relative";
export const TIME_MODES: readonly TimeMode[] = ["off", "local", "utc", "relative"];

/** A line's time as it stands beside the line. */
export function formatTime(at: number | null, mode: TimeMode, now: number): string {
  if (at === null || mode === "off") return "";
  if (mode === "relative") return formatAgo(now - at);
  const date = new Date(at);
  if (mode === "utc") return `${date.toISOString().slice(11, 19)}Z`;
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
}

/** A day, the same everywhere and in every browser. */
export function formatDay(at: number, mode: "local" | "utc" = "local"): string {
  const date = new Date(at);
  return mode === "utc" ? date.toISOString().slice(0, 10) : `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** A day and its time, 24 hours. */
export function formatMoment(at: number, mode: "local" | "utc" = "local"): string {
  return `${formatDay(at, mode)} ${formatTime(at, mode, at)}`;
}

const two = (part: number) => String(part).padStart(2, "0");

function formatAgo(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `−${seconds} s`;
  if (seconds < 3600) return `−${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `−${Math.floor(seconds / 3600)} h`;
  return `−${Math.floor(seconds / 86_400)} d`;
}
