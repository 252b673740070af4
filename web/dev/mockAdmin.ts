// The mock's application API for one server: all its settings, changing them, suspending and deleting.
import type { ServerResponse } from "node:http";
import { done, envelope, fail, list } from "./mockAccount";
import type { MockGame } from "./mockGame";
import { cut, trouble } from "./mockSocket";

type Body = Record<string, unknown>;

/** Whether it answered. */
export function adminRoutes(games: MockGame[], url: URL, method: string, body: Body, response: ServerResponse): boolean {
  const found = /^\/api\/application\/servers(?:\/([^/]+))?(?:\/([a-z]+))?$/.exec(url.pathname);
  if (!found) return false;
  const [, id, what] = found;
  if (id === undefined) {
    if (method !== "GET") return false;
    const name = url.searchParams.get("filter[name]") ?? "";
    list(response, "server", games.filter((game) => game.name.includes(name)).map(describe));
    return true;
  }
  const game = games.find((one) => one.uuid === id || one.uuid.startsWith(`${id}-`));
  if (!game) fail(response, 404, "NotFoundHttpException", "The requested resource could not be found on this panel.");
  else if (method === "DELETE") remove(games, game, response);
  else if (what === "suspend" || what === "unsuspend") suspend(game, what === "suspend", response);
  else if (method === "PATCH") change(game, what ?? "", body, response);
  else envelope(response, "server", describe(game));
  return true;
}

function describe(game: MockGame): Body {
  return { id: game.id, uuid: game.uuid, identifier: game.uuid.slice(0, 8), name: game.name, description: game.description, suspended: trouble.suspended === game.name, ...game.settings, state: game.state };
}

function change(game: MockGame, part: string, body: Body, response: ServerResponse): void {
  if (part === "details") {
    if (body.name !== undefined && String(body.name).trim() === "") return fail(response, 422, "ValidationException", "The name field is required.", "name");
    if (trouble.suspended === game.name) trouble.suspended = String(body.name ?? game.name);
    game.name = String(body.name ?? game.name);
    if (body.description !== undefined) game.description = String(body.description ?? "");
  } else if (part === "startup") {
    const ready = [body.ready ?? []].flat().map(String);
    if (ready.some((text) => text.startsWith("regex:") && text.includes("("))) return fail(response, 422, "ValidationException", "The ready pattern is no regular expression.", "ready");
    const { command, ...process } = body;
    if (command !== undefined) game.settings.container.startup_command = command;
    Object.assign(game.settings.process, process, "stop" in body ? { stop: body.stop ?? "" } : {});
  } else {
    const { pids: _untold, ...limits } = body;
    Object.assign(game.settings.limits, limits);
  }
  envelope(response, "server", describe(game));
}

function suspend(game: MockGame, suspended: boolean, response: ServerResponse): void {
  trouble.suspended = suspended ? game.name : "";
  if (suspended) {
    game.power("kill");
    cut(4409, "server is suspended");
  }
  done(response);
}

function remove(games: MockGame[], game: MockGame, response: ServerResponse): void {
  game.power("kill");
  games.splice(games.indexOf(game), 1);
  done(response);
}
