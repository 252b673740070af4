// The frames of the console socket: what comes in, decoded defensively, and what goes out. No I/O, no state.

/** The subprotocol with numbered lines. A server that does not know it selects none, and the plain protocol is spoken. */
export const SUBPROTOCOL = "quarterdeck.v1";

/** The node closes the socket (1009) above this many bytes in one frame. Any command it takes fits, however its JSON is spelled. */
export const FRAME_BYTES_MAX = 32 * 1024;
/** The node refuses a command above this many bytes. */
export const COMMAND_BYTES_MAX = 4096;

export type PowerAction = "start" | "stop" | "restart" | "kill";
export type ServerState = "offline" | "starting" | "running" | "stopping";
export type LineKind = "output" | "input" | "notice";

export interface Line {
  seq: number;
  /** Unix milliseconds of the node; null where the protocol does not say. */
  at: number | null;
  kind: LineKind;
  text: string;
  user: string | null;
}

export interface Stats {
  memoryBytes: number;
  memoryLimitBytes: number;
  cpuPercent: number;
  rxBytes: number;
  txBytes: number;
  diskBytes: number;
  uptimeMs: number;
  state: ServerState;
}

export interface Receipt {
  id: string;
  outcome: "done" | "refused" | "unknown";
  line: number | null;
  reason: string | null;
}

export type ServerEvent =
  | { event: "auth success" }
  | { event: "attached"; next: number; oldest: number; head: number }
  | { event: "console output"; text: string; seq: number | null; at: number | null; kind: LineKind; user: string | null }
  | { event: "gap"; from: number; to: number; reason: string }
  | { event: "heartbeat"; head: number; at: number | null }
  | { event: "receipt"; receipt: Receipt }
  | { event: "status"; state: ServerState; at: number | null; killAt: number | null; exit: string | null; crashed: boolean; condition: string | null; endedAt: number | null; restartAt: number | null }
  | { event: "stats"; stats: Stats }
  | { event: "token expiring" }
  | { event: "token expired" }
  | { event: "jwt error"; text: string }
  | { event: "daemon error"; text: string }
  | { event: "throttled"; what: string }
  | { event: "deleted" }
  | { event: "ignored"; name: string };

type Members = Record<string, unknown>;

const STATES: readonly string[] = ["offline", "starting", "running", "stopping"];
const KINDS: readonly string[] = ["output", "input", "notice"];

/** A frame as event, or null when it is none: then it is dropped, as the protocol says. */
export function decode(frame: unknown): ServerEvent | null {
  if (typeof frame !== "string") return null;
  const members = object(frame);
  if (!members || typeof members.event !== "string") return null;
  const args = texts(members.args);
  if (!args) return null;
  const first = args[0] ?? "";
  switch (members.event) {
    case "auth success":
    case "token expiring":
    case "token expired":
    case "deleted":
      return { event: members.event };
    case "console output":
      return {
        event: "console output",
        text: first,
        seq: count(members.seq),
        at: count(members.at),
        kind: KINDS.includes(members.kind as string) ? (members.kind as LineKind) : "output",
        user: typeof members.user === "string" ? members.user : null,
      };
    case "attached": {
      const body = object(first) ?? {};
      const next = count(body.next);
      if (next === null) return null;
      return { event: "attached", next, oldest: count(body.oldest) ?? next, head: count(body.head) ?? next };
    }
    case "gap": {
      const body = object(first) ?? {};
      const from = count(body.from);
      const to = count(body.to);
      if (from === null || to === null || to <= from) return null;
      return { event: "gap", from, to, reason: typeof body.reason === "string" ? body.reason : "" };
    }
    case "heartbeat": {
      const body = object(first) ?? {};
      const head = count(body.head);
      return head === null ? null : { event: "heartbeat", head, at: count(body.at) };
    }
    case "receipt": {
      const body = object(first) ?? {};
      if (typeof body.id !== "string") return null;
      const outcome = body.outcome === "done" || body.outcome === "refused" ? body.outcome : "unknown";
      const reason = typeof body.reason === "string" ? body.reason : null;
      return { event: "receipt", receipt: { id: body.id, outcome, line: count(body.line), reason } };
    }
    case "status":
      return STATES.includes(first)
        ? {
            event: "status",
            state: first as ServerState,
            at: count(members.at),
            killAt: count(members.kill_at),
            exit: typeof members.exit === "string" ? members.exit : null,
            crashed: members.crashed === true,
            condition: typeof members.condition === "string" ? members.condition : null,
            endedAt: count(members.ended_at),
            restartAt: count(members.restart_at),
          }
        : null;
    case "stats": {
      const stats = decodeStats(first);
      return stats && { event: "stats", stats };
    }
    case "jwt error":
    case "daemon error":
      return { event: members.event, text: bare(first) };
    case "throttled":
      return { event: "throttled", what: first };
    default:
      return { event: "ignored", name: members.event };
  }
}

/** The document in a `stats` event. What a machine cannot measure is 0, and so is what is missing. */
export function decodeStats(document: string): Stats | null {
  const body = object(document);
  if (!body) return null;
  const network = typeof body.network === "object" && body.network !== null ? (body.network as Members) : {};
  return {
    memoryBytes: amount(body.memory_bytes),
    memoryLimitBytes: amount(body.memory_limit_bytes),
    cpuPercent: amount(body.cpu_absolute),
    rxBytes: amount(network.rx_bytes),
    txBytes: amount(network.tx_bytes),
    diskBytes: amount(body.disk_bytes),
    uptimeMs: amount(body.uptime),
    state: STATES.includes(body.state as string) ? (body.state as ServerState) : "offline",
  };
}

export const frames = {
  auth: (token: string) => encode("auth", token),
  sendLogs: () => encode("send logs", null),
  sendStats: () => encode("send stats", null),
  /** Everything behind line `after`. */
  attachAfter: (after: number) => encode("attach", JSON.stringify({ after })),
  /** The newest `last` lines and all that follow. */
  attachLast: (last: number) => encode("attach", JSON.stringify({ last })),
  command: (text: string, id?: string) => encode("send command", text, id),
  power: (action: PowerAction, id?: string) => encode("set state", action, id),
};

function encode(event: string, argument: string | null, id?: string): string {
  return JSON.stringify(id === undefined ? { event, args: [argument] } : { event, args: [argument], id });
}

/** Why the node would refuse a command, found before it is sent; null when it would not. */
export function commandFault(text: string): "long" | "lines" | "control" | null {
  if (/[\r\n]/.test(text)) return "lines";
  if (/[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/.test(text)) return "control";
  return new TextEncoder().encode(text).length > COMMAND_BYTES_MAX ? "long" : null;
}

/** An error's words without the id that is meant for the node's own log. */
export function bare(text: string): string {
  return text.replace(/^Error Event \[[0-9a-f-]{36}\]: /, "");
}

/** What a close code says about coming back. `node` is true where the node itself spoke. */
export function closeMeaning(code: number, reason: string): { comeBack: boolean; node: boolean } {
  if (code === 1001 && reason === "server deleted") return { comeBack: false, node: true };
  if (code === 4409) return { comeBack: false, node: true };
  return { comeBack: true, node: reason !== "" || code === 1012 || code === 1011 || code === 1013 };
}

function object(text: string): Members | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Members) : null;
  } catch {
    return null;
  }
}

function texts(args: unknown): string[] | null {
  if (args === undefined || args === null) return [];
  if (!Array.isArray(args)) return null;
  return args.every((one) => typeof one === "string") ? (args as string[]) : null;
}

function count(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}

function amount(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : 0;
}
