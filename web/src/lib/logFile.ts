// The downloaded log: the newest lines or those of a run, each with its time and with who it is from.
import { api, type LinePage, type Run, type StoredLine } from "./api";
import { completed } from "./linePage";
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

/** All of the newest lines. */
export async function newest(read: (range: { after?: number; limit: number }) => Promise<LinePage>): Promise<LinePage> {
  const page = await read({ limit: LINES });
  return completed(page, page.next, read);
}

/** All lines of a run, page by page: in order, from the oldest of it that is kept to its end, or to the newest while it goes on. */
export async function* linesOfRun(
  run: Pick<Run, "id" | "first_line" | "end_line">,
  read: (range: { after?: number; before?: number; run: string; limit: number }) => Promise<LinePage>,
): AsyncGenerator<LinePage> {
  const end = run.end_line ?? Infinity;
  const first = run.first_line ?? (await read({ run: run.id, limit: 1 })).oldest;
  // There is no number in front of the first line, so it is asked for from the other side.
  let range: { after?: number; before?: number } = first > 0 ? { after: first - 1 } : { before: LINES };
  for (;;) {
    const page = await read({ ...range, run: run.id, limit: LINES });
    const last = page.lines.at(-1)?.seq;
    if (last === undefined) return;
    yield { ...page, lines: page.lines.filter((line) => line.seq >= first && line.seq < end) };
    if (last + 1 >= Math.min(end, page.next)) return;
    range = { after: last };
  }
}

/** Hands the newest lines of a server to the browser as a file. */
export async function downloadLog(server: string, name: string): Promise<void> {
  save(name, [logText(await newest((range) => api.lines(server, range)))]);
}

/** The same with the lines of a run; says on the way how many there are so far. */
export async function downloadRun(server: string, name: string, run: Run, soFar: (lines: number) => void): Promise<void> {
  const parts: string[] = [];
  let lines = 0;
  for await (const page of linesOfRun(run, (range) => api.lines(server, range))) {
    parts.push(logText(page));
    soFar((lines += page.lines.length));
  }
  save(run.started_at === null ? name : `${name} ${new Date(run.started_at).toISOString().slice(0, 19).replaceAll(":", "-")}`, parts);
}

function save(name: string, parts: string[]): void {
  const address = URL.createObjectURL(new Blob(parts, { type: "text/plain;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `${name}.log`;
  link.click();
  // Not at once: the browser reads it when it begins to write the file.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
