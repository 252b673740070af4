// The downloaded log: the newest lines, each with its time and with who it is from.
import { api, type LinePage, type StoredLine } from "./api";
import { markedText } from "./marked";
import { sanitise } from "./sanitise";
import { say } from "./say";

const LINES = 5_000;

/** The file's text. A line is what a terminal would show of it in the end. */
export function logText(page: Pick<LinePage, "lines" | "gaps">): string {
  const gaps = [...page.gaps].sort((a, b) => a.from - b.from);
  let text = "";
  const gapsBefore = (seq: number) => {
    for (let gap = gaps[0]; gap && gap.from < seq; gap = gaps[0]) {
      text += `[${say("lines.gap", { from: gap.from, to: gap.to - 1, reason: gap.reason })}]\n`;
      gaps.shift();
    }
  };
  for (const line of page.lines) {
    gapsBefore(line.seq);
    text += `${written(line)}\n`;
  }
  return text;
}

function written(line: StoredLine): string {
  return `${new Date(line.at).toISOString()} ${markedText(line.kind, line.text, sanitise(line.text, Infinity).plain)}`.trimEnd();
}

/** All of the newest lines: an answer with very long ones ends before the last of them. */
export async function newest(read: (range: { after?: number; limit: number }) => Promise<LinePage>): Promise<LinePage> {
  const page = await read({ limit: LINES });
  for (;;) {
    const left = page.next - 1 - (page.lines.at(-1)?.seq ?? page.next);
    if (left <= 0) return page;
    const more = await read({ after: page.next - 1 - left, limit: left });
    if (more.lines.length === 0) return page;
    page.lines.push(...more.lines);
    page.gaps.push(...more.gaps);
  }
}

/** Hands the newest lines of a server to the browser as a file. */
export async function downloadLog(server: string, name: string): Promise<void> {
  const page = await newest((range) => api.lines(server, range));
  const address = URL.createObjectURL(new Blob([logText(page)], { type: "text/plain;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `${name}.log`;
  link.click();
  // Not at once: the browser reads it when it begins to write the file.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
