// A line as plain text that says by itself whether the game printed it, somebody typed it, or the daemon has to say it.
import type { LineKind } from "./protocol";
import { clean, type Entry } from "./console";
import { sanitise } from "./sanitise";
import { say } from "./say";

/** What some nodes put in front of a typed command themselves. */
const NODE_MARK = "\x1b[2m> ";

export function markedText(kind: LineKind, text: string, plain = sanitise(text).plain): string {
  if (kind === "input") return say("lines.input", { text: text.startsWith(NODE_MARK) ? plain.slice(2) : plain });
  return kind === "notice" ? say("lines.notice", { text: plain }) : plain;
}

/** The same for what a page holds. A gap has no text. */
export function marked(entry: Entry): string {
  return entry.type === "line" ? markedText(entry.kind, entry.text, clean(entry).plain) : "";
}
