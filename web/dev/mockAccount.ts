// The mock's people: sign-in, session cookie, password, two-factor and API keys, all in memory.
import { randomBytes, randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { trouble } from "./mockSocket";

interface MockSession {
  csrf: string;
  user: { id: number; uuid: string; username: string; email: string; admin: boolean; two_factor: boolean };
}

type Body = Record<string, unknown>;

const user = { id: 1, uuid: randomUUID(), username: "admin", email: "admin@example.com", admin: true, two_factor: false };
const sessions = new Map<string, MockSession>();
let password = "quarterdeck";
let mustSetPassword = false;
let wrong = 0;
const keys: Body[] = [
  { identifier: "ptlc_Qd3vKx81abc", description: "Discord bot", allowed_ips: ["203.0.113.0/24"], last_used_at: new Date(Date.now() - 7.2e6).toISOString(), created_at: new Date(Date.now() - 9e8).toISOString(), expires_at: null },
];

export function fail(response: ServerResponse, status: number, code: string, detail: string, field?: string): void {
  json(response, status, { errors: [{ code, status: String(status), detail, ...(field ? { meta: { source_field: field, rule: "x" } } : {}) }] });
}

export function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}

export function envelope(response: ServerResponse, object: string, attributes: unknown): void {
  json(response, 200, { object, attributes });
}

export function list(response: ServerResponse, object: string, items: readonly unknown[]): void {
  const pagination = { total: items.length, count: items.length, per_page: 50, current_page: 1, total_pages: 1, links: {} };
  json(response, 200, { object: "list", data: items.map((attributes) => ({ object, attributes })), meta: { pagination } });
}

export function done(response: ServerResponse): void {
  response.writeHead(204).end();
}

export function sessionOf(request: IncomingMessage): MockSession | undefined {
  const id = /quarterdeck_session=(\w+)/.exec(request.headers.cookie ?? "")?.[1];
  return id === undefined ? undefined : sessions.get(id);
}

function enter(response: ServerResponse): void {
  const id = randomBytes(16).toString("hex");
  const session = { csrf: randomBytes(16).toString("hex"), user };
  sessions.set(id, session);
  response.setHeader("Set-Cookie", `quarterdeck_session=${id}; HttpOnly; SameSite=Lax; Path=/`);
  describe(response, session);
}

function describe(response: ServerResponse, session: MockSession): void {
  envelope(response, "session", { ...session, user: { ...session.user, admin: !trouble.guest }, expires_at: new Date(Date.now() + 1.2e9).toISOString(), must_set_password: mustSetPassword });
}

export function account(path: string, request: IncomingMessage, body: Body, response: ServerResponse): void {
  const session = sessionOf(request);
  const method = request.method ?? "GET";
  if (path === "/api/auth/login") return login(body, response);
  if (path === "/api/auth/link") {
    if (body.token !== "welcome") return fail(response, 401, "AuthenticationException", "This link has been used or is too old.");
    mustSetPassword = true;
    return enter(response);
  }
  if (!session) return fail(response, 401, "AuthenticationException", "Unauthenticated.");
  if (path === "/api/auth/session") return describe(response, session);
  if (method !== "GET" && request.headers["x-csrf-token"] !== session.csrf) return fail(response, 403, "CsrfTokenMismatch", "CSRF token mismatch.");
  if (path === "/api/auth/logout" || path === "/api/auth/logout-everywhere") {
    for (const [id, one] of sessions) if (path.endsWith("everywhere") || one === session) sessions.delete(id);
    return done(response);
  }
  if (path === "/api/client/account/password") {
    if (!mustSetPassword && body.current_password !== password) return fail(response, 422, "ValidationException", "The current password is wrong.", "current_password");
    const { length } = [...String(body.password)];
    if (length < 8 || length > 1024) return fail(response, 422, "ValidationException", "The password must have 8 to 1024 characters.", "password");
    password = String(body.password);
    mustSetPassword = false;
    return done(response);
  }
  if (path === "/api/client/account/two-factor") {
    if (method === "GET") return json(response, 200, { data: { image_url_data: "otpauth://totp/Quarterdeck:admin?secret=JBSWY3DPEHPK3PXP&issuer=Quarterdeck", secret: "JBSWY3DPEHPK3PXP" } });
    if (body.password !== password) return fail(response, 400, "BadRequestHttpException", "The password is wrong.");
    user.two_factor = method === "POST";
    if (method === "POST") return envelope(response, "recovery_tokens", { tokens: Array.from({ length: 10 }, () => randomBytes(5).toString("hex")) });
    return done(response);
  }
  return apiKeys(path, method, body, response);
}

function login(body: Body, response: ServerResponse): void {
  if (wrong >= 5) {
    response.setHeader("Retry-After", "30");
    wrong = 0;
    return fail(response, 429, "ThrottleRequestsException", "Too many attempts. Try again in 30 seconds.");
  }
  if ((body.user !== "admin" && body.user !== user.email) || body.password !== password) {
    wrong++;
    return fail(response, 401, "AuthenticationException", "These credentials do not match our records.");
  }
  if (user.two_factor && body.code === undefined) return fail(response, 400, "TwoFactorAuthRequiredException", "A code is needed.");
  wrong = 0;
  enter(response);
}

function apiKeys(path: string, method: string, body: Body, response: ServerResponse): void {
  if (method === "GET") return list(response, "api_key", keys);
  if (method === "POST") {
    const key = { identifier: `ptlc_${randomBytes(6).toString("hex").slice(0, 11)}`, description: body.description, allowed_ips: body.allowed_ips ?? [], last_used_at: null, created_at: new Date().toISOString(), expires_at: body.expires_at ?? null };
    keys.push(key);
    return json(response, 201, { object: "api_key", attributes: key, meta: { secret_token: randomBytes(16).toString("hex") } });
  }
  const at = keys.findIndex((key) => path.endsWith(`/${String(key.identifier)}`));
  if (at < 0) return fail(response, 404, "NotFoundHttpException", "The requested resource could not be found on this panel.");
  keys.splice(at, 1);
  done(response);
}
