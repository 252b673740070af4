// What came over a page's sockets, frame by frame, to wait for and to count: what a page was sent is known without asking the page.
import type { Page } from "playwright-core";

interface Frame {
  event: string;
  args?: string[];
  seq?: number;
}

export class Heard {
  /** Sockets that were opened. */
  sockets = 0;
  /** Every console line in the order in which it came, over all sockets. */
  readonly lines: string[] = [];
  /** Their numbers in the log. */
  readonly seqs: number[] = [];
  /** How often each event came. */
  private readonly counts = new Map<string, number>();
  private readonly waiting = new Set<() => void>();

  constructor(page: Page) {
    page.on("websocket", (socket) => {
      this.sockets++;
      socket.on("framereceived", ({ payload }) => this.take(JSON.parse(String(payload)) as Frame));
    });
  }

  count(event: string): number {
    return this.counts.get(event) ?? 0;
  }

  /** Waits until something is so; looked at after every frame. */
  async until(what: string, holds: () => boolean, ms = 20_000): Promise<void> {
    if (holds()) return;
    await new Promise<void>((resolve, reject) => {
      const over = (then: () => void) => {
        clearTimeout(deadline);
        this.waiting.delete(look);
        then();
      };
      const look = () => holds() && over(resolve);
      const deadline = setTimeout(() => over(() => reject(new Error(`not heard: ${what}; ${this.lines.length} lines, the last: ${this.lines.at(-1) ?? "none"}`))), ms);
      this.waiting.add(look);
    });
  }

  private take(frame: Frame): void {
    this.counts.set(frame.event, this.count(frame.event) + 1);
    if (frame.event === "console output") {
      this.lines.push(frame.args?.[0] ?? "");
      if (frame.seq !== undefined) this.seqs.push(frame.seq);
    }
    for (const look of this.waiting) look();
  }
}
