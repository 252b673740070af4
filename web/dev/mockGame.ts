// The mock's games: a numbered log, a power state machine and a scripted demo that chats, floods and crashes on command.
import { randomUUID } from "node:crypto";

export type State = "offline" | "starting" | "running" | "stopping";
export type Action = "start" | "stop" | "restart" | "kill";

export interface MockLine {
  seq: number;
  at: number;
  kind: "output" | "input" | "notice";
  text: string;
  user: string | null;
}

export interface MockRun {
  id: string;
  started_at: number | null;
  ended_at: number | null;
  first_line: number | null;
  end_line: number | null;
  exit: string | null;
  crashed: boolean;
}

const KEPT = 150_000;
/** Restarts in a row, as the real node counts them. */
const RESTARTS_MAX = 5;
const GRACE_MS = 15_000;
const PLAYERS = ["Ada", "Brennan", "Cook", "Drake", "Edda", "Franklin"];
const CHAT = ["anyone near the harbour?", "wind's from the north", "brb", "nice build <3", "who took my boat", "see https://example.com/map#harbour", "gg", "reef ahead!"];
const JOBS = ["Tide tick took 3 ms", "Autosave: 214 chunks in 41 ms", "Query from 203.0.113.9", "Spawned 3 gulls near (120, 64, -33)", "Weather: light breeze"];

export class MockGame {
  readonly uuid = randomUUID();
  readonly log: MockLine[] = [];
  readonly gaps: { from: number; to: number; reason: string }[] = [];
  readonly runs: MockRun[] = [];
  readonly wakers = new Set<() => void>();
  /** What administrators can change, in the API's own shape. */
  readonly settings = {
    limits: { memory: 1024, swap: 0, disk: 0, io: 500, cpu: 0, threads: null, oom_disabled: true } as Record<string, unknown>,
    container: { startup_command: "java -jar server.jar nogui", image: "", installed: 1, environment: {} } as Record<string, unknown>,
    process: { ready: [")! For help, type \"help\""], stop: "stop", grace_ms: GRACE_MS, settle_ms: 0, console: "pty", success_exit: [] } as Record<string, unknown>,
  };
  readonly statusListeners = new Set<(frame: object) => void>();
  next = 0;
  state: State = "offline";
  startedAt = 0;
  killAt: number | null = null;
  lastExit: string | null = null;
  crashed = false;
  condition: string | null = null;
  endedAt: number | null = null;
  restartAt: number | null = null;
  rx = 0;
  tx = 0;
  private timers = new Set<ReturnType<typeof setTimeout>>();
  private hung = false;
  private restartWanted = false;
  private crashes = 0;

  constructor(
    readonly id: number,
    public name: string,
    public description: string,
    readonly pace: number,
    history: number,
  ) {
    const now = Date.now();
    for (let at = 0; at < history; at++) this.log.push(this.line("output", chatter(this.next), null, now - (history - at) * 700));
    if (history === 0) return;
    // Of the older run only the end is kept.
    const middle = Math.floor(history / 2);
    this.runs.push({ id: "1", started_at: now - (history - middle) * 700, ended_at: now - 1, first_line: middle, end_line: history, exit: "exit code 0", crashed: false });
    this.runs.push({ id: "0", started_at: null, ended_at: now - (history - middle) * 700 - 1, first_line: null, end_line: middle, exit: "killed by SIGSEGV", crashed: true });
  }

  get oldest(): number {
    return this.log[0]?.seq ?? this.next;
  }

  write(kind: MockLine["kind"], text: string, user: string | null = null): number {
    const line = this.line(kind, text, user, Date.now());
    this.log.push(line);
    if (this.log.length > KEPT) this.log.splice(0, 1_000);
    for (const wake of this.wakers) wake();
    return line.seq;
  }

  private line(kind: MockLine["kind"], text: string, user: string | null, at: number): MockLine {
    return { seq: this.next++, at, kind, text, user };
  }

  notice(text: string): void {
    this.write("notice", text);
  }

  /** Null when it is taken, else why not. */
  power(action: Action): string | null {
    if (action === "kill") {
      if (this.state !== "offline") this.end("killed by SIGKILL", false);
      this.restartAt = null;
      return null;
    }
    if (action === "start") {
      if (this.state === "stopping") return "another power action is under way, the server is stopping; wait until it is done, or kill it";
      if (this.state !== "offline") return `the server is already ${this.state}; stop or restart it instead`;
      this.start();
      return null;
    }
    if (this.state === "offline" && action === "stop") {
      this.restartAt = null;
      return "the server is offline; start it first";
    }
    this.restartWanted = action === "restart";
    if (this.state === "offline") this.start();
    else if (this.state !== "stopping") this.stop();
    return null;
  }

  /** Null when it is written, else why not. */
  command(text: string, user: string): string | null {
    if (this.state === "offline") return "the server is offline; start it first";
    this.write("input", `\x1b[2m> ${text}\x1b[0m`, user);
    this.later(40, () => this.obey(text));
    return null;
  }

  private obey(text: string): void {
    const [word = "", ...rest] = text.split(" ");
    const say = (line: string) => this.write("output", line);
    if (word === "help") say("Commands: help, list, say, stop, crash, hang, flood, gap, colours, hostile, progress, long");
    else if (word === "list") say(`There are \x1b[36m3\x1b[0m of a max of \x1b[36m20\x1b[0m players online: ${PLAYERS.slice(0, 3).join(", ")}`);
    else if (word === "say") say(`[Server] ${rest.join(" ")}`);
    else if (word === "stop") this.power("stop");
    else if (word === "hang") this.hung = true;
    // Nobody chats from now on: what comes next stays the newest line. Until "chat".
    else if (word === "hush") this.clear();
    else if (word === "chat") this.chat();
    else if (word === "crash") {
      // "crash 6" is the sixth in a row, after which nobody starts it again.
      if (rest[0]) this.crashes = Number(rest[0]) - 1;
      this.crash();
    }
    else if (word === "flood") this.flood(Number(rest[0] ?? 500), Number(rest[1] ?? 10), rest[2] ?? "");
    else if (word === "gap") this.lose(Number(rest[0] ?? 800));
    else if (word === "colours") colours().forEach(say);
    else if (word === "hostile") hostile().forEach(say);
    else if (word === "progress") say([10, 40, 70, 100].map((done) => `Loading world ${done} %`).join("\r"));
    else if (word === "long") say(`long: ${"abcdefghij".repeat(60)} end`);
    else say(`\x1b[31mUnknown command: ${word}. Type help for help.\x1b[0m`);
  }

  private lose(count: number): void {
    this.gaps.push({ from: this.next, to: this.next + count, reason: "no longer kept" });
    this.next += count;
    this.write("output", "the log goes on here");
  }

  private flood(rate: number, seconds: number, tag: string): void {
    const began = Date.now();
    let sent = 0;
    const tick = () => {
      const due = Math.min(rate * seconds, Math.floor(((Date.now() - began) / 1000) * rate));
      while (sent < due) this.write("output", `\x1b[90mflood${tag}\x1b[0m ${++sent} of ${rate * seconds} \x1b[3${sent % 8}m${"~".repeat(sent % 40)}\x1b[0m`);
      if (sent < rate * seconds && this.state === "running") this.later(20, tick);
    };
    tick();
  }

  private crash(): void {
    // Nobody chats behind the last words.
    this.clear();
    this.write("output", "\x1b[31mjava.lang.IllegalStateException: the anchor is not attached\x1b[0m");
    this.write("output", `\tcargo: ${"abcdefghij".repeat(60)}`);
    for (const frame of ["Anchor.drop(Anchor.java:112)", "Ship.moor(Ship.java:48)", "Harbour.tick(Harbour.java:301)"]) this.write("output", `\x1b[31m\tat quay.${frame}\x1b[0m`);
    this.later(60, () => this.end("exit code 3", true));
  }

  start(): void {
    this.clear();
    this.restartAt = null;
    this.lastExit = this.endedAt = null;
    this.crashed = false;
    if (this.crashes === 0) this.condition = null;
    this.hung = false;
    this.startedAt = Date.now();
    this.runs.unshift({ id: String(this.runs.length + 1), started_at: this.startedAt, ended_at: null, first_line: this.next, end_line: null, exit: null, crashed: false });
    this.enter("starting");
    this.notice("Starting.");
    ["Loading charts", "Rigging sails", "Listening on 0.0.0.0:25565"].forEach((text, at) => this.later(250 * (at + 1), () => this.write("output", stamp() + text)));
    this.later(1_200, () => {
      this.write("output", `${stamp()}\x1b[32mDone (1.200s)!\x1b[0m For help, type "help"`);
      this.enter("running");
      this.chat();
    });
  }

  private stop(): void {
    this.killAt = Date.now() + GRACE_MS;
    this.enter("stopping");
    this.write("output", `${stamp()}Stopping server`);
    this.later(GRACE_MS, () => this.end("killed by SIGKILL", false));
    if (this.hung) return;
    this.later(1_500, () => this.write("output", `${stamp()}Saving world`));
    this.later(4_000, () => this.end("exit code 0", false));
  }

  private end(exit: string, crashed: boolean): void {
    this.clear();
    const run = this.runs[0];
    if (run && !run.ended_at) Object.assign(run, { ended_at: Date.now(), end_line: this.next, exit, crashed });
    this.killAt = null;
    this.lastExit = exit;
    this.crashed = crashed;
    this.endedAt = Date.now();
    if (crashed) {
      const wait = Math.max(2_000 * 2 ** this.crashes++, 6_000);
      this.restartAt = this.crashes > RESTARTS_MAX ? null : Date.now() + wait;
      this.condition = this.crashes > 1 ? "crash-looping" : null;
      const looping = this.condition ? `The server is crash-looping: ${this.crashes} failures in a row, none of which ran for 1 min. ` : "";
      this.notice(`The server crashed: ${exit}.`);
      if (this.restartAt) {
        this.notice(`${looping}Restart ${this.crashes} of ${RESTARTS_MAX} follows in ${Math.round(wait / 1000)} s.`);
        this.later(wait, () => this.start());
      } else {
        this.notice(`${looping}Given up. It stays down until somebody starts it.`);
        this.crashes = 0;
      }
    } else {
      this.notice(`The server has stopped: ${exit}.`);
    }
    this.enter("offline");
    if (this.restartWanted) {
      this.restartWanted = false;
      this.start();
    }
  }

  statusFrame(): object {
    return {
      event: "status",
      args: [this.state],
      at: Date.now(),
      ...(this.state === "stopping" && this.killAt ? { kill_at: this.killAt } : {}),
      ...(this.state === "offline" && this.lastExit ? { exit: this.lastExit, ended_at: this.endedAt, ...(this.crashed ? { crashed: true } : {}) } : {}),
      ...(this.condition ? { condition: this.condition } : {}),
      ...(this.restartAt ? { restart_at: this.restartAt } : {}),
    };
  }

  stats(at = Date.now()): Record<string, unknown> {
    const on = this.state !== "offline";
    const sample = sampleAt(at, this.id);
    if (on) {
      this.rx += 4_000 + sample.wave * 9_000;
      this.tx += 16_000 + sample.wave * 30_000;
    }
    return {
      memory_bytes: on ? sample.memory : 0,
      // As the kernel counts it, with a reserve above what was set.
      memory_limit_bytes: 1_234_803_098,
      cpu_absolute: on ? sample.cpu : 0,
      network: { rx_bytes: Math.round(this.rx), tx_bytes: Math.round(this.tx) },
      uptime: on ? at - this.startedAt : 0,
      state: this.state,
      disk_bytes: 418_000_000,
    };
  }

  private chat(): void {
    const wait = this.pace * (0.4 + Math.random() * 1.2);
    this.later(wait, () => {
      if (this.state !== "running") return;
      this.write("output", chatter(this.next));
      this.chat();
    });
  }

  private enter(state: State): void {
    this.state = state;
    for (const listener of this.statusListeners) listener(this.statusFrame());
  }

  private later(ms: number, then: () => void): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      then();
    }, ms);
    this.timers.add(timer);
  }

  private clear(): void {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
  }
}

export function sampleAt(at: number, salt: number): { cpu: number; memory: number; wave: number } {
  const minute = at / 60_000 + salt * 7;
  const wave = (Math.sin(minute / 3) + Math.sin(minute / 0.7) * 0.4 + Math.sin(at / 1700) * 0.2 + 1.6) / 3.2;
  const noise = Math.abs(Math.sin(at * 12.9898) * 43758.5453) % 1;
  return { cpu: 8 + wave * 46 + noise * 9, memory: Math.round(380e6 + wave * 260e6 + noise * 6e6), wave };
}

function chatter(seed: number): string {
  const player = PLAYERS[(seed * 7) % PLAYERS.length] as string;
  const kind = (seed * 2654435761) % 11;
  if (kind < 5) return `${stamp()}${JOBS[(seed * 3) % JOBS.length]}`;
  if (kind < 9) return `${stamp()}\x1b[36m<${player}>\x1b[0m ${CHAT[(seed * 5) % CHAT.length]}`;
  if (kind === 9) return `${stamp()}\x1b[33m${player} ${seed % 2 ? "joined" : "left"} the game\x1b[0m`;
  return `\x1b[33m[WARN]\x1b[0m Can't keep up! Running 2${seed % 100} ms behind`;
}

function stamp(): string {
  return "\x1b[90m[INFO]\x1b[0m ";
}

function colours(): string[] {
  const sixteen = [30, 90].map((from) => Array.from({ length: 8 }, (_, at) => `\x1b[${from + at}m ${from + at} \x1b[0m`).join(""));
  const cube = Array.from({ length: 36 }, (_, at) => `\x1b[48;5;${16 + at * 6}m  `).join("") + "\x1b[0m";
  const rgb = Array.from({ length: 60 }, (_, at) => `\x1b[38;2;${255 - at * 4};${at * 4};180m█`).join("") + "\x1b[0m";
  return [...sixteen, cube, rgb, "\x1b[1mbold\x1b[0m \x1b[3mitalic\x1b[0m \x1b[4munderlined\x1b[0m \x1b[9mstruck\x1b[0m \x1b[7minverse\x1b[0m 日本語 grüße 🎉"];
}

export function hostile(): string[] {
  return [
    "<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script>",
    "\x1b]0;PWNED TITLE\x07after title",
    "\x1b]52;c;cHduZWQ=\x07after clipboard",
    "\x1b]8;;javascript:window.pwned=1\x07click me\x1b]8;;\x07 after link",
    "\x1b[c\x1b[6n\x1b[5n\x1bZ\x05after queries",
    "\x1bP$q\"p\x1b\\after DCS",
    "\x1b[2J\x1b[Hafter clear \x1b[?1049h\x1b[?25l",
    "\x1b[10;10Hmoved \x1b[3A up",
    "javascript:alert(1) data:text/html,<script>window.pwned=1</script>",
    "\u202egnirts desrever",
  ];
}
