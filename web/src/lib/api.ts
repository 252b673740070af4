// The panel's HTTP API as the pages use it, and the shapes that are read.
import { CredentialsFault, type Credentials } from "./credentials";
import { ApiFault, type Envelope, get, post } from "./http";
import type { LineKind, PowerAction, ServerState } from "./protocol";
import type { AdminServer, Part } from "./serverSettings";

export interface Server {
  uuid: string;
  identifier: string;
  name: string;
  description: string;
  suspended: boolean;
  /** Where players find it; null when that is not told. */
  address: string | null;
  /** Commands its game is known to understand. */
  commands: readonly string[];
  /** The limit of memory that was set, in bytes; 0 when there is none, null when that is not told. */
  memoryLimit: number | null;
  permissions: string[];
  owner: boolean;
}

/** The same as the panel tells it, as far as it is read. */
interface ToldServer {
  uuid: string;
  identifier: string;
  name: string;
  description: string;
  is_suspended: boolean;
  server_owner: boolean;
  known_commands?: string[];
  /** In MiB. */
  limits?: { memory?: number };
  relationships?: { allocations?: { data?: Envelope<{ ip: string; ip_alias: string | null; port: number; is_default: boolean }>[] } };
}

export interface Resources {
  current_state: ServerState;
  is_suspended: boolean;
  last_exit: string | null;
  /** Whether that exit was a crash. Older panels do not tell. */
  crashed?: boolean;
  /** `crash-looping` while it crashes again and again. */
  condition?: string;
  ended_at_ms?: number | null;
  restart_in_ms: number | null;
  resources: {
    cpu_absolute: number;
    memory_bytes: number;
    memory_limit_bytes?: number;
    disk_bytes: number;
    network_rx_bytes: number;
    network_tx_bytes: number;
    uptime: number;
  };
}

export interface Subuser {
  uuid: string;
  username: string;
  email: string;
  permissions: string[];
  "2fa_enabled": boolean;
  /** When the account was made, not when the server was shared. */
  created_at: string;
}

export interface ApiKey {
  identifier: string;
  description: string;
  allowed_ips: string[];
  last_used_at: string | null;
  created_at: string;
  expires_at: string | null;
}

export interface Activity {
  id: string;
  event: string;
  ip: string | null;
  is_api: boolean;
  description: string | null;
  properties: Record<string, unknown> | null;
  timestamp: string;
  actor: string | null;
}

export interface Template {
  name: string;
  title: string;
  description: string;
  command: string;
  memory: number;
}

export interface StoredLine {
  seq: number;
  at: number;
  kind: LineKind;
  text: string;
  user: string | null;
}

export interface LinePage {
  oldest: number;
  next: number;
  gaps: { from: number; to: number; reason: string }[];
  lines: StoredLine[];
}

export interface MatchPage {
  matches: { seq: number; at: number; text: string }[];
  searched_to: number;
  complete: boolean;
}

/** What was noted when a run crashed. */
export interface Crash {
  out_of_memory: boolean;
  /** Which crash it was since the last run that lasted. */
  in_a_row: number | null;
  /** The last thing that somebody did. */
  last_act: { at: number; event: string } | null;
  lines: StoredLine[];
  /** The last five minutes. */
  stats: { at: number; cpu: number; memory: number; memory_limit: number }[];
}

export interface Run {
  id: string;
  /** Unix milliseconds; null when its beginning is no longer kept. */
  started_at: number | null;
  /** Null while it goes on, and when nobody saw its end. */
  ended_at: number | null;
  /** Null when it is no longer kept. */
  first_line: number | null;
  /** The number behind its last line; null while it goes on. */
  end_line: number | null;
  exit: string | null;
  /** Whether nobody had asked for its end. Older panels do not tell. */
  crashed?: boolean;
}

export interface StatsHistory {
  step_s: number;
  samples: { at: number; cpu: number; memory: number; memory_limit: number; rx: number; tx: number; disk: number }[];
}

/** How long a console waits before it asks again for a server that is suspended. */
export const BLOCKED_RETRY_MS = 60_000;

const at = (server: string, rest: string) => `/api/client/servers/${encodeURIComponent(server)}${rest}`;
const admin = (server: string, rest: string) => `/api/application/servers/${encodeURIComponent(server)}${rest}`;

function query(values: Record<string, string | number | undefined>): string {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined) as [string, string | number][];
  return entries.length === 0 ? "" : `?${new URLSearchParams(entries.map(([name, value]) => [name, String(value)])).toString()}`;
}

/** What the panel tells of a server, as pages use it. */
export function server(envelope: Envelope<ToldServer>): Server {
  const told = envelope.attributes;
  const given = envelope.meta?.user_permissions;
  const addresses = (told.relationships?.allocations?.data ?? []).map((one) => one.attributes);
  const main = addresses.find((one) => one.is_default) ?? addresses[0];
  return {
    uuid: told.uuid,
    identifier: told.identifier,
    name: told.name,
    description: told.description,
    suspended: told.is_suspended,
    address: main ? `${main.ip_alias ?? main.ip}:${main.port}` : null,
    commands: told.known_commands ?? [],
    memoryLimit: told.limits?.memory === undefined ? null : told.limits.memory * 1024 * 1024,
    permissions: Array.isArray(given) ? (given as string[]) : ["*"],
    owner: told.server_owner,
  };
}

export const api = {
  twoFactor: async () => (await get<{ data: { image_url_data: string; secret: string } }>("/api/client/account/two-factor")).data,
  twoFactorOn: async (code: string, password: string) =>
    (await post<Envelope<{ tokens: string[] }>>("/api/client/account/two-factor", { code, password })).attributes.tokens,
  twoFactorOff: (password: string) => post<void>("/api/client/account/two-factor", { password }, "DELETE"),

  apiKeys: async () => (await get<{ data: Envelope<ApiKey>[] }>("/api/client/account/api-keys?per_page=100")).data.map((one) => one.attributes),
  createApiKey: async (body: { description: string; allowed_ips: string[]; expires_at: string | null }) => {
    const made = await post<Envelope<ApiKey>>("/api/client/account/api-keys", body);
    return `${made.attributes.identifier}${String(made.meta?.secret_token ?? "")}`;
  },
  deleteApiKey: (identifier: string) => post<void>(`/api/client/account/api-keys/${encodeURIComponent(identifier)}`, undefined, "DELETE"),

  servers: async (page = 1, search = "") => {
    const list = await get<{ data: Envelope<ToldServer>[]; meta?: { pagination?: { total: number; total_pages: number } } }>(
      `/api/client${query({ page, per_page: 50, "filter[*]": search || undefined })}`,
    );
    return { servers: list.data.map(server), pages: list.meta?.pagination?.total_pages ?? 1, total: list.meta?.pagination?.total ?? list.data.length };
  },
  server: async (id: string) => server(await get<Envelope<ToldServer>>(at(id, ""))),
  resources: async (id: string) => (await get<Envelope<Resources>>(at(id, "/resources"))).attributes,
  power: (id: string, signal: PowerAction) => post<void>(at(id, "/power"), { signal }),
  command: (id: string, command: string) => post<void>(at(id, "/command"), { command }),
  templates: async () => (await get<{ data: Envelope<Template>[] }>("/api/application/templates?per_page=100")).data.map((one) => one.attributes),
  /** Whether a server has exactly this name, whoever it belongs to. For administrators. */
  nameTaken: async (name: string) => {
    const list = await get<{ data: Envelope<{ name: string }>[] }>(`/api/application/servers${query({ "filter[name]": name, per_page: 100 })}`);
    return list.data.some((one) => one.attributes.name === name);
  },
  /** A link that signs somebody in once. For administrators. */
  signInLink: async (user: string) =>
    (await post<Envelope<{ url: string; expires_at: string }>>(`/api/application/users/${encodeURIComponent(user)}/sign-in-link`)).attributes,
  /** A server with all its settings, and changing them. For administrators, as are the next three. */
  adminServer: async (id: string) => (await get<Envelope<AdminServer>>(admin(id, ""))).attributes,
  changeServer: async (id: string, part: Part, body: Record<string, unknown>) => (await post<Envelope<AdminServer>>(admin(id, `/${part}`), body, "PATCH")).attributes,
  suspendServer: (id: string, suspended: boolean) => post<void>(admin(id, suspended ? "/suspend" : "/unsuspend")),
  deleteServer: (id: string) => post<void>(admin(id, ""), undefined, "DELETE"),
  createServer: async (body: Record<string, unknown>) => (await post<Envelope<{ identifier: string }>>("/api/application/servers", body)).attributes,

  lines: async (id: string, range: { after?: number; before?: number; run?: string; limit: number }) =>
    (await get<Envelope<LinePage>>(at(id, `/console/lines${query(range)}`))).attributes,
  search: async (id: string, q: string, options: { before?: number; limit?: number; matchCase?: boolean }) =>
    (
      await get<Envelope<MatchPage>>(
        at(id, `/console/search${query({ q, before: options.before, limit: options.limit, case: options.matchCase ? "true" : undefined })}`),
      )
    ).attributes,
  crash: async (id: string, run: string) => (await get<Envelope<{ crash: Crash | null }>>(at(id, `/console/runs/${run}`))).attributes.crash,
  runs: async (id: string) => (await get<{ data: Envelope<Run>[] }>(at(id, "/console/runs"))).data.map((one) => one.attributes),
  statsHistory: async (id: string, since: number, step: 1 | 60) =>
    (await get<Envelope<StatsHistory>>(at(id, `/console/stats${query({ since, step })}`))).attributes,

  permissions: async () =>
    (await get<Envelope<{ permissions: Record<string, { description: string; keys: Record<string, string> }> }>>("/api/client/permissions")).attributes
      .permissions,
  subusers: async (id: string) => (await get<{ data: Envelope<Subuser>[] }>(at(id, "/users?per_page=100"))).data.map((one) => one.attributes),
  invite: (id: string, email: string, permissions: string[]) => post<Envelope<Subuser>>(at(id, "/users"), { email, permissions }),
  setPermissions: (id: string, user: string, permissions: string[]) => post<Envelope<Subuser>>(at(id, `/users/${user}`), { permissions }),
  removeSubuser: (id: string, user: string) => post<void>(at(id, `/users/${user}`), undefined, "DELETE"),
  activity: async (id: string, page = 1) => {
    type Actor = { actor?: { attributes?: { username?: string } } };
    type Listed = { data: Envelope<Activity & { relationships?: Actor }>[]; meta?: { pagination?: { total_pages: number } } };
    const list = await get<Listed>(at(id, `/activity${query({ page, include: "actor" })}`));
    const activity = list.data.map((one): Activity => ({ ...one.attributes, actor: one.attributes.relationships?.actor?.attributes?.username ?? null }));
    return { activity, pages: list.meta?.pagination?.total_pages ?? 1 };
  },

  /** Credentials of a console; a refusal says which hop it was and whether asking again makes sense. */
  credentials: async (id: string): Promise<Credentials> => {
    try {
      return (await get<{ data: Credentials }>(at(id, "/websocket"))).data;
    } catch (fault) {
      if (!(fault instanceof ApiFault)) throw fault;
      const node = fault.code === "DaemonConnectionException";
      // Only an administrator ends it, so it is looked at now and then; an installation, also a 409, ends by itself.
      if (fault.status === 409 && /suspended/i.test(fault.message)) throw new CredentialsFault("panel", "suspended", false, BLOCKED_RETRY_MS);
      if (fault.status === 404) throw new CredentialsFault("token", "gone", true);
      const final = fault.status === 401 || fault.status === 403;
      const hop = fault.status === 0 || (fault.status >= 500 && !node) ? "panel" : node ? "node" : "token";
      throw new CredentialsFault(hop, fault.status === 0 ? "unreachable" : fault.message, final, fault.retryAfterMs);
    }
  },
};

/** Whether somebody with these permissions may do a thing. `*` grants all that does not begin with `admin`. */
export function may(permissions: readonly string[], permission: string): boolean {
  return permissions.includes(permission) || permissions.includes("*");
}
