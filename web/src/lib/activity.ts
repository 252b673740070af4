// What somebody did, in words: what the record calls server:power.start is "started the server".
import { type MoreKey, say } from "./say";

type Did = MoreKey & `did.${string}`;
/** What has a value in its words, and which of the properties that is. */
const WITH = {
  "server:console.command": ["did.typed", "command"],
  "server:subuser.create": ["did.gave", "email"],
  "server:subuser.update": ["did.changedRights", "email"],
  "server:subuser.delete": ["did.took", "email"],
} as const;
const PLAIN: Record<string, Exclude<Did, "did.typed" | "did.gave" | "did.changedRights" | "did.took">> = {
  "server:power.start": "did.start",
  "server:power.stop": "did.stop",
  "server:power.restart": "did.restart",
  "server:power.kill": "did.kill",
  "server:console.command": "did.command",
  "server:create": "did.create",
  "server:delete": "did.delete",
  "server:details.update": "did.details",
  "server:build.update": "did.limits",
  "server:startup.update": "did.startup",
  "server:suspend": "did.suspend",
  "server:unsuspend": "did.unsuspend",
};

/** Something that these pages do not know keeps its name. */
export function eventWords(event: string, properties: Record<string, unknown> | null = null): string {
  const [key, property] = WITH[event as keyof typeof WITH] ?? [];
  const value = property && properties?.[property];
  if (key && typeof value === "string") return say(key, { what: value });
  const plain = PLAIN[event];
  return plain ? say(plain) : event;
}
