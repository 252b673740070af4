// Samples of a server over time, from history and live, as columns that a graph draws: one time axis, rates from counters.

export interface Sample {
  /** Unix milliseconds. */
  at: number;
  cpuPercent: number;
  memoryBytes: number;
  memoryLimitBytes: number;
  rxBytes: number;
  txBytes: number;
  diskBytes: number;
}

/** Null is a hole in the line: the game did not run, or nobody measured. */
export interface Columns {
  /** Unix seconds. */
  time: number[];
  cpu: (number | null)[];
  memory: (number | null)[];
  limit: (number | null)[];
  rx: (number | null)[];
  tx: (number | null)[];
  disk: (number | null)[];
}

export class Series {
  private samples: Sample[] = [];

  constructor(
    readonly spanMs: number,
    readonly stepMs: number,
  ) {}

  get length(): number {
    return this.samples.length;
  }

  get last(): Sample | undefined {
    return this.samples[this.samples.length - 1];
  }

  /** History and live samples may overlap: what is not newer by half a step is left out. */
  add(sample: Sample): boolean {
    const last = this.last;
    if (last && sample.at < last.at + this.stepMs / 2) return false;
    this.samples.push(sample);
    const oldest = sample.at - this.spanMs;
    // Cut in pieces: shifting one sample a second through an hour of them is work for nothing.
    if (this.samples.length > 64 && (this.samples[32] as Sample).at < oldest) this.samples = this.samples.filter((one) => one.at >= oldest);
    return true;
  }

  columns(): Columns {
    const out: Columns = { time: [], cpu: [], memory: [], limit: [], rx: [], tx: [], disk: [] };
    let before: Sample | null = null;
    for (const sample of this.samples) {
      if (before && sample.at - before.at > this.stepMs * 3.5) {
        put(out, before.at + this.stepMs, null, null, null);
        before = null;
      }
      put(out, sample.at, sample, rate(before, sample, "rxBytes"), rate(before, sample, "txBytes"));
      before = sample;
    }
    return out;
  }
}

function put(out: Columns, at: number, sample: Sample | null, rx: number | null, tx: number | null): void {
  out.time.push(at / 1000);
  out.cpu.push(sample && sample.cpuPercent);
  out.memory.push(sample && sample.memoryBytes);
  out.limit.push(sample && sample.memoryLimitBytes > 0 ? sample.memoryLimitBytes : null);
  out.rx.push(rx);
  out.tx.push(tx);
  out.disk.push(sample && sample.diskBytes);
}

/** Bytes a second. A counter that went down began anew with the game: nothing can be said of that step. */
function rate(before: Sample | null, now: Sample, counter: "rxBytes" | "txBytes"): number | null {
  if (!before || now.at <= before.at || now[counter] < before[counter]) return null;
  return ((now[counter] - before[counter]) * 1000) / (now.at - before.at);
}

export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function formatPercent(percent: number): string {
  return `${percent >= 10 ? Math.round(percent) : percent.toFixed(1)} %`;
}

export function formatDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}
