// The lines a page holds of one console: in order of their numbers, each once, gaps named, memory bounded.
import { type Clean, sanitise } from "./sanitise";
import type { Line } from "./protocol";

/** Lines kept while the newest are watched. */
export const LINES_MAX = 5_000;
/** Lines kept while somebody reads further up and loads older ones. */
export const HELD_LINES_MAX = 20_000;
/** Characters kept, so that few very long lines cannot fill the memory either. */
export const CHARS_MAX = 8_000_000;
/** How many lines of both sides must agree before the plain protocol's history is joined without a gap. */
const SEAM_LINES_MAX = 150;

export type Entry = ({ type: "line" } & Line) | { type: "gap"; from: number; to: number; reason: string };

export class LineStore {
  private kept: Entry[] = [];
  /** Entries before this index are dropped; the list is cut now and then, not at every line. */
  private start = 0;
  private chars = 0;
  private limit = LINES_MAX;
  /** How many entries were ever appended: a place in the list that survives dropping. */
  appended = 0;
  /** Lines that came a second time and were not taken. More than 0 is a fault of the sender. */
  repeated = 0;

  /** What is kept, oldest first. The list may grow with the next line: whoever waits meanwhile takes a copy. */
  entries(): readonly Entry[] {
    return this.start === 0 ? this.kept : this.kept.slice(this.start);
  }

  get length(): number {
    return this.kept.length - this.start;
  }

  /** The newest number that was seen, as line or as the end of a gap; -1 when there is none. */
  get newest(): number {
    const last = this.kept[this.kept.length - 1];
    return last === undefined || this.length === 0 ? -1 : lastNumber(last);
  }

  /** The oldest number that is kept; null when there is none. */
  get oldest(): number | null {
    const first = this.kept[this.start];
    return first === undefined ? null : first.type === "line" ? first.seq : first.from;
  }

  append(line: Line): boolean {
    if (line.seq <= this.newest) {
      this.repeated++;
      return false;
    }
    this.push({ type: "line", ...line });
    return true;
  }

  appendGap(from: number, to: number, reason: string): boolean {
    const start = Math.max(from, this.newest + 1);
    if (to <= start) return false;
    this.push({ type: "gap", from: start, to, reason });
    return true;
  }

  /** Puts older lines in front; what is kept already is left out. Says how many were new. */
  prepend(lines: readonly Line[], gaps: readonly { from: number; to: number; reason: string }[]): number {
    const before = this.oldest ?? Number.MAX_SAFE_INTEGER;
    const older: Entry[] = [
      ...lines.filter((line) => line.seq < before).map((line): Entry => ({ type: "line", ...line })),
      ...gaps.filter((gap) => gap.to <= before).map((gap): Entry => ({ type: "gap", ...gap })),
    ];
    older.sort((a, b) => firstNumber(a) - firstNumber(b));
    for (const entry of older) this.chars += size(entry);
    this.kept = [...older, ...this.kept.slice(this.start)];
    this.start = 0;
    return older.length;
  }

  find(seq: number): Entry | null {
    return this.kept.find((entry, at) => at >= this.start && entry.type === "line" && entry.seq === seq) ?? null;
  }

  /** How much is kept from now on: more while somebody reads further up. */
  setLimit(limit: number): void {
    this.limit = limit;
    this.trim();
  }

  get full(): boolean {
    return this.length >= this.limit || this.chars >= CHARS_MAX;
  }

  clear(): void {
    this.kept = [];
    this.start = 0;
    this.chars = 0;
  }

  private push(entry: Entry): void {
    this.kept.push(entry);
    this.chars += size(entry);
    this.appended++;
    this.trim();
  }

  private trim(): void {
    while (this.length > 1 && (this.length > this.limit || this.chars > CHARS_MAX)) {
      this.chars -= size(this.kept[this.start] as Entry);
      this.start++;
    }
    if (this.start > 1_000) {
      this.kept = this.kept.slice(this.start);
      this.start = 0;
    }
  }
}

/** What of a store a screen has drawn, and what it draws next. Holding is simply not drawing. */
export class View {
  held = false;
  private drawn = 0;
  private fresh = true;
  private cut = false;

  constructor(
    private readonly store: LineStore,
    /** More new entries than this are not appended: the screen is drawn anew with the newest. */
    private readonly screenful = LINES_MAX,
  ) {}

  /** Entries that came since the screen was held. */
  get pending(): number {
    return this.store.appended - this.drawn;
  }

  /** The next thing to draw; null when there is nothing, or the view is held. */
  take(): { reset: boolean; entries: readonly Entry[] } | null {
    if (this.held) return null;
    return this.fresh || this.cut ? this.redraw() : this.news();
  }

  /** What is drawn ends before the newest line there was: whoever reads on gets the next part. */
  get endsEarly(): boolean {
    return this.cut;
  }

  /** From scratch: everything that is kept now, or `most` lines around one, of which a third comes behind it. */
  redraw(around: Entry | null = null, most = Infinity): { reset: boolean; entries: readonly Entry[] } {
    const all = this.store.entries();
    const at = around && all.length > most ? all.indexOf(around) : -1;
    const to = at < 0 ? all.length : Math.min(all.length, at + Math.ceil(most / 3));
    this.fresh = false;
    this.cut = to < all.length;
    this.drawn = this.store.appended;
    return { reset: true, entries: at < 0 ? all.slice() : all.slice(Math.max(0, to - most), to) };
  }

  /** The newest are wanted, whatever part is drawn. */
  letGo(): void {
    this.held = false;
    this.fresh ||= this.cut;
    this.cut = false;
  }

  private news(): { reset: boolean; entries: readonly Entry[] } | null {
    const pending = this.pending;
    if (pending === 0) return null;
    if (pending > this.screenful || pending >= this.store.length) return this.redraw();
    this.drawn = this.store.appended;
    return { reset: false, entries: this.store.entries().slice(-pending) };
  }
}

/** Joins the plain protocol's history (text without numbers) to what is there: the part that is new, and whether it fits. */
export function seam(have: readonly string[], history: readonly string[]): { fresh: readonly string[]; fits: boolean } {
  if (have.length === 0) return { fresh: history, fits: true };
  const longest = Math.min(have.length, history.length, SEAM_LINES_MAX);
  for (let common = longest; common > 0; common--) {
    const tail = have.slice(have.length - common);
    // The history's beginning continues our end, or our end stands somewhere inside of the history.
    for (let at = 0; at + common <= history.length; at++) {
      if (at > 0 && common < Math.min(have.length, 3)) break;
      if (tail.every((text, index) => text === history[at + index])) return { fresh: history.slice(at + common), fits: true };
    }
  }
  return { fresh: history, fits: false };
}

const cleaned = new WeakMap<Entry, Clean>();

export function clean(entry: Entry): Clean {
  let made = cleaned.get(entry);
  if (!made) {
    made = entry.type === "line" ? sanitise(entry.text) : { ansi: "", plain: "" };
    cleaned.set(entry, made);
  }
  return made;
}

function firstNumber(entry: Entry): number {
  return entry.type === "line" ? entry.seq : entry.from;
}

function lastNumber(entry: Entry): number {
  return entry.type === "line" ? entry.seq : entry.to - 1;
}

function size(entry: Entry): number {
  return entry.type === "line" ? entry.text.length + 64 : 64;
}
