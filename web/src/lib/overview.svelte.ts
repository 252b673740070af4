// The list's live values: state, usage and last line of each server, asked for at a pace that leaves the limits alone.
import { api, type Resources, type Server } from "./api";
import { ApiFault } from "./http";
import { markedText } from "./marked";

/** The panel allows 720 requests a minute; a page that is only looked at takes at most a sixth of it. */
const REQUESTS_PER_MINUTE_MAX = 120;
const ROUND_MS_MIN = 5_000;
const BLOCKED_MS = 60_000;

export interface Glance {
  resources: Resources | null;
  lastLine: string | null;
  /** What stands here was seen before the connection was lost. */
  stale: boolean;
}

export class Overview {
  glances = $state<Record<string, Glance>>({});
  private servers: readonly Server[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly blocked = new Map<string, number>();
  private stopped = false;
  private round = 0;

  watch(servers: readonly Server[]): void {
    this.servers = servers;
    clearTimeout(this.timer);
    void this.look();
  }

  /** After a power action the state is worth asking for at once. */
  refresh(server: Server): Promise<void> {
    return this.one(server);
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private async look(): Promise<void> {
    const round = ++this.round;
    if (document.visibilityState === "visible") {
      // A few at a time: a node that does not answer must not hold up the others.
      const queue = [...this.servers];
      const worker = async () => {
        for (let next = queue.shift(); next && round === this.round && !this.stopped; next = queue.shift()) await this.one(next);
      };
      await Promise.all([worker(), worker(), worker(), worker()]);
    }
    if (this.stopped || round !== this.round) return;
    const pace = (this.servers.length * 2 * 60_000) / REQUESTS_PER_MINUTE_MAX;
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
    const [resources, page] = await Promise.all([
      api.resources(server.identifier).catch((fault: unknown) => {
        // A refusal says that there is nothing to see; silence says nothing, so the last that was seen stays.
        if (!(fault instanceof ApiFault) || (fault.status !== 429 && fault.status !== 0 && fault.status < 500)) return null;
        const last = before?.resources ?? null;
        stale = last !== null && (fault.status !== 429 || (before?.stale ?? false));
        return last;
      }),
      api.lines(server.identifier, { limit: 1 }).catch(() => null),
    ]);
    const line = page?.lines[page.lines.length - 1];
    this.glances[server.identifier] = { resources, lastLine: line ? markedText(line.kind, line.text).trim() : (before?.lastLine ?? null), stale };
  }
}
