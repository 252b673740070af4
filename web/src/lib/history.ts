// What was typed on one server, kept in this browser: walked with the arrow keys, and the source of completion.

export const HISTORY_MAX = 200;

/** The part of localStorage that is used; it may be missing, full or forbidden. */
export interface Storage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

export class CommandHistory {
  private typed: string[];
  /** Where the arrows stand; `typed.length` is the line being written. */
  private place: number;
  private draft = "";

  constructor(
    private readonly storage: Storage | null,
    private readonly key: string,
  ) {
    this.typed = this.load();
    this.place = this.typed.length;
  }

  get all(): readonly string[] {
    return this.typed;
  }

  add(command: string): void {
    if (command.trim() !== "" && this.typed[this.typed.length - 1] !== command) {
      this.typed.push(command);
      this.typed = this.typed.slice(-HISTORY_MAX);
      this.save();
    }
    this.place = this.typed.length;
    this.draft = "";
  }

  /** The command before; null at the beginning. What is being written is kept for the way back. */
  older(current: string): string | null {
    if (this.place === this.typed.length) this.draft = current;
    if (this.place === 0) return null;
    return this.typed[--this.place] ?? null;
  }

  newer(): string | null {
    if (this.place >= this.typed.length) return null;
    this.place++;
    return this.place === this.typed.length ? this.draft : (this.typed[this.place] ?? null);
  }

  private load(): string[] {
    try {
      const value: unknown = JSON.parse(this.storage?.getItem(this.key) ?? "[]");
      return Array.isArray(value) ? value.filter((one): one is string => typeof one === "string").slice(-HISTORY_MAX) : [];
    } catch {
      return [];
    }
  }

  private save(): void {
    try {
      this.storage?.setItem(this.key, JSON.stringify(this.typed));
    } catch {
      // Without storage the history lasts as long as the page.
    }
  }
}
