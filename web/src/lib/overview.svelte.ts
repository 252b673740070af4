// The list's live values: state, usage and last line of each server, asked for at a pace that leaves the limits alone.
import { api, type Resources, type Server } from "./api";
import { ApiFault } from "./http";
import { sanitise } from "./sanitise";

/** The panel allows 720 requests a minute; a page that is only looked at takes at most a sixth of it. */
const REQUESTS_PER_MINUTE_MAX = 120;
const ROUND_MS_MIN = 5_000;

export interface Glance {
  resources: Resources | null;
  lastLine: string | null;
}

export class Overview {
  glances = $state<Record<string, Glance>>({});
  private servers: readonly Server[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
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
    const [resources, page] = await Promise.all([
      api.resources(server.identifier).catch((fault: unknown) => (fault instanceof ApiFault && fault.status === 429 ? (before?.resources ?? null) : null)),
      api.lines(server.identifier, { limit: 1 }).catch(() => null),
    ]);
    const line = page?.lines[page.lines.length - 1];
    this.glances[server.identifier] = { resources, lastLine: line ? sanitise(line.text).plain.trim() : (before?.lastLine ?? null) };
  }
}
