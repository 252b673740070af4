// The mock panel: the contract over HTTP, its games in memory. For work on the UI and for tests without the real program.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createReadStream, existsSync, statSync } from "node:fs";
import { join, normalize } from "node:path";
import { account, envelope, fail, sessionOf } from "./mockAccount";
import { MockGame } from "./mockGame";
import { serverRoutes } from "./mockServers";
import { cut, tokens, trouble, upgrade } from "./mockSocket";

const port = Number(process.env.MOCK_PORT ?? 8787);
const dist = new URL("../dist", import.meta.url).pathname;
const TYPES: Record<string, string> = { js: "text/javascript", css: "text/css", svg: "image/svg+xml", html: "text/html; charset=utf-8", woff2: "font/woff2" };
export const CSP = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:";

const games = [
  new MockGame(1, "Demo harbour", "The game everybody tries first", 900, 100_000),
  new MockGame(2, "Survival north", "Friends only", 2_600, 3_000),
  new MockGame(3, "Lobby", "", 4_000, 400),
  new MockGame(4, "Creative flats", "Build what you like", 1_800, 900),
];
for (const game of games.slice(0, 3)) game.start();

const http = createServer((request, response) => {
  void answer(request, response).catch((fault: unknown) => fail(response, 500, "HttpException", String(fault)));
});
http.on("upgrade", (request, socket, head) => upgrade(games, request, socket, head));
http.listen(port, "127.0.0.1", () => console.log(`mock panel on http://127.0.0.1:${port} (admin / quarterdeck)`));

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://mock");
  const body = await read(request);
  if (url.pathname === "/mock") return control(body, response);
  if (!url.pathname.startsWith("/api/")) return asset(url.pathname, request, response);
  const session = sessionOf(request);
  if (url.pathname.startsWith("/api/auth/") || url.pathname.startsWith("/api/client/account")) return account(url.pathname, request, body, response);
  if (!session) return fail(response, 401, "AuthenticationException", "Unauthenticated.");
  if (request.method !== "GET" && request.headers["x-csrf-token"] !== session.csrf) return fail(response, 403, "CsrfTokenMismatch", "CSRF token mismatch.");
  if (url.pathname.startsWith("/api/application/") && trouble.guest) return fail(response, 403, "AuthorizationException", "This action is unauthorized.");
  return serverRoutes(games, url, request, body, response, session.user.uuid);
}

/** What tests use to make trouble. */
function control(body: Record<string, unknown>, response: ServerResponse): void {
  if (body.cut) cut();
  if (body.expire) for (const token of tokens.values()) token.ends = Date.now() + 1_000;
  Object.assign(trouble, Object.fromEntries(Object.entries(body).filter(([name]) => name in trouble)));
  envelope(response, "trouble", { ...trouble });
}

function asset(path: string, request: IncomingMessage, response: ServerResponse): void {
  const file = join(dist, normalize(path));
  const found = path !== "/" && file.startsWith(dist) && existsSync(file) && statSync(file).isFile();
  const headers = { "Content-Security-Policy": CSP, "X-Content-Type-Options": "nosniff" };
  if (!found && (path.startsWith("/assets/") || !(request.headers.accept ?? "").includes("text/html"))) {
    response.writeHead(404, headers).end();
    return;
  }
  const name = found ? file : join(dist, "index.html");
  response.writeHead(200, { ...headers, "Content-Type": TYPES[name.split(".").pop() ?? ""] ?? "application/octet-stream" });
  createReadStream(name).pipe(response);
}

async function read(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = "";
  for await (const part of request) text += String(part);
  return text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
}
