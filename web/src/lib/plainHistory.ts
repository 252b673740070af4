// The plain protocol's history: lines without numbers and without an end mark, gathered into one piece.

/** It has ended when nothing came for this long … */
const QUIET_MS = 250;
/** … or, in a game that never falls silent, after this. */
const GATHER_MS_MAX = 1_000;

interface Clock {
  now(): number;
  after(ms: number, then: () => void): () => void;
}

export class PlainHistory {
  private texts: string[] | null = null;
  private until = 0;
  private cancel: () => void = () => undefined;
  private done: (texts: string[]) => void = () => undefined;

  constructor(private readonly clock: Clock) {}

  begin(done: (texts: string[]) => void): void {
    this.texts = [];
    this.done = done;
    this.until = this.clock.now() + GATHER_MS_MAX;
    this.await();
  }

  /** False when the history is complete already: then the line is a live one. */
  take(text: string): boolean {
    if (!this.texts) return false;
    this.texts.push(text);
    this.await();
    return true;
  }

  /** Hands over what was gathered, if anything is being gathered. */
  end(): void {
    this.cancel();
    const texts = this.texts;
    this.texts = null;
    if (texts) this.done(texts);
  }

  private await(): void {
    this.cancel();
    this.cancel = this.clock.after(Math.min(QUIET_MS, Math.max(0, this.until - this.clock.now())), () => this.end());
  }
}
