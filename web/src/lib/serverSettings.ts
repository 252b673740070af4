// A server's settings as fields to type in, and what of them has changed: only that is sent, so two people change different things without undoing each other.

/** What the application API tells of a server, as far as it can be changed here. */
export interface AdminServer {
  name: string;
  description: string;
  suspended: boolean;
  limits: { memory: number; cpu: number };
  container: { startup_command: string };
  process: { ready: string[]; stop: string; grace_ms: number };
}

/** As they stand in the form. A limit of 0 is none and stands there as nothing. */
export interface Fields {
  name: string;
  description: string;
  command: string;
  /** One text a line. */
  ready: string;
  stop: string;
  /** Seconds. */
  grace: string;
  memory: string;
  cpu: string;
  /** The API takes this limit but does not tell it: empty leaves it as it is. */
  pids: string;
}

/** The parts of the application API that change a server. */
export type Part = "details" | "startup" | "build";

export function fields(server: AdminServer): Fields {
  const amount = (value: number) => (value > 0 ? String(value) : "");
  return {
    name: server.name,
    description: server.description,
    command: server.container.startup_command,
    ready: server.process.ready.join("\n"),
    stop: server.process.stop,
    grace: amount(server.process.grace_ms / 1000),
    memory: amount(server.limits.memory),
    cpu: amount(server.limits.cpu),
    pids: "",
  };
}

/** The body that makes `before` into `now`, for one part; empty when nothing of it has changed. */
export function changes(part: Part, before: Fields, now: Fields): Record<string, unknown> {
  const body: Record<string, unknown> = {};
  const put = (field: keyof Fields, name: string, value: (text: string) => unknown) => {
    const text = now[field].trim();
    if (text !== before[field].trim()) body[name] = value(text);
  };
  if (part === "details") {
    put("name", "name", (text) => text);
    put("description", "description", (text) => text || null);
  } else if (part === "startup") {
    put("command", "command", (text) => text);
    put("ready", "ready", lines);
    put("stop", "stop", (text) => text || null);
    put("grace", "grace_ms", (text) => Math.round(Number(text) * 1000));
  } else {
    put("memory", "memory", Number);
    put("cpu", "cpu", Number);
    put("pids", "pids", Number);
  }
  return body;
}

/** White space at the ends of a line is part of what a game prints, so only empty lines are left out. */
function lines(text: string): string[] {
  return text.split("\n").filter((line) => line.trim() !== "");
}
