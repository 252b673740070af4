// A clock, a network and sockets that a test moves by hand.
import type { Credentials } from "../src/lib/credentials";
import type { Line, Stats } from "../src/lib/protocol";
import type { LinkState, Listener, Wire, World } from "../src/lib/link";
import { Connection } from "../src/lib/socket";

export class FakeWire implements Wire {
  protocol = "";
  onopen: (() => void) | null = null;
  onmessage: ((message: { data: unknown }) => void) | null = null;
  onclose: ((close: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  sent: { event: string; args: (string | null)[]; id?: string }[] = [];
  closed = false;

  constructor(
    readonly address: string,
    readonly offered: string[],
  ) {}

  send(text: string): void {
    this.sent.push(JSON.parse(text) as FakeWire["sent"][number]);
  }

  close(): void {
    this.closed = true;
  }

  opens(protocol = "quarterdeck.v1"): void {
    this.protocol = protocol;
    this.onopen?.();
  }

  says(event: string, args: unknown[] = [], members: object = {}): void {
    const texts = args.map((one) => (typeof one === "string" ? one : JSON.stringify(one)));
    this.onmessage?.({ data: JSON.stringify({ event, args: texts, ...members }) });
  }

  last(event: string): FakeWire["sent"][number] | undefined {
    return this.sent.filter((frame) => frame.event === event).at(-1);
  }
}

export class FakeWorld implements World, Listener {
  time = 0;
  timers: { at: number; then: () => void }[] = [];
  wires: FakeWire[] = [];
  asked = 0;
  answer: () => Promise<Credentials> = () => Promise.resolve({ token: `t${this.asked}`, socket: "ws://node/ws" });
  links: LinkState[] = [];
  lines: number[] = [];
  texts: string[] = [];
  gaps: string[] = [];
  histories: string[][] = [];
  caught = 0;
  headSeen = -1;
  notices: string[] = [];
  states: string[] = [];
  readonly connection = new Connection(this, this);

  now = () => this.time;
  random = () => 0.5;
  after(ms: number, then: () => void): () => void {
    const timer = { at: this.time + ms, then };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((one) => one !== timer);
    };
  }
  credentials = () => {
    this.asked++;
    return this.answer();
  };
  connect(address: string, protocols: string[]): Wire {
    const wire = new FakeWire(address, protocols);
    this.wires.push(wire);
    return wire;
  }

  link(state: LinkState): void { this.links.push(state); }
  newest(): number { return this.lines.at(-1) ?? -1; }
  line(line: Line): void { this.lines.push(line.seq); }
  gap(from: number, to: number): void { this.gaps.push(`${from}-${to}`); }
  plainHistory(texts: string[]): void { this.histories.push(texts); }
  plainLine(text: string): void { this.texts.push(text); }
  caughtUp(): void { this.caught++; }
  head(head: number): void { this.headSeen = head; }
  status(event: { state: string }): void { this.states.push(event.state); }
  stats(_: Stats): void { /* Latest value wins; nothing is decided by it here. */ }
  notice(kind: string, text: string): void { this.notices.push(`${kind}: ${text}`); }

  get wire(): FakeWire {
    return this.wires.at(-1) as FakeWire;
  }

  get state(): LinkState {
    return this.connection.link;
  }

  /** Lets promises that are ready go on. */
  async settle(): Promise<void> {
    for (let round = 0; round < 8; round++) await Promise.resolve();
  }

  async pass(ms: number): Promise<void> {
    const until = this.time + ms;
    for (;;) {
      const next = this.timers.filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.timers = this.timers.filter((timer) => timer !== next);
      this.time = Math.max(this.time, next.at);
      next.then();
      await this.settle();
    }
    this.time = until;
  }

  async open(): Promise<void> {
    this.connection.open();
    await this.settle();
  }

  /** As far as live, with lines `from` to `head` of history. */
  async goLive(from = 0, head = 3): Promise<void> {
    await this.open();
    this.wire.opens();
    this.wire.says("auth success");
    this.wire.says("attached", [{ next: from, oldest: 0, head }]);
    for (let seq = from; seq < head; seq++) this.wire.says("console output", ["x"], { seq, at: seq, kind: "output" });
  }
}
