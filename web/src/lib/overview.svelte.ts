// The list's live values: state, usage and last line of each server, asked for at a pace that leaves the limits alone, and only while they are seen.
import { api, type Resources, type Server } from "./api";
import { ApiFault } from "./http";
import { markedText } from "./marked";

/** The panel allows 720 requests a minute; a page that is only looked at takes at most a sixth of it. */
const REQUESTS_PER_MINUTE_MAX = 120;
const ROUND_MS_MIN = 5_000;
const BLOCKED_MS = 60_000;
/** A last line is nice to have, a state is what the page is for: it is asked for every so many rounds. */
const ROUNDS_PER_LINE = 3;
/** A few at a time: a node that does not answer must not hold up the others. */
const AT_ONCE = 4;

export interface Glance {
  resources: Resources | null;
  /** Null when there is none; missing while it is not known. */
  lastLine?: string | null;
  /** What stands here was seen before the connection was lost. */
  stale: boolean;
}

export class Overview {
  glances = $state<Record<string, Glance>>({});
  private servers: readonly Server[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly blocked = new Map<string, number>();
  /** When a server's last line was asked for: in which round, and how it was then. */
  private readonly lines = new Map<string, { round: number; how: string }>();
  private stopped = false;
  private round = 0;

  constructor() {
    document.addEventListener("visibilitychange", this.seen);
  }

  watch(servers: readonly Server[]): void {
    this.servers = servers;
    void this.look();
  }

  /** After a power action the state is worth asking for at once. */
  refresh(server: Server): Promise<void> {
    return this.one(server);
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.seen);
  }

  /** Hidden, nothing is asked; seen again, everything at once: what stands there is old. */
  private readonly seen = (): void => {
    if (document.visibilityState === "visible") void this.look();
    else clearTimeout(this.timer);
  };

  private async look(): Promise<void> {
    clearTimeout(this.timer);
    const round = ++this.round;
    if (document.visibilityState !== "visible") return;
    const queue = [...this.servers];
    const worker = async () => {
      for (let next = queue.shift(); next && round === this.round && !this.stopped; next = queue.shift()) await this.one(next);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    if (this.stopped || round !== this.round || document.visibilityState !== "visible") return;
    const pace = (this.servers.length * (1 + 1 / ROUNDS_PER_LINE) * 60_000) / REQUESTS_PER_MINUTE_MAX;
    this.timer = setTimeout(() => void this.look(), Math.max(ROUND_MS_MIN, pace));
  }

  private async one(server: Server): Promise<void> {
    const before = this.glances[server.identifier];
    // A blocked server is refused each time: it is looked at now and then only.
    if (before?.resources?.is_suspended ?? server.suspended) {
      const last = this.blocked.get(server.uuid) ?? 0;
      if (Date.now() - last < BLOCKED_MS) return;
      this.blocked.set(server.uuid, Date.now());
    }
    let stale = false;
    const resources = await api.resources(server.identifier).catch((fault: unknown) => {
      // A refusal says that there is nothing to see; silence says nothing, so the last that was seen stays.
      if (!(fault instanceof ApiFault) || (fault.status !== 429 && fault.status !== 0 && fault.status < 500)) return null;
      const last = before?.resources ?? null;
      stale = last !== null && (fault.status !== 429 || (before?.stale ?? false));
      return last;
    });
    // The state is shown as soon as it is there; its line may follow.
    this.glances[server.identifier] = { ...before, resources, stale };
    if (resources === null || stale || !this.lineIsDue(server, resources)) return;
    const page = await api.lines(server.identifier, { limit: 1 }).catch(() => null);
    const now = this.glances[server.identifier];
    if (!page || !now) return;
    const line = page.lines.at(-1);
    this.glances[server.identifier] = { ...now, lastLine: line ? markedText(line.kind, line.text).trim() : null };
  }

  /** At first, when the state has changed, and now and then while it can have printed something. */
  private lineIsDue(server: Server, resources: Resources): boolean {
    const asked = this.lines.get(server.uuid);
    const how = `${resources.current_state} ${resources.ended_at_ms ?? ""}`;
    const due = asked?.how !== how || (resources.current_state !== "offline" && this.round - asked.round >= ROUNDS_PER_LINE);
    if (due) this.lines.set(server.uuid, { round: this.round, how });
    return due;
  }
}
