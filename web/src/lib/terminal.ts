// The terminal that shows a console: what is drawn when, holding the view, times beside the lines, copying.
import { FitAddon } from "@xterm/addon-fit";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { type IBufferLine, Terminal as Xterm } from "@xterm/xterm";
import { clean, type Entry, type LineStore, View } from "./console";
import { darkColours, lightColours } from "./terminalColours";
import { marked } from "./marked";
import { styleSpansThroughCssom, whileStyling } from "./terminalStyles";
import { formatTime, type TimeMode } from "./times";
import { touchScroll } from "./touchScroll";

styleSpansThroughCssom();


/** Rows kept by xterm. With wrapped lines the oldest lines may be out of it while the store still has them. */
const ROWS_MAX = 12_000;
const ROWS_UNWRAPPED_MAX = 4_000;
/** Columns without wrapping; what is longer wraps all the same, since each row costs memory for every column. */
const COLUMNS_MAX = 400;

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
  gapText(entry: Extract<Entry, { type: "gap" }>): string;
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
  private drawn: Entry[] = [];
  private writing = false;
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
    this.xterm.loadAddon(this.fit);
    this.xterm.loadAddon(new Unicode11Addon());
    this.xterm.unicode.activeVersion = "11";
    this.xterm.loadAddon(new WebLinksAddon((_, address) => openLink(address)));
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
    touchScroll(mount, () => (mount.querySelector(".xterm-screen")?.clientHeight ?? 400) / this.xterm.rows, (lines) => this.xterm.scrollLines(lines));
    this.request();
  }

  dispose(): void {
    cancelAnimationFrame(this.frame);
    clearInterval(this.ageing);
    this.resize.disconnect();
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

  toEnd(): void {
    this.xterm.scrollToBottom();
    this.view.held = false;
    this.request();
  }

  scrollPages(pages: number): void {
    this.xterm.scrollPages(pages);
  }

  scrollToTop(): void {
    this.xterm.scrollToTop();
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
    this.fitNow();
    this.redraw(null);
  }

  /** Draws everything anew, for instance because older lines were put in front, with the same line at the top. */
  redraw(keep: Entry | null): void {
    const next = this.view.redraw();
    this.write(next.entries, true, keep);
  }

  /** The line at the top of the window. */
  topEntry(): Entry | null {
    return this.drawn[this.indexAt(this.xterm.buffer.active.viewportY)] ?? null;
  }

  /** The selection, or all that the window shows; without times, and without what wrapping did. */
  textToCopy(): string {
    if (this.xterm.hasSelection()) return this.xterm.getSelection().replace(/[ \t]+$/gm, "");
    const first = this.indexAt(this.xterm.buffer.active.viewportY);
    const last = this.indexAt(this.xterm.buffer.active.viewportY + this.xterm.rows - 1);
    return this.drawn.slice(Math.max(0, first), last + 1).map((entry) => (entry.type === "line" ? marked(entry) : this.options.gapText(entry))).join("\n");
  }

  private draw(): void {
    // One batch at a time: when xterm is slower than the game, what comes meanwhile is one larger batch.
    if (this.writing || !this.options.ready()) return;
    const next = this.view.take();
    if (next) this.write(next.entries, next.reset, null);
    this.tell();
  }

  private write(entries: readonly Entry[], reset: boolean, keep: Entry | null): void {
    this.writing = true;
    const ghost = reset && this.painted ? this.ghost() : null;
    if (reset) {
      this.xterm.reset();
      this.drawn = [];
    }
    let text = reset ? "\x1b[?25l" : "";
    let first = reset || this.drawn.length === 0;
    for (const entry of entries) {
      text += (first ? "" : "\r\n") + this.rendered(entry);
      first = false;
    }
    if (!this.options.wrap) this.widen(entries);
    this.xterm.write(text, () => {
      this.writing = false;
      this.drawn = reset ? entries.slice() : this.drawn.concat(entries);
      if (this.drawn.length > ROWS_MAX * 2) this.drawn = this.drawn.slice(-ROWS_MAX);
      if (keep) this.scrollTo(keep);
      ghost?.remove();
      this.filled = true;
      this.drawGutter();
      this.request();
    });
  }

  private rendered(entry: Entry): string {
    if (entry.type === "gap") return `\x1b[33m┄┄ ${this.options.gapText(entry)} ┄┄\x1b[0m`;
    if (entry.kind === "input") return `\x1b[1;36m›\x1b[0m \x1b[1m${typed(entry)}\x1b[0m`;
    // What the node has to say stands among what the game prints, and is told apart from it.
    if (entry.kind === "notice") return `\x1b[1;33m[Quarterdeck Daemon]\x1b[0m \x1b[33m${clean(entry).plain}\x1b[0m`;
    return clean(entry).ansi;
  }

  /** What is seen now, laid over the terminal while it is filled anew: no flash between two full screens. */
  private ghost(): Element | null {
    const rows = this.options.mount.querySelector(".xterm-rows");
    const copy = rows?.cloneNode(true) as HTMLElement | undefined;
    if (!rows?.parentElement || !copy) return null;
    copy.classList.add("qd-ghost");
    rows.parentElement.append(copy);
    return copy;
  }

  private looked(): void {
    // Parsed is not painted yet: the window is shown with the first frame that has lines in it.
    if (this.filled && !this.painted) {
      this.painted = true;
      this.options.painted();
    }
    const { viewportY, baseY } = this.xterm.buffer.active;
    const held = viewportY < baseY;
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
  }

  private tell(): void {
    this.options.changed(this.view.held, this.view.held ? this.view.pending : 0);
  }

  private scrollTo(entry: Entry): void {
    const index = this.drawn.indexOf(entry);
    if (index < 0) return;
    const row = this.rowOf(index);
    this.xterm.scrollToLine(row);
  }

  /** Logical lines are counted from the end, where xterm and `drawn` surely agree; xterm drops rows at the front. */
  private indexAt(row: number): number {
    const { active } = this.xterm.buffer;
    let lines = 0;
    for (let at = active.baseY + active.cursorY; at > row; at--) if (starts(active.getLine(at))) lines++;
    return this.drawn.length - 1 - lines;
  }

  private rowOf(index: number): number {
    const { active } = this.xterm.buffer;
    let lines = this.drawn.length - 1 - index;
    for (let at = active.baseY + active.cursorY; at > 0; at--) {
      if (starts(active.getLine(at)) && lines-- === 0) return at;
    }
    return 0;
  }

  private drawGutter(): void {
    const { gutter, timeMode } = this.options;
    if (!gutter) return;
    if (timeMode === "off" || this.drawn.length === 0) {
      gutter.replaceChildren();
      return;
    }
    const { active } = this.xterm.buffer;
    const screen = this.options.mount.querySelector(".xterm-screen");
    gutter.style.setProperty("--row", `${(screen?.clientHeight ?? 0) / this.xterm.rows}px`);
    while (gutter.childElementCount < this.xterm.rows) gutter.append(document.createElement("div"));
    while (gutter.childElementCount > this.xterm.rows) gutter.lastElementChild?.remove();
    const end = active.baseY + active.cursorY;
    let index = this.indexAt(active.viewportY);
    const now = Date.now();
    for (let at = 0; at < this.xterm.rows; at++) {
      const row = active.viewportY + at;
      const start = row <= end && starts(active.getLine(row));
      if (at > 0 && start) index++;
      const entry = start ? this.drawn[index] : undefined;
      const text = entry?.type === "line" ? formatTime(entry.at, timeMode, now) : "";
      const cell = gutter.children[at] as HTMLElement;
      if (cell.textContent !== text) cell.textContent = text;
    }
  }

  private fitNow(): void {
    const proposed = this.fit.proposeDimensions();
    if (!proposed || !Number.isFinite(proposed.cols) || proposed.rows < 1) return;
    const columns = this.options.wrap ? proposed.cols : Math.max(proposed.cols, Math.min(COLUMNS_MAX, this.longest));
    if (columns === this.xterm.cols && proposed.rows === this.xterm.rows) return;
    this.xterm.resize(Math.max(20, columns), proposed.rows);
  }

  private widen(entries: readonly Entry[]): void {
    for (const entry of entries) this.longest = Math.max(this.longest, clean(entry).plain.length + 2);
    this.fitNow();
  }
}

function starts(line: IBufferLine | undefined): boolean {
  return line !== undefined && !line.isWrapped;
}

/** What somebody typed, without the mark that the node may have put in front of it. */
function typed(entry: Extract<Entry, { type: "line" }>): string {
  const { plain } = clean(entry);
  return entry.text.startsWith("\x1b[2m> ") ? plain.slice(2) : plain;
}

/** Only web addresses: a game decides what stands in a line. */
function openLink(address: string): void {
  if (/^https?:\/\//i.test(address)) window.open(address, "_blank", "noopener,noreferrer");
}
