// Which row of xterm belongs to which line, and back: a line takes as many rows as it is wrapped into.
import type { IBufferLine, Terminal as Xterm } from "@xterm/xterm";

/** Lines are counted from the end, where xterm and what was drawn surely agree; xterm drops rows at the front. */
export class Rows {
  constructor(private readonly xterm: Xterm) {}

  /** Which of `count` drawn lines stands in a row. */
  indexAt(row: number, count: number): number {
    const { active } = this.xterm.buffer;
    let lines = 0;
    for (let at = this.last; at > row; at--) if (starts(active.getLine(at))) lines++;
    return count - 1 - lines;
  }

  /** Where line `index` of `count` begins; 0 when it is no longer there. */
  rowOf(index: number, count: number): number {
    const { active } = this.xterm.buffer;
    let lines = count - 1 - index;
    for (let at = this.last; at > 0; at--) {
      if (starts(active.getLine(at)) && lines-- === 0) return at;
    }
    return 0;
  }

  /** How many rows the line has that begins here. */
  heightOf(row: number): number {
    let height = 1;
    while (this.xterm.buffer.active.getLine(row + height)?.isWrapped) height++;
    return height;
  }

  /** What of the drawn lines begins in each row of the window. */
  beginning<T>(drawn: readonly T[]): (T | undefined)[] {
    const { active } = this.xterm.buffer;
    let index = this.indexAt(active.viewportY, drawn.length);
    return Array.from({ length: this.xterm.rows }, (_, at) => {
      const row = active.viewportY + at;
      const begins = row <= this.last && starts(active.getLine(row));
      if (at > 0 && begins) index++;
      return begins ? drawn[index] : undefined;
    });
  }

  private get last(): number {
    const { active } = this.xterm.buffer;
    return active.baseY + active.cursorY;
  }
}

function starts(line: IBufferLine | undefined): boolean {
  return line !== undefined && !line.isWrapped;
}
