// What a connection needs of the world around it, and what it tells its listener. Types only; socket.ts is what uses them.
import type { Credentials, Hop } from "./credentials";
import type { Line, ServerEvent, Stats } from "./protocol";

export type LinkState =
  | { name: "idle" }
  | { name: "connecting"; hop: Hop }
  | { name: "live" }
  | { name: "waiting"; hop: Hop; reason: string; until: number; attempt: number }
  | { name: "ended"; hop: Hop; reason: string };

/** The part of a WebSocket that is used. */
export interface Wire {
  protocol: string;
  onopen: (() => void) | null;
  onmessage: ((message: { data: unknown }) => void) | null;
  onclose: ((close: { code: number; reason: string }) => void) | null;
  onerror: (() => void) | null;
  send(text: string): void;
  close(): void;
}

export interface World {
  now(): number;
  random(): number;
  after(ms: number, then: () => void): () => void;
  /** Throws CredentialsFault. */
  credentials(): Promise<Credentials>;
  connect(address: string, protocols: string[]): Wire;
}

export interface Listener {
  link(state: LinkState): void;
  /** The newest number seen, or -1: where to go on. */
  newest(): number;
  line(line: Line): void;
  gap(from: number, to: number, reason: string): void;
  /** The plain protocol's last lines, without numbers. */
  plainHistory(texts: string[]): void;
  plainLine(text: string): void;
  /** All lines that were there when the connection attached have come. */
  caughtUp(): void;
  head(head: number): void;
  status(event: Extract<ServerEvent, { event: "status" }>): void;
  stats(stats: Stats): void;
  notice(kind: "daemon error" | "throttled" | "jwt error", text: string): void;
}
