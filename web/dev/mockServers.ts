// The mock's servers over HTTP: list, power, console reads, people, activity, templates.
import { randomBytes, randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { sanitise } from "../src/lib/sanitise";
import { done, envelope, fail, json, list } from "./mockAccount";
import { adminRoutes } from "./mockAdmin";
import { type Action, MockGame, sampleAt } from "./mockGame";
import { seek, tokens, trouble } from "./mockSocket";

type Body = Record<string, unknown>;

const TOKEN_TTL_MS = Number(process.env.MOCK_TOKEN_TTL_S ?? 600) * 1000;
const people: Body[] = [{ uuid: randomUUID(), username: "edda", email: "edda@example.com", image: "", "2fa_enabled": true, permissions: ["websocket.connect", "control.console"], created_at: new Date().toISOString() }];
const activity: Body[] = [];

const TEMPLATES = [
  { name: "demo", title: "Demo", description: "A small scripted game that shows what the console can do.", command: "quarterdeck fakegame", memory: 64, hint: null, commands: ["help", "list", "say ", "stop", "crash", "hang", "flood ", "gap ", "colours", "hostile", "progress", "long"] },
  { name: "openttd", title: "OpenTTD", description: "Transport company simulation, dedicated server.", command: "openttd -D", memory: 512, hint: null },
  { name: "minecraft", title: "Minecraft: Java Edition", description: "The official server; needs Java on the node.", command: "java -jar server.jar nogui", memory: 2048, hint: null },
];

const PERMISSIONS = {
  websocket: { description: "Watching the console.", keys: { connect: "See the console and its history." } },
  control: { description: "Using the server.", keys: { console: "Type commands.", start: "Start it.", stop: "Stop and kill it.", restart: "Restart it." } },
  user: { description: "Sharing.", keys: { create: "Invite people.", read: "See who may use the server.", update: "Change what they may do.", delete: "Remove people." } },
  activity: { description: "The record.", keys: { read: "See who did what." } },
  backup: { description: "Backups.", keys: { read: "See backups." } },
};

function describe(game: MockGame): Body {
  return {
    object: "server",
    attributes: {
      uuid: game.uuid, identifier: game.uuid.slice(0, 8), name: game.name, description: game.description, is_suspended: trouble.suspended === game.name, status: null,
      server_owner: true, limits: game.settings.limits, known_commands: game.id === 1 ? TEMPLATES[0]?.commands : undefined,
      relationships: {
        allocations: {
          object: "list",
          data: [{ object: "allocation", attributes: { id: game.id, ip: "127.0.0.1", ip_alias: null, port: 25565 + game.id, notes: null, is_default: true } }],
        },
      },
    },
    meta: { is_server_owner: true, user_permissions: trouble.rights ?? ["*"] },
  };
}

export function serverRoutes(games: MockGame[], url: URL, request: IncomingMessage, body: Body, response: ServerResponse, user: string): void {
  const path = url.pathname;
  const method = request.method ?? "GET";
  if (path === "/api/client") {
    const search = (url.searchParams.get("filter[*]") ?? "").toLowerCase();
    const found = games.filter((game) => game.name !== trouble.gone && game.name.toLowerCase().includes(search)).map(describe);
    return json(response, 200, { object: "list", data: found, meta: { pagination: { total: found.length, total_pages: 1, current_page: 1, per_page: 50, count: found.length, links: {} } } });
  }
  if (path === "/api/client/permissions") return envelope(response, "system_permissions", { permissions: PERMISSIONS });
  if (path === "/api/application/templates") return list(response, "template", TEMPLATES);
  if (adminRoutes(games, url, method, body, response)) return;
  if (/^\/api\/application\/users\/[^/]+\/sign-in-link$/.test(path) && method === "POST") {
    return envelope(response, "sign_in_link", { url: `http://${request.headers.host ?? ""}/link#welcome`, expires_at: new Date(Date.now() + 8.64e7).toISOString() });
  }
  if (path === "/api/application/servers" && method === "POST") {
    if (String(body.name ?? "").trim() === "") return fail(response, 422, "ValidationException", "The name field is required.", "name");
    const game = new MockGame(games.length + 1, String(body.name), String(body.description ?? ""), 1_500, 0);
    games.push(game);
    if (body.start_on_completion) game.start();
    return json(response, 201, describe(game));
  }
  const [, id, rest = ""] = /^\/api\/client\/servers\/([^/]+)(\/.*)?$/.exec(path) ?? [];
  const game = games.find((one) => one.uuid === id || one.uuid.startsWith(`${id}-`));
  if (!game || trouble.gone === game.name) return fail(response, 404, "NotFoundHttpException", "The requested resource could not be found on this panel.");
  const record = (event: string, properties: Body) =>
    activity.unshift({ id: randomUUID(), event, ip: "127.0.0.1", is_api: false, description: null, properties, has_additional_metadata: false, batch: null, timestamp: new Date().toISOString() });

  if (rest === "") return json(response, 200, describe(game));
  if (rest === "/resources") {
    const stats = game.stats() as { memory_bytes: number; cpu_absolute: number; disk_bytes: number; uptime: number; network: { rx_bytes: number; tx_bytes: number } };
    return envelope(response, "stats", {
      current_state: game.state, is_suspended: trouble.suspended === game.name, last_exit: game.lastExit, ...(game.crashed ? { crashed: true } : {}), ...(game.condition ? { condition: game.condition } : {}), ended_at_ms: game.endedAt, restart_in_ms: game.restartAt ? Math.max(0, game.restartAt - Date.now()) : null,
      resources: { cpu_absolute: stats.cpu_absolute, memory_bytes: stats.memory_bytes, memory_limit_bytes: 1_073_741_824, disk_bytes: stats.disk_bytes, network_rx_bytes: stats.network.rx_bytes, network_tx_bytes: stats.network.tx_bytes, uptime: stats.uptime },
    });
  }
  if (rest === "/websocket") {
    if (trouble.suspended === game.name) return fail(response, 409, "ServerStateConflictException", "This server is suspended. Ask an administrator.");
    const token = randomBytes(12).toString("hex");
    tokens.set(token, { server: game.uuid, user, ends: Date.now() + TOKEN_TTL_MS });
    return json(response, 200, { data: { token, socket: `ws://${request.headers.host ?? ""}/api/servers/${game.uuid}/ws` } });
  }
  if (rest === "/power" || rest === "/command") {
    const refusal = rest === "/power" ? game.power(body.signal as Action) : game.command(String(body.command), user);
    if (refusal) return fail(response, rest === "/power" ? 400 : 502, "HttpException", refusal);
    record(rest === "/power" ? `server:power.${String(body.signal)}` : "server:console.command", body);
    return done(response);
  }
  if (rest === "/activity") {
    const data = activity.map((attributes) => ({ object: "activity_log", attributes: { ...attributes, relationships: { actor: { object: "user", attributes: { username: "admin" } } } } }));
    return json(response, 200, { object: "list", data, meta: { pagination: { total_pages: 1 } } });
  }
  if (rest.startsWith("/users")) return users(rest, method, body, response);
  if (rest.startsWith("/console/")) return reads(game, rest.slice(9), url.searchParams, response);
  fail(response, 404, "NotFoundHttpException", "The requested resource could not be found on this panel.");
}

function users(rest: string, method: string, body: Body, response: ServerResponse): void {
  const person = people.find((one) => rest.endsWith(String(one.uuid)));
  if (method === "GET") return list(response, "server_subuser", people);
  if (method === "DELETE" && person) {
    people.splice(people.indexOf(person), 1);
    return done(response);
  }
  if (person) return envelope(response, "server_subuser", Object.assign(person, { permissions: body.permissions }));
  if (!String(body.email).includes("@")) return fail(response, 422, "ValidationException", "The email must be a valid email address.", "email");
  const made = { uuid: randomUUID(), username: String(body.email).split("@")[0], email: body.email, image: "", "2fa_enabled": false, permissions: body.permissions, created_at: new Date(String(body.email).startsWith("old") ? 0 : Date.now()).toISOString() };
  people.push(made);
  envelope(response, "server_subuser", made);
}

function reads(game: MockGame, what: string, query: URLSearchParams, response: ServerResponse): void {
  const number = (name: string) => (query.has(name) ? Number(query.get(name)) : null);
  const limit = Math.min(5_000, number("limit") ?? 100);
  if (what === "lines") {
    const after = number("after");
    const before = number("before");
    const end = after !== null ? Math.min(game.log.length, seek(game, after + 1) + limit) : before !== null ? seek(game, before) : game.log.length;
    const start = after !== null ? seek(game, after + 1) : Math.max(0, end - limit);
    const run = query.has("run") ? game.runs.find((one) => one.id === query.get("run")) : undefined;
    const lines = game.log.slice(start, end).filter((line) => !run || (line.seq >= (run.first_line ?? 0) && line.seq < (run.end_line ?? Infinity)));
    if (query.get("format") === "text") {
      response.writeHead(200, { "Content-Type": "text/plain; charset=utf-8" }).end(lines.map((line) => `${sanitise(line.text).plain}\n`).join(""));
      return;
    }
    const first = lines[0]?.seq ?? 0;
    const last = lines[lines.length - 1]?.seq ?? 0;
    return envelope(response, "console_lines", { oldest: game.oldest, next: game.next, gaps: game.gaps.filter((gap) => gap.to > first && gap.from <= last), lines });
  }
  if (what === "search") {
    const wanted = query.get("q") ?? "";
    const exact = ["1", "true"].includes(query.get("case") ?? "");
    const matches: Body[] = [];
    let at = (number("before") !== null ? seek(game, number("before") as number) : game.log.length) - 1;
    const most = Math.min(200, number("limit") ?? 50);
    for (; at >= 0 && matches.length < most; at--) {
      const line = game.log[at];
      if (!line) break;
      const text = sanitise(line.text).plain;
      if (exact ? text.includes(wanted) : text.toLowerCase().includes(wanted.toLowerCase())) matches.push({ seq: line.seq, at: line.at, text: line.text });
    }
    return envelope(response, "console_matches", { matches, searched_to: game.log[at + 1]?.seq ?? 0, complete: at < 0 });
  }
  if (what === "runs") return list(response, "run", game.runs);
  const run = game.runs.find((one) => what === `runs/${one.id}`);
  if (run) {
    const lines = game.log.filter((line) => line.seq < (run.end_line ?? 0)).slice(-500);
    const at = run.ended_at ?? 0;
    const stats = [{ at, cpu: 12, memory: 900_000_000, memory_limit: 1_073_741_824, rx: 0, tx: 0, disk: 0 }];
    const crash = { code: 3, signal: null, out_of_memory: false, in_a_row: 2, restart_at: null, last_act: { at, event: "server:console.command", user: null }, lines, gaps: [], stats };
    return envelope(response, "run", { ...run, crash: run.crashed ? crash : null });
  }
  if (what === "stats") {
    const step = number("step") === 60 ? 60 : 1;
    const samples: unknown[] = [];
    let rx = 0;
    let tx = 0;
    const now = Date.now();
    for (let at = Math.max(number("since") ?? 0, now - (step === 1 ? 3.6e6 : 8.64e7)); at < now; at += step * 1000) {
      const sample = sampleAt(at, game.id);
      rx += step * (4_000 + sample.wave * 9_000);
      tx += step * (16_000 + sample.wave * 30_000);
      samples.push({ at: Math.round(at), cpu: sample.cpu, memory: sample.memory, memory_limit: 1_073_741_824, rx: Math.round(rx), tx: Math.round(tx), disk: 418_000_000 });
    }
    Object.assign(game, { rx, tx });
    return envelope(response, "stats_history", { step_s: step, samples });
  }
  fail(response, 404, "NotFoundHttpException", "The requested resource could not be found on this panel.");
}
