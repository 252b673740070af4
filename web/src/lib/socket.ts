// A console's connection: credentials → socket → auth → attach → live, and back again whatever breaks.
//
//     idle ─open()─> credentials ─> socket ─> auth ─> attach ─> live
//                        ^            │         │        │        │      (each failure names its hop)
//                        └── waiting <┴─────────┴────────┴────────┘
//     any ─close()─> idle;   a refusal, or a close code that says do not come back ─> ended
//
// Clock, chance, network and WebSocket are handed in: this file is tested with no time and no network.
import { waitMs } from "./backoff";
import { type Credentials, CredentialsFault, type Hop } from "./credentials";
import type { LinkState, Listener, Wire, World } from "./link";
import { closeMeaning, decode, frames, type PowerAction, type Receipt, type ServerEvent, SUBPROTOCOL } from "./protocol";
import { PlainHistory } from "./plainHistory";
import { Requests } from "./requests";

/** Nothing heard for this long: the link is dead, whatever the browser believes. */
export const DEAD_MS = 10_000;
/** The plain protocol has no heartbeat; when it is silent for this long something is asked. */
const PROBE_MS = 4_000;
/** From the beginning of an attempt until it must be live. */
const ATTEMPT_MS = 10_000;
/** The plain protocol does not answer a command that was taken: no error by then means it was. */
const PLAIN_RECEIPT_MS = 2_000;
const RECEIPT_MS = 15_000;
const SETTLED_MS = 5_000;
/** More missed lines than this are not fetched one by one: a page that slept for a day shows the newest, and names the rest. */
export const CATCH_UP_LINES_MAX = 5_000;
/** The reason of a gap that is not the server's: the lines are there, but were skipped here. */
export const SKIPPED = "skipped";
/** Lines asked for when there are none yet. */
export const HISTORY_LINES = 500;

export class Connection {
  private state: LinkState = { name: "idle" };
  private wire: Wire | null = null;
  private numbered = false;
  /** Whether the subprotocol is offered. */
  private offer = true;
  private attempt = 0;
  /** Results of an earlier attempt's promises are told apart by it. */
  private generation = 0;
  private cancelTimer: () => void = () => undefined;
  private cancelWatch: () => void = () => undefined;
  private heardAt = 0;
  private liveAt = 0;
  private attachHead: number | null = null;
  private readonly history: PlainHistory;
  private readonly requests: Requests;
  private renewing = false;
  private skipping = false;
  /** The wait was asked for by the other side, not chosen here. */
  private told = false;

  constructor(
    private readonly world: World,
    private readonly listener: Listener,
  ) {
    this.requests = new Requests((ms, then) => world.after(ms, then));
    this.history = new PlainHistory(world);
  }

  get link(): LinkState {
    return this.state;
  }

  /** Whether lines have numbers here. Known once it is live. */
  get hasNumbers(): boolean {
    return this.numbered;
  }

  open(): void {
    if (this.state.name === "idle" || this.state.name === "ended") {
      this.attempt = 0;
      this.begin();
    }
  }

  close(): void {
    this.drop();
    this.enter({ name: "idle" });
  }

  /**
   * The page became visible, the network came back: do not wait for a timer that may have slept as well. A wait that was
   * asked for is kept, unless a person wants it `now`.
   */
  poke(now = false): void {
    if (this.state.name === "waiting" && (now || !this.told || this.world.now() >= this.state.until)) this.begin();
    else if (this.state.name === "live" && this.world.now() - this.heardAt >= DEAD_MS) this.lose("socket", "silent");
  }

  command(text: string): Promise<Receipt> {
    return this.request((id) => frames.command(text, id));
  }

  power(action: PowerAction): Promise<Receipt> {
    return this.request((id) => frames.power(action, id));
  }

  private request(frame: (id?: string) => string): Promise<Receipt> {
    if (this.state.name !== "live") return Promise.resolve({ id: "", outcome: "refused", line: null, reason: "not connected" });
    return this.numbered
      ? this.requests.begin(RECEIPT_MS, "unknown", (id) => this.wire?.send(frame(id)))
      : this.requests.begin(PLAIN_RECEIPT_MS, "done", () => this.wire?.send(frame()));
  }

  private begin(): void {
    this.drop();
    const generation = ++this.generation;
    this.enter({ name: "connecting", hop: "panel" });
    this.cancelTimer = this.world.after(ATTEMPT_MS, () => {
      const hop = this.state.name === "connecting" ? this.state.hop : "socket";
      this.lose(hop, "no answer");
    });
    this.world.credentials().then(
      (credentials) => {
        if (generation === this.generation) this.dial(credentials);
      },
      (fault: unknown) => {
        if (generation === this.generation) this.refused(fault);
      },
    );
  }

  private refused(fault: unknown): void {
    if (!(fault instanceof CredentialsFault)) return this.lose("panel", String(fault));
    if (fault.final) this.end(fault.hop, fault.message);
    else this.lose(fault.hop, fault.message, fault.retryAfterMs);
  }

  private dial(credentials: Credentials): void {
    this.enter({ name: "connecting", hop: "socket" });
    const offered = this.offer;
    let wire: Wire;
    try {
      wire = this.world.connect(credentials.socket, offered ? [SUBPROTOCOL] : []);
    } catch (fault) {
      return this.lose("socket", String(fault));
    }
    this.wire = wire;
    wire.onopen = () => {
      this.numbered = wire.protocol === SUBPROTOCOL;
      this.offer = this.numbered;
      this.enter({ name: "connecting", hop: "auth" });
      wire.send(frames.auth(credentials.token));
    };
    wire.onmessage = (message) => this.heard(message.data);
    wire.onclose = (close) => {
      // Browsers fail a connection whose server selects none of the offered protocols, and do not say that this was it.
      if (offered && !this.numbered && this.state.name === "connecting" && this.state.hop === "socket") {
        this.offer = false;
        return this.dial(credentials);
      }
      this.offer ||= this.state.name === "connecting" && this.state.hop === "socket";
      this.closed(close.code, close.reason);
    };
    wire.onerror = () => undefined;
  }

  private heard(data: unknown): void {
    this.heardAt = this.world.now();
    const event = decode(data);
    if (!event) return;
    switch (event.event) {
      case "auth success":
        return this.authenticated();
      case "attached":
        if (this.fallsBehind(event.head - event.next)) return;
        if (this.skipping) this.listener.gap(this.listener.newest() + 1, event.next, SKIPPED);
        this.skipping = false;
        this.attachHead = event.head;
        this.listener.head(event.head);
        this.live();
        // Numbers may be skipped, so the last of the history need not have the head's number: empty history is known now.
        if (event.head <= event.next) this.finishHistory();
        return;
      case "console output":
        return this.output(event);
      case "gap":
        this.listener.gap(event.from, event.to, event.reason);
        return this.reached(event.to - 1);
      case "heartbeat":
        this.listener.head(event.head);
        if (this.attachHead === null && this.fallsBehind(event.head - this.listener.newest() - 1)) return;
        // Lines are sent in order: a heartbeat behind them means that there are no more.
        return this.finishHistory();
      case "receipt":
        return this.requests.settle(event.receipt);
      case "status":
        return this.listener.status(event);
      case "stats":
        return this.listener.stats(event.stats);
      case "token expiring":
      case "token expired":
        return this.renew();
      case "jwt error":
        return this.unauthorised(event.text);
      case "daemon error":
        if (this.state.name === "connecting" && this.state.hop === "auth") return this.lose("auth", event.text);
        if (!this.numbered && this.requests.refuse("oldest", event.text)) return;
        return this.listener.notice("daemon error", event.text);
      case "throttled":
        if (!this.numbered && this.requests.refuse("newest", "throttled")) return;
        return this.listener.notice("throttled", event.what);
      case "deleted":
        return this.end("node", "deleted");
      case "ignored":
        return;
    }
  }

  private authenticated(): void {
    this.renewing = false;
    if (this.state.name === "live") return;
    if (this.numbered) {
      const newest = this.listener.newest();
      this.wire?.send(newest < 0 ? frames.attachLast(HISTORY_LINES) : frames.attachAfter(newest));
    } else {
      this.history.begin((texts) => {
        this.listener.plainHistory(texts);
        this.listener.caughtUp();
      });
      this.wire?.send(frames.sendLogs());
      this.live();
    }
  }

  private live(): void {
    if (this.state.name === "live") return;
    this.cancelTimer();
    this.heardAt = this.world.now();
    this.liveAt = this.heardAt;
    this.enter({ name: "live" });
    this.watch(this.heardAt);
  }

  /** One timer at a time looks whether anything was heard; in the plain protocol it asks first. */
  private watch(probedAt: number): void {
    const silent = this.world.now() - this.heardAt;
    if (silent >= DEAD_MS) return this.lose("socket", "silent");
    // Only a connection that held proves that the trouble is over; one that breaks at once keeps backing off.
    if (this.world.now() - this.liveAt >= SETTLED_MS) this.attempt = 0;
    let probed = probedAt;
    if (!this.numbered && silent >= PROBE_MS && this.world.now() - probedAt >= PROBE_MS) {
      this.wire?.send(frames.sendStats());
      probed = this.world.now();
    }
    this.cancelWatch = this.world.after(Math.min(1_000, DEAD_MS - silent), () => this.watch(probed));
  }

  private output(event: Extract<ServerEvent, { event: "console output" }>): void {
    if (this.numbered) {
      if (event.seq === null) return;
      this.listener.line({ seq: event.seq, at: event.at, kind: event.kind, text: event.text, user: event.user });
      return this.reached(event.seq);
    }
    if (!this.history.take(event.text)) this.listener.plainLine(event.text);
  }

  /** Whether so much is missing that the newest lines are asked for instead. */
  private fallsBehind(missing: number): boolean {
    if (this.skipping || missing <= CATCH_UP_LINES_MAX || this.listener.newest() < 0) return false;
    this.skipping = true;
    this.wire?.send(frames.attachLast(CATCH_UP_LINES_MAX));
    return true;
  }

  private reached(seq: number): void {
    if (this.attachHead !== null && seq + 1 >= this.attachHead) this.finishHistory();
  }

  private finishHistory(): void {
    if (this.attachHead === null) return;
    this.attachHead = null;
    this.listener.caughtUp();
  }

  private renew(): void {
    if (this.renewing || !this.wire) return;
    this.renewing = true;
    const generation = this.generation;
    this.world.credentials().then(
      (credentials) => {
        if (generation === this.generation) this.wire?.send(frames.auth(credentials.token));
      },
      (fault: unknown) => {
        if (generation !== this.generation) return;
        this.renewing = false;
        // The old token may still hold; the node asks again at 30 s and at the end. Only a clear no is the end.
        if (fault instanceof CredentialsFault && fault.final) this.end(fault.hop, fault.message);
      },
    );
  }

  private unauthorised(text: string): void {
    if (text.includes("missing connect permission")) return this.end("auth", text);
    if (text.includes("exp claim is invalid") && this.state.name === "live") return this.renew();
    this.lose("auth", text);
  }

  private closed(code: number, reason: string): void {
    const meaning = closeMeaning(code, reason);
    if (!meaning.comeBack) return this.end("node", reason || String(code));
    const hop: Hop = meaning.node ? "node" : this.state.name === "connecting" ? this.state.hop : "socket";
    this.lose(hop, reason || "closed");
  }

  private lose(hop: Hop, reason: string, wait: number | null = null): void {
    this.drop();
    const ms = wait ?? waitMs(this.attempt, this.world.random);
    this.told = wait !== null;
    this.attempt++;
    this.enter({ name: "waiting", hop, reason, until: this.world.now() + ms, attempt: this.attempt });
    this.cancelTimer = this.world.after(ms, () => this.begin());
  }

  private end(hop: Hop, reason: string): void {
    this.drop();
    this.enter({ name: "ended", hop, reason });
  }

  private drop(): void {
    this.generation++;
    this.cancelTimer();
    this.cancelWatch();
    // Lines that came are kept, also when the connection breaks before its history is complete.
    this.history.end();
    this.finishHistory();
    this.renewing = this.skipping = false;
    this.attachHead = null;
    const wire = this.wire;
    this.wire = null;
    if (wire) {
      wire.onopen = wire.onmessage = wire.onclose = wire.onerror = null;
      try {
        wire.close();
      } catch {
        // Closing what is closed already.
      }
    }
    this.requests.abandon("the connection broke before the answer");
  }

  private enter(state: LinkState): void {
    this.state = state;
    this.listener.link(state);
  }
}
