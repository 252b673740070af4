// The frames, on the fixtures that Rust reads too, and on everything a frame should not be.
import { describe, expect, test } from "vitest";
import { bare, closeMeaning, COMMAND_BYTES_MAX, commandFault, decode, decodeStats, FRAME_BYTES_MAX, frames } from "../src/lib/protocol";
import { fixture, folder, table } from "./fixtures";

describe("frames of the plain protocol", () => {
  // Installations have no page yet: their frames are passed over, as all unknown ones are.
  const known = folder("server").filter(({ name }) => !name.startsWith("install-"));
  test.each(known)("server/$name is read", ({ name, text }) => {
    const event = decode(text);
    expect(event).not.toBeNull();
    const known = JSON.parse(text) as { event: string };
    expect(event?.event).toBe(name === "daemon-message" ? "ignored" : known.event);
  });

  test("what a client sends is what the fixtures say", () => {
    const { args } = JSON.parse(fixture("client/auth.json")) as { args: [string] };
    expect(frames.auth(args[0])).toBe(fixture("client/auth.json"));
    expect(frames.sendLogs()).toBe(fixture("client/send-logs.json"));
    expect(frames.sendStats()).toBe(fixture("client/send-stats.json"));
    expect(frames.command("say hello")).toBe(fixture("client/send-command.json"));
    for (const action of ["start", "stop", "restart", "kill"] as const) expect(frames.power(action)).toBe(fixture(`client/set-state-${action}.json`));
  });

  test.each(table<{ why: string; frame: string; event: string }>("outgoing.json"))("other nodes' frames: $why", ({ frame, event }) => {
    const read = decode(frame);
    if (event === "status") return expect(read).toBeNull();
    expect(read?.event).toBe(event === "image pull progress" ? "ignored" : event);
  });

  test.each(table<{ why: string; document: string; reads: Record<string, unknown> & { network: { rx_bytes: number; tx_bytes: number } } }>("stats.json"))("stats: $why", ({ document, reads }) => {
    expect(decodeStats(document)).toEqual({
      memoryBytes: reads.memory_bytes, memoryLimitBytes: reads.memory_limit_bytes, cpuPercent: reads.cpu_absolute, rxBytes: reads.network.rx_bytes,
      txBytes: reads.network.tx_bytes, diskBytes: reads.disk_bytes, uptimeMs: reads.uptime, state: reads.state,
    });
  });

  test.each(folder("close"))("close code: $name", ({ text }) => {
    const { code, reason, come_back } = JSON.parse(text) as { code: number; reason: string; come_back: boolean };
    expect(closeMeaning(code, reason).comeBack).toBe(come_back);
  });

  test("an error's words come without the node's id", () => {
    expect(decode(fixture("server/daemon-error.json"))).toEqual({ event: "daemon error", text: "the server is already running; stop or restart it instead" });
    expect(bare("plain words")).toBe("plain words");
  });
});

describe("quarterdeck.v1", () => {
  test("a numbered line", () => {
    expect(decode('{"event":"console output","args":["hi"],"seq":7,"at":1000,"kind":"input","user":"u"}')).toEqual({ event: "console output", text: "hi", seq: 7, at: 1000, kind: "input", user: "u" });
  });

  test("members of a wrong kind are as if they were missing", () => {
    expect(decode('{"event":"console output","args":["hi"],"seq":"7","at":-1,"kind":"evil","user":3}')).toEqual({ event: "console output", text: "hi", seq: null, at: null, kind: "output", user: null });
  });

  test("attached, gap, heartbeat, receipt, status", () => {
    expect(decode('{"event":"attached","args":["{\\"next\\":3,\\"oldest\\":1,\\"head\\":9}"]}')).toEqual({ event: "attached", next: 3, oldest: 1, head: 9 });
    expect(decode('{"event":"gap","args":["{\\"from\\":3,\\"to\\":9,\\"reason\\":\\"no longer kept\\"}"]}')).toEqual({ event: "gap", from: 3, to: 9, reason: "no longer kept" });
    expect(decode('{"event":"gap","args":["{\\"from\\":9,\\"to\\":9}"]}')).toBeNull();
    expect(decode('{"event":"heartbeat","args":["{\\"head\\":12,\\"at\\":5}"]}')).toEqual({ event: "heartbeat", head: 12, at: 5 });
    expect(decode('{"event":"receipt","args":["{\\"id\\":\\"1\\",\\"outcome\\":\\"refused\\",\\"reason\\":\\"no\\"}"]}')).toEqual({ event: "receipt", receipt: { id: "1", outcome: "refused", line: null, reason: "no" } });
    expect(decode('{"event":"status","args":["stopping"],"at":1,"kill_at":9}')).toEqual({ event: "status", state: "stopping", at: 1, killAt: 9, exit: null, crashed: false, condition: null, endedAt: null, restartAt: null });
    expect(decode('{"event":"status","args":["offline"],"exit":"exit code 0","ended_at":5}')).toMatchObject({ exit: "exit code 0", crashed: false, endedAt: 5 });
    expect(decode('{"event":"status","args":["offline"],"exit":"exit code 3","crashed":true,"ended_at":5}')).toMatchObject({ crashed: true, condition: null });
    expect(decode(fixture("numbered/status-crash-looping.json"))).toMatchObject({ crashed: true, condition: "crash-looping", restartAt: 1_800_000_004_000 });
    expect(decode('{"event":"status","args":["sunk"]}')).toBeNull();
  });

  test("requests carry an id, attach a place", () => {
    expect(frames.command("list", "c1")).toBe('{"event":"send command","args":["list"],"id":"c1"}');
    expect(frames.attachAfter(5)).toBe('{"event":"attach","args":["{\\"after\\":5}"]}');
    expect(frames.attachLast(500)).toBe('{"event":"attach","args":["{\\"last\\":500}"]}');
  });
});

test.each(["", "ping", "[]", "null", "7", '{"event":7}', '{"args":["x"]}', '{"event":"status","args":{"0":"a"}}', '{"event":"status","args":[{}]}', '{"event":"stats","args":["[]"]}', '{"event":"attached","args":["{}"]}'])("no frame: %s", (text) => {
  expect(decode(text)).toBeNull();
});

test("binary data is no frame", () => {
  expect(decode(new ArrayBuffer(3))).toBeNull();
});

test("a command that is taken fits into a frame, however its JSON is spelled", () => {
  // A lone half of a pair has six characters in JSON and three bytes in UTF-8; a quotation mark two for one.
  for (const text of ['"'.repeat(COMMAND_BYTES_MAX), "\ud800".repeat(Math.floor(COMMAND_BYTES_MAX / 3))]) {
    expect(commandFault(text)).toBeNull();
    expect(new TextEncoder().encode(frames.command(text, "c".repeat(64))).length).toBeLessThan(FRAME_BYTES_MAX);
  }
});

test("what the node would refuse is known before", () => {
  expect(commandFault("say hi\tthere")).toBeNull();
  expect(commandFault("a\nb")).toBe("lines");
  expect(commandFault("a\u001b[31m")).toBe("control");
  expect(commandFault("é".repeat(2048))).toBeNull();
  expect(commandFault("é".repeat(2049))).toBe("long");
});
