// The mock's console socket: `quarterdeck.v1` and the plain protocol, with tokens that expire.
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer, type WebSocket } from "ws";
import type { Action, MockGame } from "./mockGame";

export interface Trouble {
  /** Nothing is sent any more, and nobody is told: a link that died in silence. */
  frozen: boolean;
  /** New sockets are refused. */
  refused: boolean;
  /** The subprotocol is not known. */
  plain: boolean;
  /** The name of a server that an administrator has blocked. */
  suspended: string;
  /** The name of a server that is not shared any more. */
  gone: string;
  /** What the visitor may do, when not everything. */
  rights: string[] | null;
  /** The visitor is no administrator. */
  guest: boolean;
}

export const trouble: Trouble = { frozen: false, refused: false, plain: false, suspended: "", gone: "", rights: null, guest: false };
export const tokens = new Map<string, { server: string; user: string; ends: number }>();
const sockets = new Set<WebSocket>();

const server = new WebSocketServer({
  noServer: true,
  handleProtocols: (offered) => (!trouble.plain && offered.has("quarterdeck.v1") ? "quarterdeck.v1" : false),
});

export function cut(code = 1012, reason = "node is restarting, come back"): void {
  for (const socket of sockets) socket.close(code, reason);
}

export function upgrade(games: readonly MockGame[], request: IncomingMessage, stream: Duplex, head: Buffer): void {
  const uuid = /^\/api\/servers\/([0-9a-f-]+)\/ws$/.exec(request.url ?? "")?.[1];
  const game = games.find((one) => one.uuid === uuid);
  if (!game || trouble.refused) {
    stream.end("HTTP/1.1 404 Not Found\r\n\r\n");
    return;
  }
  server.handleUpgrade(request, stream, head, (socket) => converse(socket, game, socket.protocol === "quarterdeck.v1"));
}

function converse(socket: WebSocket, game: MockGame, numbered: boolean): void {
  sockets.add(socket);
  let token: { user: string; ends: number } | null = null;
  let cursor: number | null = null;
  let warned = false;
  const send = (frame: object) => {
    if (!trouble.frozen && socket.readyState === socket.OPEN) socket.send(JSON.stringify(frame));
  };
  const valid = () => token !== null && Date.now() < token.ends;

  const pump = () => {
    while (cursor !== null && cursor < game.next && valid() && !trouble.frozen) {
      const lost = game.gaps.find((gap) => (cursor as number) >= gap.from && (cursor as number) < gap.to);
      const oldest = game.oldest;
      if (cursor < oldest || lost) {
        const to: number = lost && cursor >= oldest ? lost.to : oldest;
        if (numbered) send({ event: "gap", args: [JSON.stringify({ from: cursor, to, reason: "no longer kept" })] });
        cursor = to;
        continue;
      }
      const from: number = cursor;
      const line = game.log[seek(game, from)];
      if (!line) break;
      cursor = line.seq + 1;
      send(
        numbered
          ? { event: "console output", args: [line.text], seq: line.seq, at: line.at, kind: line.kind, ...(line.user ? { user: line.user } : {}) }
          : { event: "console output", args: [line.text] },
      );
    }
  };
  const status = (frame: object) => valid() && send(frame);
  const stats = () => send({ event: "stats", args: [JSON.stringify(game.stats())] });

  const second = setInterval(() => {
    if (token && !warned && Date.now() > token.ends - Math.min(60_000, 5_000)) {
      warned = true;
      send({ event: "token expiring" });
    }
    if (token && !valid()) send({ event: "token expired" });
    else if (token && game.state !== "offline") stats();
  }, 1_000);
  const heartbeat = setInterval(() => {
    if (numbered && valid()) send({ event: "heartbeat", args: [JSON.stringify({ head: game.next, at: Date.now() })] });
  }, 5_000);
  game.wakers.add(pump);
  game.statusListeners.add(status);

  socket.on("close", () => {
    sockets.delete(socket);
    clearInterval(second);
    clearInterval(heartbeat);
    game.wakers.delete(pump);
    game.statusListeners.delete(status);
  });

  socket.on("message", (data) => {
    if (trouble.frozen) return;
    const frame = JSON.parse(String(data)) as { event: string; args?: (string | null)[]; id?: string };
    const argument = frame.args?.[0] ?? "";
    if (frame.event === "auth") {
      const given = tokens.get(argument);
      if (!given || given.server !== game.uuid) return send({ event: "daemon error", args: ["this token was not accepted; get a new one"] });
      const first = token === null;
      token = given;
      warned = false;
      send({ event: "auth success" });
      if (first) send(game.statusFrame());
      if (first && game.state === "offline") stats();
      return pump();
    }
    if (!valid()) return send({ event: "jwt error", args: ["jwt: exp claim is invalid"] });
    const answer = (refusal: string | null, line?: number) => {
      if (frame.id !== undefined) {
        const body = refusal ? { id: frame.id, outcome: "refused", reason: refusal } : { id: frame.id, outcome: "done", line };
        send({ event: "receipt", args: [JSON.stringify(body)] });
      } else if (refusal) send({ event: "daemon error", args: [`Error Event [5f2f0ed1-7a7f-4c1e-9c0e-2f6c1d3b4a59]: ${refusal}`] });
    };
    if (frame.event === "attach") {
      const from = JSON.parse(argument) as { after?: number; last?: number };
      cursor = from.after !== undefined ? from.after + 1 : Math.max(game.oldest, game.next - (from.last ?? 0));
      send({ event: "attached", args: [JSON.stringify({ next: cursor, oldest: game.oldest, head: game.next })] });
      pump();
    } else if (frame.event === "send logs") {
      cursor = Math.max(game.oldest, game.next - 150);
      pump();
    } else if (frame.event === "send stats") stats();
    else if (frame.event === "set state") answer(game.power(argument as Action));
    else if (frame.event === "send command" && argument === "too fast") {
      send({ event: "throttled", args: ["global"] });
      answer("too many messages in a short time; this one was discarded, send it again in a moment");
    } else if (frame.event === "send command") {
      const refusal = game.command(argument, token?.user ?? "");
      answer(refusal, refusal ? undefined : game.next - 1);
    }
  });
}

/** Index of the first line with at least this number. */
export function seek(game: MockGame, seq: number): number {
  let low = 0;
  let high = game.log.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((game.log[middle]?.seq ?? 0) < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}
