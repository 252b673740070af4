// Answers of stored lines: one that is full before its last line is completed, so that no line is missing without a word.
import type { LinePage } from "./api";

/** Reads on until the lines reach `end`, the number behind the last one that was asked for: an answer with very long lines ends earlier. */
export async function completed(page: LinePage, end: number, read: (range: { after: number; limit: number }) => Promise<LinePage>): Promise<LinePage> {
  for (;;) {
    const left = end - 1 - (page.lines.at(-1)?.seq ?? end);
    if (left <= 0) return page;
    const more = await read({ after: end - 1 - left, limit: left });
    if (more.lines.length === 0) return page;
    page.lines.push(...more.lines);
    page.gaps.push(...more.gaps);
  }
}
