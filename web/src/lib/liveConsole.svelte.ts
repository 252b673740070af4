// One server's console as a page holds it: the connection, its lines, and what is known of the server, ready to be shown.
import { api, BLOCKED_RETRY_MS } from "./api";
import { names } from "./complete";
import { clean, type Entry, HELD_LINES_MAX, LINES_MAX, LineStore, seam } from "./console";
import { completed } from "./linePage";
import { marked } from "./marked";
import type { PowerAction, Receipt, ServerState, Stats } from "./protocol";
import { say } from "./say";
import type { LinkState, Listener, World } from "./link";
import { Connection } from "./socket";

/** Lines loaded at once when somebody reads further up. */
const OLDER_LINES = 1_000;
/** The same on the way to a line further up; the most that one answer has. */
const REACH_LINES = 5_000;
/** Lines above a line that was asked for. */
const REACH_CONTEXT = 200;
/** Below this, "behind" is only the next batch on its way. */
const BEHIND_MIN = 50;
const NAMES_MAX = 200;
/** As long as the answer to a command is shown. */
const NOTICE_MS = 6_000;
const CRASH_LINES = 10;
/** A status may overtake the last lines of the game by a moment. */
const CRASH_LINES_MS = 400;

export interface Crash {
  exit: string;
  /** When it ended; null where that is not told. */
  at: number | null;
  restartAt: number | null;
  lines: string[];
  /** What the node noted last, such as that it has given up. Words for people, shown as they are. */
  note: string;
}

function browserWorld(server: string): World {
  return {
    now: () => Date.now(),
    random: () => Math.random(),
    after: (ms, then) => {
      const timer = setTimeout(then, ms);
      return () => clearTimeout(timer);
    },
    credentials: () => api.credentials(server),
    connect: (address, protocols) => new WebSocket(address, protocols) as never,
  };
}

export class LiveConsole {
  readonly store = new LineStore();
  readonly connection: Connection;
  link = $state.raw<LinkState>({ name: "idle" });
  power = $state<ServerState | null>(null);
  killAt = $state<number | null>(null);
  restartAt = $state<number | null>(null);
  /** Whether the last run ended in a crash, also when the banner about it was closed. */
  crashed = $state(false);
  condition = $state<string | null>(null);
  crash = $state.raw<Crash | null>(null);
  /** The crash before the run that goes on now, until somebody has seen it: a restart may follow before anybody reads the banner. */
  survived = $state.raw<Crash | null>(null);
  /** An administrator has blocked the server. */
  suspended = $state(false);
  /** It was deleted, or this visitor may not see it any more. */
  gone = $state(false);
  stats = $state.raw<Stats | null>(null);
  behind = $state(0);
  /** True once the history is here: before that nothing is painted. */
  ready = $state(false);
  notice = $state("");
  /** The oldest number the server keeps, when it is known. */
  private oldestKept: number | null = null;
  private loadingOlder = false;
  private dismissedAt: number | null = null;
  private filling = false;
  private passing: ReturnType<typeof setTimeout> | undefined;
  private readonly names = new Set<string>();
  private readonly watchers = new Set<() => void>();
  private readonly sampled = new Set<(stats: Stats) => void>();

  constructor(
    readonly server: string,
    world: World = browserWorld(server),
  ) {
    this.connection = new Connection(world, this.listener());
    this.connection.open();
    document.addEventListener("visibilitychange", this.poke);
    addEventListener("online", this.poke);
  }

  close(): void {
    this.connection.close();
    document.removeEventListener("visibilitychange", this.poke);
    removeEventListener("online", this.poke);
  }

  private readonly poke = () => {
    if (document.visibilityState === "visible") this.connection.poke();
  };

  /** Called whenever there are new lines. Not reactive: 500 lines/s are drawn once a frame, not 500 times. */
  onLines(then: () => void): () => void {
    this.watchers.add(then);
    return () => this.watchers.delete(then);
  }

  onStats(then: (stats: Stats) => void): () => void {
    this.sampled.add(then);
    return () => this.sampled.delete(then);
  }

  command(text: string): Promise<Receipt> {
    return this.connection.command(text);
  }

  async act(action: PowerAction): Promise<void> {
    this.notice = "";
    if (this.link.name === "live") {
      const receipt = await this.connection.power(action);
      if (receipt.outcome !== "done") this.notice = receipt.reason ?? "";
      return;
    }
    // Without a socket the panel is asked: a broken console is no reason that a server cannot be stopped.
    await api.power(this.server, action).catch((fault: unknown) => (this.notice = fault instanceof Error ? fault.message : String(fault)));
  }

  /** Somebody knows that the server can be used again: no wait is kept, no end is final. */
  again(): void {
    this.connection.open();
    this.connection.poke(true);
  }

  /** Names seen in the newest lines, for completion. */
  get seenNames(): readonly string[] {
    return [...this.names];
  }

  /** What is shown was true once: the connection is lost. */
  get stale(): boolean {
    return this.power !== null && this.link.name !== "live";
  }

  dismissCrash(): void {
    this.dismissedAt = this.crash?.at ?? null;
    this.crash = null;
  }

  /** Reads older lines into the store. Says whether there are any more to come. */
  async older(lines = OLDER_LINES): Promise<"loaded" | "beginning" | "limit" | "failed"> {
    const oldest = this.store.oldest;
    if (oldest === null || this.loadingOlder || !this.connection.hasNumbers) return "failed";
    if (oldest === 0 || (this.oldestKept !== null && oldest <= this.oldestKept)) return "beginning";
    if (this.store.length >= HELD_LINES_MAX) return "limit";
    this.loadingOlder = true;
    try {
      this.store.setLimit(HELD_LINES_MAX);
      const read = (range: { before?: number; after?: number; limit: number }) => api.lines(this.server, range);
      const page = await completed(await read({ before: oldest, limit: lines }), oldest, read);
      this.oldestKept = page.oldest;
      return this.store.prepend(page.lines, page.gaps) > 0 ? "loaded" : "beginning";
    } catch {
      return "failed";
    } finally {
      this.loadingOlder = false;
    }
  }

  /** Whether a line is near enough to be loaded with all that came after it. */
  reaches(seq: number): boolean {
    return this.connection.hasNumbers && this.store.newest - seq < HELD_LINES_MAX - REACH_CONTEXT;
  }

  /** The line with this number, after older lines were loaded down to it as scrolling up does; null when it cannot be had. */
  async reach(seq: number): Promise<Entry | null> {
    for (let oldest = this.store.oldest; oldest !== null && oldest > seq && this.reaches(seq); oldest = this.store.oldest) {
      if ((await this.older(Math.min(REACH_LINES, oldest - seq + REACH_CONTEXT))) !== "loaded") break;
    }
    return this.store.find(seq);
  }

  /** The newest are watched again: what was loaded for reading is let go. */
  follow(): void {
    this.store.setLimit(LINES_MAX);
  }

  private changed(): void {
    for (const watcher of this.watchers) watcher();
  }

  private listener(): Listener {
    return {
      link: (state) => {
        this.link = state;
        if (state.name === "ended") this.ready = true;
        if (state.name === "live") this.suspended = this.gone = false;
        if (state.name === "waiting" && state.reason === "suspended") this.suspended = true;
        if (state.name === "ended" && state.reason === "server is suspended") {
          // The node closes so and says not to come back; from now on the panel is asked, as by a page that is opened later.
          this.suspended = true;
          setTimeout(() => this.connection.link === state && this.connection.open(), BLOCKED_RETRY_MS);
        }
        if (state.name === "ended" && (state.reason === "gone" || state.reason === "deleted" || state.reason === "server deleted")) this.gone = true;
        // Of what cannot be seen any more nothing is known; of what is only unreachable, the last state is.
        if (state.name === "ended" || this.suspended) this.forget();
      },
      newest: () => this.store.newest,
      line: (line) => {
        if (!this.store.append(line)) return;
        if (line.kind === "output") this.remember(line.text);
        if (this.crash) this.fillCrash();
        this.changed();
      },
      gap: (from, to, reason) => {
        if (this.store.appendGap(from, to, reason)) this.changed();
      },
      plainHistory: (texts) => {
        const have = this.store.entries().slice(-300).flatMap((entry) => (entry.type === "line" ? [entry.text] : []));
        const { fresh, fits } = seam(have, texts);
        if (!fits) this.store.appendGap(this.store.newest + 1, this.store.newest + 2, "");
        for (const text of fresh) this.plain(text);
        this.changed();
      },
      plainLine: (text) => {
        this.plain(text);
        this.changed();
      },
      caughtUp: () => {
        this.ready = true;
        this.behind = 0;
        this.changed();
      },
      head: (head) => {
        const behind = head - this.store.newest - 1;
        this.behind = behind >= BEHIND_MIN ? behind : 0;
      },
      status: (event) => this.status(event),
      stats: (stats) => {
        this.stats = stats;
        for (const then of this.sampled) then(stats);
      },
      notice: (kind, text) => (kind === "throttled" ? this.tooFast() : (this.notice = text)),
    };
  }

  private status(event: Parameters<Listener["status"]>[0]): void {
    this.power = event.state;
    this.killAt = event.killAt;
    this.restartAt = event.restartAt;
    // How a run ended is told after a normal stop as well; only a crash is worth a banner.
    this.crashed = event.state === "offline" && event.crashed;
    this.condition = event.condition;
    if (this.crashed) this.survived = null;
    else if (this.crash && event.state !== "offline") this.survived = this.crash;
    if (!this.crashed) this.crash = null;
    else if (event.endedAt === null || event.endedAt !== this.dismissedAt) {
      this.crash = { exit: event.exit ?? "", at: event.endedAt, restartAt: event.restartAt, lines: [], note: "" };
      this.fillCrash();
    }
  }

  /** What was thrown away is refused one by one; this is about a moment, and goes with it. */
  private tooFast(): void {
    const text = (this.notice = say("notice.tooFast"));
    clearTimeout(this.passing);
    this.passing = setTimeout(() => {
      if (this.notice === text) this.notice = "";
    }, NOTICE_MS);
  }

  /** Soon, and once for many lines: when a page is opened after the crash, the history comes behind the status. */
  private fillCrash(): void {
    if (this.filling) return;
    this.filling = true;
    setTimeout(() => {
      this.filling = false;
      if (!this.crash) return;
      const lines = this.store.entries().filter((entry) => entry.type === "line").slice(-CRASH_LINES);
      const last = lines.findLast((entry) => entry.kind !== "input");
      this.crash = { ...this.crash, lines: lines.map(marked), note: last?.kind === "notice" ? clean(last).plain : "" };
    }, CRASH_LINES_MS);
  }

  private forget(): void {
    this.power = this.stats = this.crash = this.survived = this.killAt = this.restartAt = this.condition = null;
    this.crashed = false;
  }

  private plain(text: string): void {
    this.store.append({ seq: this.store.newest + 1, at: null, kind: text.startsWith("\x1b[2m> ") ? "input" : "output", text, user: null });
    this.remember(text);
  }

  private remember(text: string): void {
    if (text.length > 400) return;
    for (const name of names(text)) {
      this.names.delete(name);
      this.names.add(name);
    }
    while (this.names.size > NAMES_MAX) this.names.delete(this.names.values().next().value as string);
  }
}
