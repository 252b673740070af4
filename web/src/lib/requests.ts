// Commands and power actions under way: each gets exactly one answer, also when the connection breaks or nobody answers.
import type { Receipt } from "./protocol";

interface Request {
  id: string;
  settle: (receipt: Receipt) => void;
  cancel: () => void;
}

export class Requests {
  private open: Request[] = [];
  private nextId = 1;

  constructor(private readonly after: (ms: number, then: () => void) => () => void) {}

  /** Sends by `send`, which is given the request's id. `late` is the outcome when no answer came within `wait`. */
  begin(wait: number, late: Receipt["outcome"], send: (id: string) => void): Promise<Receipt> {
    const id = `r${this.nextId++}`;
    return new Promise((resolve) => {
      const cancel = this.after(wait, () => this.settle({ id, outcome: late, line: null, reason: null }));
      this.open.push({ id, settle: resolve, cancel });
      send(id);
    });
  }

  settle(receipt: Receipt): void {
    const at = this.open.findIndex((request) => request.id === receipt.id);
    const [request] = at < 0 ? [] : this.open.splice(at, 1);
    request?.cancel();
    request?.settle(receipt);
  }

  /** The plain protocol's answers name no request: an error is for the oldest, a `throttled` for the newest. */
  refuse(which: "oldest" | "newest", reason: string): boolean {
    const request = this.open.at(which === "oldest" ? 0 : -1);
    if (request) this.settle({ id: request.id, outcome: "refused", line: null, reason });
    return request !== undefined;
  }

  /** The connection broke: whether the node got them cannot be known. */
  abandon(reason: string): void {
    for (const request of [...this.open]) this.settle({ id: request.id, outcome: "unknown", line: null, reason });
  }
}
