// How the panel is spoken to: cookie session, CSRF, one kind of error; and signing in and out, all that the first page needs.

export interface Problem {
  code: string;
  detail: string;
  field: string | null;
}

export class ApiFault extends Error {
  constructor(
    /** 0 when the panel could not be reached at all. */
    readonly status: number,
    readonly problems: readonly Problem[],
    readonly retryAfterMs: number | null = null,
  ) {
    super(problems[0]?.detail ?? `HTTP ${status}`);
  }

  get code(): string {
    return this.problems[0]?.code ?? "";
  }
}

export interface User {
  id: number;
  uuid: string;
  username: string;
  email: string;
  admin: boolean;
  two_factor: boolean;
}

export interface Session {
  user: User;
  csrf: string;
  expires_at: string;
  must_set_password: boolean;
}

export interface Envelope<T> {
  attributes: T;
  meta?: Record<string, unknown>;
}

let csrf = "";
let signedOut: () => void = () => undefined;

/** What to do when the session is over, wherever that is noticed. */
export function onSignedOut(then: () => void): void {
  signedOut = then;
}

async function send(method: string, path: string, body?: unknown, again = true): Promise<Response> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["X-CSRF-Token"] = csrf;
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers,
      credentials: "same-origin",
      cache: "no-store",
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    throw new ApiFault(0, []);
  }
  if (response.ok) return response;
  const fault = await readFault(response);
  if (fault.code === "CsrfTokenMismatch" && again) {
    await auth.session();
    return send(method, path, body, false);
  }
  if (response.status === 401 && !path.startsWith("/api/auth/")) signedOut();
  throw fault;
}

async function readFault(response: Response): Promise<ApiFault> {
  const after = Number(response.headers.get("Retry-After"));
  let problems: Problem[] = [];
  try {
    const body = (await response.json()) as { errors?: { code?: unknown; detail?: unknown; meta?: { source_field?: unknown } }[] };
    problems = (body.errors ?? []).map((error) => ({
      code: String(error.code ?? ""),
      detail: String(error.detail ?? ""),
      field: typeof error.meta?.source_field === "string" ? error.meta.source_field : null,
    }));
  } catch {
    // Not the panel's own words, such as a proxy's page.
  }
  return new ApiFault(response.status, problems, after > 0 ? after * 1000 : null);
}

export async function get<T>(path: string): Promise<T> {
  return (await (await send("GET", path)).json()) as T;
}

export async function post<T>(path: string, body?: unknown, method = "POST"): Promise<T> {
  const response = await send(method, path, body);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

function keep(envelope: Envelope<Session>): Session {
  csrf = envelope.attributes.csrf;
  return envelope.attributes;
}

export const auth = {
  session: async () => keep(await get<Envelope<Session>>("/api/auth/session")),
  login: async (user: string, password: string, code?: string) =>
    keep(await post<Envelope<Session>>("/api/auth/login", code ? { user, password, code } : { user, password })),
  link: async (token: string) => keep(await post<Envelope<Session>>("/api/auth/link", { token })),
  logout: () => post<void>("/api/auth/logout"),
  logoutEverywhere: () => post<void>("/api/auth/logout-everywhere"),
  setPassword: (password: string, current?: string) =>
    post<void>(
      "/api/client/account/password",
      { ...(current ? { current_password: current } : {}), password, password_confirmation: password },
      "PUT",
    ),
};
