// The terminal that shows a console: what is drawn when, holding the view, times beside the lines, copying.
import { FitAddon } from "@xterm/addon-fit";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { Terminal as Xterm } from "@xterm/xterm";
import { clean, type Entry, type LineStore, View } from "./console";
import { darkColours, lightColours } from "./terminalColours";
import { marked } from "./marked";
import { layGhost } from "./terminalGhost";
import { Gestures } from "./terminalGestures";
import { drawTimes } from "./terminalGutter";
import { webLinks } from "./terminalLinks";
import { Mark } from "./terminalMark";
import { Rows } from "./terminalRows";
import { type Gap, rendered } from "./terminalText";
import { styleSpansThroughCssom, whileStyling } from "./terminalStyles";
import type { TimeMode } from "./times";
import { touchScroll } from "./touchScroll";

styleSpansThroughCssom();

/** Rows kept by xterm. With wrapped lines the oldest lines may be out of it while the store still has them. */
const ROWS_MAX = 12_000;
const ROWS_UNWRAPPED_MAX = 4_000;
/** Lines drawn around one that is kept in view: as many as surely have a place among the rows. */
const AROUND_LINES = 3_000;
/** Columns without wrapping; what is longer wraps all the same, since each row costs memory for every column. */
const COLUMNS_MAX = 400;

/** Where in the window a line is put when everything is drawn anew. */
type Place = "top" | "middle" | "bottom";

export interface TerminalOptions {
  store: LineStore;
  mount: HTMLElement;
  gutter: HTMLElement | null;
  fontSize: number;
  dark: boolean;
  wrap: boolean;
  timeMode: TimeMode;
  /** Whether the history is complete: before that nothing is drawn. */
  ready(): boolean;
  gapText(entry: Gap): string;
  /** The view was held or let go, or the number of lines that wait changed. */
  changed(held: boolean, pending: number): void;
  /** Somebody reads at the very top. */
  top(): void;
  /** The first lines have been drawn. */
  painted(): void;
}

export class ConsoleTerminal {
  private readonly xterm: Xterm;
  private readonly fit = new FitAddon();
  private readonly view: View;
  /** The entries that stand in xterm, oldest first, as far as they are parsed. */
  private drawn: readonly Entry[] = [];
  private writing = false;
  /** It is being filled anew: where it stands meanwhile says nothing. */
  private refilling = false;
  /** What is drawn anew when the batch that is being written is done: xterm would write the rest of it behind the reset. */
  private queued: (() => void) | null = null;
  private readonly mark = new Mark();
  private readonly gestures: Gestures;
  private readonly rows: Rows;
  private frame = 0;
  private atTop = false;
  private filled = false;
  private painted = false;
  private longest = 80;
  private readonly resize: ResizeObserver;
  private readonly ageing: ReturnType<typeof setInterval>;

  constructor(private readonly options: TerminalOptions) {
    this.view = new View(options.store);
    const { mount } = options;
    this.xterm = new Xterm({
      allowProposedApi: true,
      convertEol: false,
      cursorBlink: false,
      cursorInactiveStyle: "none",
      disableStdin: true,
      fontFamily: getComputedStyle(mount).fontFamily,
      fontSize: options.fontSize,
      lineHeight: 1.3,
      minimumContrastRatio: 4.5,
      scrollback: options.wrap ? ROWS_MAX : ROWS_UNWRAPPED_MAX,
      scrollOnUserInput: false,
      overviewRuler: { width: 9 },
      theme: options.dark ? darkColours() : lightColours(),
    });
    this.rows = new Rows(this.xterm);
    this.xterm.loadAddon(this.fit);
    this.xterm.loadAddon(new Unicode11Addon());
    this.xterm.unicode.activeVersion = "11";
    this.xterm.loadAddon(webLinks());
    whileStyling(() => this.xterm.open(mount));
    // Keys belong to the page: nobody types into the console itself, and Tab must lead out of it.
    this.xterm.attachCustomKeyEventHandler(() => false);
    if (this.xterm.textarea) {
      this.xterm.textarea.tabIndex = -1;
      this.xterm.textarea.readOnly = true;
    }
    this.xterm.write("\x1b[?25l");
    this.fitNow();
    this.xterm.onRender(() => this.looked());
    this.xterm.onScroll(() => this.looked());
    this.resize = new ResizeObserver(() => this.fitNow());
    this.resize.observe(mount.parentElement ?? mount);
    this.ageing = setInterval(() => options.timeMode === "relative" && this.drawGutter(), 1_000);
    document.addEventListener("visibilitychange", this.request);
    this.gestures = new Gestures(mount);
    touchScroll(mount, () => (mount.querySelector(".xterm-screen")?.clientHeight ?? 400) / this.xterm.rows, (lines) => this.moves(() => this.xterm.scrollLines(lines)));
    this.request();
  }

  dispose(): void {
    cancelAnimationFrame(this.frame);
    clearInterval(this.ageing);
    this.mark.clear();
    this.resize.disconnect();
    this.gestures.dispose();
    document.removeEventListener("visibilitychange", this.request);
    this.xterm.dispose();
  }

  /** There is something new to draw. A hidden page has no frames, so it draws nothing and catches up when it is seen. */
  readonly request = (): void => {
    if (this.frame !== 0 || document.visibilityState !== "visible") return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  };

  private moves(move: () => void): void {
    this.gestures.note();
    move();
  }

  toEnd(): void {
    this.gestures.forget();
    this.view.letGo();
    this.xterm.scrollToBottom();
    this.request();
  }

  get held(): boolean {
    return this.view.held;
  }

  scrollPages(pages: number): void {
    this.moves(() => this.xterm.scrollPages(pages));
  }

  scrollToTop(): void {
    this.moves(() => this.xterm.scrollToTop());
  }

  setTimeMode(mode: TimeMode): void {
    this.options.timeMode = mode;
    this.fitNow();
    this.drawGutter();
  }

  setDark(dark: boolean): void {
    this.xterm.options.theme = dark ? darkColours() : lightColours();
  }

  setWrap(wrap: boolean): void {
    this.options.wrap = wrap;
    this.xterm.options.scrollback = wrap ? ROWS_MAX : ROWS_UNWRAPPED_MAX;
    const keep = this.view.held ? this.topEntry() : null;
    this.fitNow();
    // In place of what a change of columns may have begun: that knew of a window that xterm had moved.
    this.redraw(keep);
  }

  /** Draws everything anew, for instance because older lines were put in front, with the same line in its place. */
  redraw(keep: Entry | null, place: Place = "top"): void {
    if (this.writing) {
      this.queued = () => this.redraw(keep, place);
      return;
    }
    const next = this.view.redraw(keep, AROUND_LINES);
    this.write(next.entries, true, keep, place);
  }

  /** Goes to a line that the store has, holds the view there, and marks the line for a moment. */
  reveal(entry: Entry): void {
    this.mark.put(entry);
    // The keys that lead on from here are those of the console.
    this.options.mount.closest<HTMLElement>('[role="region"]')?.focus({ preventScroll: true });
    this.redraw(entry, "middle");
  }

  /** Whether the store has lines above those that are drawn. */
  get hasAbove(): boolean {
    const [first] = this.options.store.entries();
    return first !== undefined && this.drawn[0] !== undefined && this.drawn[0] !== first && this.options.store.entries().includes(this.drawn[0]);
  }

  /** The line at the top of the window. */
  topEntry(): Entry | null {
    return this.drawn[this.rows.indexAt(this.xterm.buffer.active.viewportY, this.drawn.length)] ?? null;
  }

  /** The selection, or all that the window shows; without times, and without what wrapping did. */
  textToCopy(): string {
    if (this.xterm.hasSelection()) return this.xterm.getSelection().replace(/[ \t]+$/gm, "");
    const first = this.rows.indexAt(this.xterm.buffer.active.viewportY, this.drawn.length);
    const last = this.rows.indexAt(this.xterm.buffer.active.viewportY + this.xterm.rows - 1, this.drawn.length);
    return this.drawn.slice(Math.max(0, first), last + 1).map((entry) => (entry.type === "line" ? marked(entry) : this.options.gapText(entry))).join("\n");
  }

  private draw(): void {
    // One batch at a time: when xterm is slower than the game, what comes meanwhile is one larger batch.
    if (this.writing || !this.options.ready()) return;
    const next = this.view.take();
    if (next) this.write(next.entries, next.reset, null);
    this.tell();
  }

  private write(entries: readonly Entry[], reset: boolean, keep: Entry | null, place: Place = "top"): void {
    this.writing = true;
    this.refilling = reset;
    const ghost = reset && this.painted ? layGhost(this.options.mount) : null;
    if (reset) {
      this.xterm.reset();
      this.drawn = [];
    }
    let text = reset ? "\x1b[?25l" : "";
    let first = reset || this.drawn.length === 0;
    for (const entry of entries) {
      text += (first ? "" : "\r\n") + rendered(entry, this.options.gapText);
      first = false;
    }
    if (!this.options.wrap) this.widen(entries);
    this.xterm.write(text, () => {
      this.writing = false;
      this.drawn = reset ? entries : this.drawn.concat(entries);
      if (this.drawn.length > ROWS_MAX * 2) this.drawn = this.drawn.slice(-ROWS_MAX);
      this.refilling = false;
      if (keep) {
        this.view.held = true;
        this.scrollTo(keep, place);
      }
      ghost?.remove();
      this.filled = true;
      this.drawGutter();
      this.drawMark();
      const { queued } = this;
      this.queued = null;
      if (queued) queued();
      else this.request();
    });
  }

  private looked(): void {
    // Parsed is not painted yet: the window is shown with the first frame that has lines in it.
    if (this.filled && !this.painted) {
      this.painted = true;
      this.options.painted();
    }
    if (this.refilling) return;
    const { viewportY, baseY } = this.xterm.buffer.active;
    // xterm's own scrolling is a frame late: when much is written it can put a window back that nobody has moved.
    if (viewportY < baseY && !this.view.held && !this.gestures.underWay) return this.xterm.scrollToBottom();
    const held = viewportY < baseY || this.view.endsEarly;
    // Read to the end of what is drawn, but not of what there is: the next part comes, with the last line where it was.
    if (held && viewportY >= baseY && !this.writing) this.redraw(this.drawn.at(-1) ?? null, "bottom");
    if (held !== this.view.held) {
      this.view.held = held;
      if (!held) this.request();
    }
    const atTop = viewportY === 0 && baseY > 0;
    // While it is being filled anew the window stands at the top for a moment: nobody went there.
    if (!this.writing) {
      if (atTop && !this.atTop) this.options.top();
      this.atTop = atTop;
    }
    this.tell();
    this.drawGutter();
    this.drawMark();
  }

  private tell(): void {
    this.options.changed(this.view.held, this.view.held ? this.view.pending : 0);
  }

  private scrollTo(entry: Entry, place: Place): void {
    const index = this.drawn.indexOf(entry);
    if (index < 0) return;
    const { rows } = this.xterm;
    const row = this.rows.rowOf(index, this.drawn.length);
    if (place === "top") return this.xterm.scrollToLine(row);
    if (place === "bottom") return this.xterm.scrollToLine(Math.max(0, row + this.rows.heightOf(row) - rows));
    // One row above the end is not the end: the view is held also where the line is among the newest.
    const { baseY } = this.xterm.buffer.active;
    this.xterm.scrollToLine(Math.max(0, Math.min(row - Math.floor(rows / 3), baseY - 1)));
  }

  private drawMark(): void {
    const { rows, buffer } = this.xterm;
    this.mark.draw(this.options.mount.querySelector(".xterm-screen"), rows, (entry) => {
      const index = this.drawn.indexOf(entry);
      const at = index < 0 ? -1 : this.rows.rowOf(index, this.drawn.length);
      const row = at - buffer.active.viewportY;
      return index < 0 || row < 0 || row >= rows ? null : { row, height: this.rows.heightOf(at) };
    });
  }

  private drawGutter(): void {
    const { gutter, timeMode, mount } = this.options;
    if (!gutter) return;
    if (timeMode === "off" || this.drawn.length === 0) return gutter.replaceChildren();
    const screen = mount.querySelector(".xterm-screen");
    drawTimes(gutter, this.rows.beginning(this.drawn), (screen?.clientHeight ?? 0) / this.xterm.rows, timeMode);
  }

  private fitNow(): void {
    // Without a size, behind the search on a phone, it stays as it is: what would be drawn for nothing would move the window.
    if (this.options.mount.clientHeight === 0) return;
    const proposed = this.fit.proposeDimensions();
    if (!proposed || !Number.isFinite(proposed.cols) || proposed.rows < 1) return;
    const columns = this.options.wrap ? proposed.cols : Math.max(proposed.cols, Math.min(COLUMNS_MAX, this.longest));
    this.resizeTo(Math.max(20, columns), proposed.rows);
  }

  private resizeTo(columns: number, rows: number): void {
    if (columns === this.xterm.cols && rows === this.xterm.rows) return;
    const anew = columns !== this.xterm.cols && (this.writing || this.drawn.length > 0);
    const keep = anew && !this.writing && this.view.held ? this.topEntry() : null;
    this.xterm.resize(columns, rows);
    if (!anew) return;
    // xterm cuts the line that its cursor stands in instead of wrapping it anew, and moves a held window: the store knows better.
    if (!this.writing) this.redraw(keep);
    else this.queued ??= () => this.redraw(this.view.held ? this.topEntry() : null);
  }

  private widen(entries: readonly Entry[]): void {
    const before = this.longest;
    for (const entry of entries) this.longest = Math.max(this.longest, clean(entry).plain.length + 2);
    // Wider only, and before the text that needs it: what stands there loses nothing and is not drawn again.
    if (this.longest > before) this.xterm.resize(Math.max(this.xterm.cols, Math.min(COLUMNS_MAX, this.longest)), this.xterm.rows);
  }
}
