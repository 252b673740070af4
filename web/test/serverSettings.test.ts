// What is sent when a server's settings are saved: what has changed, in the API's own units, and nothing else.
import { describe, expect, test } from "vitest";
import { changes, fields, type Fields } from "../src/lib/serverSettings";

const before = fields({
  name: "demo",
  description: "",
  suspended: false,
  limits: { memory: 64, cpu: 0 },
  container: { startup_command: "java -jar server.jar" },
  process: { ready: ["Done (", "regex:^ready$"], stop: "stop", grace_ms: 2_500 },
});
const sent = (now: Partial<Fields>) => Object.fromEntries((["details", "startup", "build"] as const).map((part) => [part, changes(part, before, { ...before, ...now })]));

describe("a server's settings", () => {
  test("stand in the form as people write them", () => {
    expect(before).toMatchObject({ ready: "Done (\nregex:^ready$", grace: "2.5", memory: "64", cpu: "", pids: "" });
  });

  test("nothing changed, nothing sent; white space around is no change", () => {
    expect(sent({ name: " demo " })).toEqual({ details: {}, startup: {}, build: {} });
  });

  test("only what changed is sent, in its own part", () => {
    expect(sent({ name: "other", memory: "128" })).toEqual({ details: { name: "other" }, startup: {}, build: { memory: 128 } });
    expect(sent({ ready: "Done (\n\n", grace: "30", pids: "200" })).toEqual({ details: {}, startup: { ready: ["Done ("], grace_ms: 30_000 }, build: { pids: 200 } });
  });

  test("what is emptied is taken away", () => {
    expect(sent({ stop: "", ready: "", grace: "", memory: "" })).toEqual({ details: {}, startup: { stop: null, ready: [], grace_ms: 0 }, build: { memory: 0 } });
  });
});
