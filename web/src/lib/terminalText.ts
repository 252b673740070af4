// A line as the terminal is given it: what the game printed as it is, and marks where somebody else speaks.
import { clean, type Entry } from "./console";

export type Gap = Extract<Entry, { type: "gap" }>;

export function rendered(entry: Entry, gapText: (gap: Gap) => string): string {
  if (entry.type === "gap") return `\x1b[33m┄┄ ${gapText(entry)} ┄┄\x1b[0m`;
  if (entry.kind === "input") return `\x1b[1;36m›\x1b[0m \x1b[1m${typed(entry)}\x1b[0m`;
  // What the node has to say stands among what the game prints, and is told apart from it.
  if (entry.kind === "notice") return `\x1b[1;33m[Quarterdeck Daemon]\x1b[0m \x1b[33m${clean(entry).plain}\x1b[0m`;
  return clean(entry).ansi;
}

/** What somebody typed, without the mark that the node may have put in front of it. */
function typed(entry: Extract<Entry, { type: "line" }>): string {
  const { plain } = clean(entry);
  return entry.text.startsWith("\x1b[2m> ") ? plain.slice(2) : plain;
}
