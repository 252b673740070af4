// The connection's states, with a clock and a network that the test moves: no time passes, nothing is sent.
import { describe, expect, test } from "vitest";
import { CredentialsFault } from "../src/lib/credentials";
import { DEAD_MS } from "../src/lib/socket";
import { FakeWorld } from "./world";

describe("the way to live", () => {
  test("credentials, socket, auth, attach, lines", async () => {
    const world = new FakeWorld();
    await world.open();
    expect(world.state).toEqual({ name: "connecting", hop: "socket" });
    expect(world.wire.offered).toEqual(["quarterdeck.v1"]);
    world.wire.opens();
    expect(world.wire.sent).toEqual([{ event: "auth", args: ["t1"] }]);
    world.wire.says("auth success");
    expect(world.wire.last("attach")?.args).toEqual(['{"last":500}']);
    world.wire.says("attached", [{ next: 5, oldest: 0, head: 7 }]);
    expect(world.state.name).toBe("live");
    expect(world.caught).toBe(0);
    world.wire.says("console output", ["a"], { seq: 5 });
    expect(world.caught).toBe(0);
    world.wire.says("console output", ["b"], { seq: 6 });
    expect(world.caught).toBe(1);
    expect(world.lines).toEqual([5, 6]);
  });

  test("an empty console has caught up at once; skipped numbers at the first heartbeat", async () => {
    const empty = new FakeWorld();
    await empty.goLive(0, 0);
    expect(empty.caught).toBe(1);
    const skipped = new FakeWorld();
    await skipped.open();
    skipped.wire.opens();
    skipped.wire.says("auth success");
    skipped.wire.says("attached", [{ next: 0, oldest: 0, head: 9 }]);
    skipped.wire.says("console output", ["a"], { seq: 3 });
    expect(skipped.caught).toBe(0);
    skipped.wire.says("heartbeat", [{ head: 9, at: 1 }]);
    expect(skipped.caught).toBe(1);
  });

  test("each hop that gives no answer is named", async () => {
    const panel = new FakeWorld();
    panel.answer = () => new Promise(() => undefined);
    await panel.open();
    await panel.pass(10_000);
    expect(panel.state).toMatchObject({ name: "waiting", hop: "panel" });
    const socket = new FakeWorld();
    await socket.open();
    await socket.pass(10_000);
    expect(socket.state).toMatchObject({ name: "waiting", hop: "socket" });
    const auth = new FakeWorld();
    await auth.open();
    auth.wire.opens();
    await auth.pass(10_000);
    expect(auth.state).toMatchObject({ name: "waiting", hop: "auth", reason: "no answer" });
  });
});

describe("what the panel says about credentials", () => {
  test("a refusal is the end, a failure is tried again", async () => {
    const world = new FakeWorld();
    world.answer = () => Promise.reject(new CredentialsFault("panel", "unreachable", false));
    await world.open();
    expect(world.state).toMatchObject({ name: "waiting", hop: "panel", reason: "unreachable", until: 1_000 });
    world.answer = () => Promise.reject(new CredentialsFault("token", "no such server", true));
    await world.pass(1_000);
    expect(world.state).toEqual({ name: "ended", hop: "token", reason: "no such server" });
    await world.pass(60_000);
    expect(world.asked).toBe(2);
  });

  test("Retry-After is kept to", async () => {
    const world = new FakeWorld();
    world.answer = () => Promise.reject(new CredentialsFault("token", "too many", false, 7_000));
    await world.open();
    expect(world.state).toMatchObject({ name: "waiting", until: 7_000 });
  });
});

describe("a broken link", () => {
  test("resumes behind the newest line", async () => {
    const world = new FakeWorld();
    await world.goLive(0, 42);
    world.wire.onclose?.({ code: 1012, reason: "node is restarting, come back" });
    expect(world.state).toMatchObject({ name: "waiting", hop: "node", reason: "node is restarting, come back" });
    await world.pass(1_000);
    world.wire.opens();
    expect(world.wire.last("auth")?.args).toEqual(["t2"]);
    world.wire.says("auth success");
    expect(world.wire.last("attach")?.args).toEqual(['{"after":41}']);
  });

  test("silent, is noticed within 10 s", async () => {
    const world = new FakeWorld();
    await world.goLive();
    await world.pass(5_000);
    world.wire.says("heartbeat", [{ head: 3, at: 1 }]);
    await world.pass(DEAD_MS - 1);
    expect(world.state.name).toBe("live");
    await world.pass(1);
    expect(world.state).toMatchObject({ name: "waiting", hop: "socket", reason: "silent" });
    expect(world.wire.closed).toBe(true);
  });

  test("after a sleep is noticed at once when the page is seen again", async () => {
    const world = new FakeWorld();
    await world.goLive();
    world.time += 3_600_000;
    world.connection.poke();
    expect(world.state).toMatchObject({ name: "waiting", reason: "silent" });
    world.connection.poke();
    await world.settle();
    expect(world.state).toMatchObject({ name: "connecting", hop: "socket" });
  });

  test("a wait that was asked for is not cut short by looking at the page, only by a person", async () => {
    const world = new FakeWorld();
    world.answer = () => Promise.reject(new CredentialsFault("panel", "suspended", false, 60_000));
    world.connection.open();
    await world.settle();
    const { asked } = world;
    world.connection.poke();
    await world.pass(59_000);
    expect(world.asked).toBe(asked);
    await world.pass(1_000);
    expect(world.asked).toBe(asked + 1);
    world.connection.poke(true);
    await world.settle();
    expect(world.asked).toBe(asked + 2);
  });

  test("backs off, and only a connection that held starts from the beginning", async () => {
    const world = new FakeWorld();
    const waits: number[] = [];
    await world.goLive();
    for (let round = 0; round < 7; round++) {
      world.wire.onclose?.({ code: 1006, reason: "" });
      const state = world.state;
      if (state.name !== "waiting") throw new Error(state.name);
      waits.push(state.until - world.time);
      await world.pass(state.until - world.time);
      world.wire.opens();
      world.wire.says("auth success");
      world.wire.says("attached", [{ next: 3, oldest: 0, head: 3 }]);
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
    await world.pass(6_000);
    world.wire.onclose?.({ code: 1006, reason: "" });
    expect(world.state).toMatchObject({ until: world.time + 1_000 });
  });

  test.each([[1001, "server deleted"], [4409, "server is suspended"]])("%i %s does not come back", async (code, reason) => {
    const world = new FakeWorld();
    await world.goLive();
    world.wire.onclose?.({ code, reason });
    expect(world.state).toEqual({ name: "ended", hop: "node", reason });
  });

  test("what an old socket says afterwards is not heard", async () => {
    const world = new FakeWorld();
    await world.goLive(0, 3);
    const old = world.wire;
    world.connection.close();
    old.says("console output", ["late"], { seq: 9 });
    expect(world.lines).toEqual([0, 1, 2]);
    expect(world.state.name).toBe("idle");
  });
});

describe("too much to fetch line by line", () => {
  test("after a long absence the newest are asked for, and what is skipped is named", async () => {
    const world = new FakeWorld();
    await world.goLive(0, 3);
    world.wire.onclose?.({ code: 1006, reason: "" });
    await world.pass(1_000);
    world.wire.opens();
    world.wire.says("auth success");
    world.wire.says("attached", [{ next: 3, oldest: 0, head: 1_000_000 }]);
    expect(world.state.name).toBe("connecting");
    world.wire.says("console output", ["x"], { seq: 3 });
    expect(world.wire.last("attach")?.args).toEqual(['{"last":5000}']);
    world.wire.says("attached", [{ next: 995_000, oldest: 0, head: 1_000_000 }]);
    expect(world.state.name).toBe("live");
    expect(world.gaps).toEqual(["4-995000"]);
  });

  test("a slow link skips while it is live", async () => {
    const world = new FakeWorld();
    await world.goLive(0, 3);
    world.wire.says("heartbeat", [{ head: 4_000, at: 1 }]);
    expect(world.wire.sent.filter((frame) => frame.event === "attach")).toHaveLength(1);
    world.wire.says("heartbeat", [{ head: 9_000, at: 1 }]);
    world.wire.says("heartbeat", [{ head: 10_000, at: 1 }]);
    expect(world.wire.sent.filter((frame) => frame.event === "attach")).toHaveLength(2);
    world.wire.says("attached", [{ next: 5_000, oldest: 0, head: 10_000 }]);
    expect(world.gaps).toEqual(["3-5000"]);
  });

  test("the first history is never skipped", async () => {
    const world = new FakeWorld();
    await world.open();
    world.wire.opens();
    world.wire.says("auth success");
    world.wire.says("attached", [{ next: 0, oldest: 0, head: 9_000 }]);
    expect(world.state.name).toBe("live");
  });
});

describe("the token", () => {
  test("is renewed on the same socket, without attaching again", async () => {
    const world = new FakeWorld();
    await world.goLive();
    world.wire.says("token expiring");
    world.wire.says("token expiring");
    await world.settle();
    expect(world.asked).toBe(2);
    expect(world.wire.last("auth")?.args).toEqual(["t2"]);
    world.wire.says("auth success");
    expect(world.wires).toHaveLength(1);
    expect(world.wire.sent.filter((frame) => frame.event === "attach")).toHaveLength(1);
    expect(world.state.name).toBe("live");
    world.wire.says("token expiring");
    await world.settle();
    expect(world.asked).toBe(3);
  });

  test("that cannot be renewed now is tried again at its end; a clear no ends it", async () => {
    const world = new FakeWorld();
    await world.goLive();
    world.answer = () => Promise.reject(new CredentialsFault("panel", "unreachable", false));
    world.wire.says("token expiring");
    await world.settle();
    expect(world.state.name).toBe("live");
    world.answer = () => Promise.reject(new CredentialsFault("token", "not any more", true));
    world.wire.says("token expired");
    await world.settle();
    expect(world.state).toEqual({ name: "ended", hop: "token", reason: "not any more" });
  });

  test("refused at auth, is the auth hop", async () => {
    const world = new FakeWorld();
    await world.open();
    world.wire.opens();
    world.wire.says("jwt error", ["jwt: created too far in past (denylist)"]);
    expect(world.state).toMatchObject({ name: "waiting", hop: "auth" });
    await world.pass(1_000);
    world.wire.opens();
    world.wire.says("jwt error", ["jwt: missing connect permission"]);
    expect(world.state).toMatchObject({ name: "ended", hop: "auth" });
  });
});

describe("commands", () => {
  test("each gets its own answer, in any order", async () => {
    const world = new FakeWorld();
    await world.goLive();
    const first = world.connection.command("one");
    const second = world.connection.power("start");
    const [one, two] = world.wire.sent.slice(-2);
    world.wire.says("receipt", [{ id: two?.id, outcome: "refused", reason: "the server is already running" }]);
    world.wire.says("receipt", [{ id: one?.id, outcome: "done", line: 9 }]);
    expect(await first).toMatchObject({ outcome: "done", line: 9 });
    expect(await second).toMatchObject({ outcome: "refused", reason: "the server is already running" });
  });

  test("on a link that breaks are unclear, never silently lost", async () => {
    const world = new FakeWorld();
    await world.goLive();
    const answer = world.connection.command("one");
    world.wire.onclose?.({ code: 1006, reason: "" });
    expect(await answer).toMatchObject({ outcome: "unknown" });
    expect(await world.connection.command("two")).toMatchObject({ outcome: "refused", reason: "not connected" });
  });

  test("without an answer are unclear after a while", async () => {
    const world = new FakeWorld();
    await world.goLive();
    const answer = world.connection.command("one");
    for (let round = 0; round < 4; round++) {
      world.wire.says("heartbeat", [{ head: 3, at: 1 }]);
      await world.pass(5_000);
    }
    expect(await answer).toMatchObject({ outcome: "unknown" });
  });
});

describe("the plain protocol", () => {
  async function plain(): Promise<FakeWorld> {
    const world = new FakeWorld();
    await world.open();
    // As a browser does when the server selects none of the offered protocols.
    world.wire.onclose?.({ code: 1006, reason: "" });
    expect(world.wire.offered).toEqual([]);
    world.wire.opens("");
    world.wire.says("auth success");
    return world;
  }

  test("is tried when the subprotocol was not taken, and offered again when that was not it", async () => {
    const world = new FakeWorld();
    await world.open();
    world.wire.onclose?.({ code: 1006, reason: "" });
    world.wire.onclose?.({ code: 1006, reason: "" });
    expect(world.state).toMatchObject({ name: "waiting", hop: "socket", reason: "closed" });
    expect(world.asked).toBe(1);
    await world.pass(1_000);
    expect(world.wire.offered).toEqual(["quarterdeck.v1"]);
    world.wire.opens();
    world.wire.says("auth success");
    world.wire.says("attached", [{ next: 0, oldest: 0, head: 0 }]);
    world.wire.onclose?.({ code: 1006, reason: "" });
    await world.pass(1_000);
    world.wire.onclose?.({ code: 1006, reason: "" });
    expect(world.state.name).toBe("waiting");
  });

  test("asks for the last lines and takes them as one piece", async () => {
    const world = await plain();
    expect(world.wire.sent.map((frame) => frame.event)).toEqual(["auth", "send logs"]);
    world.wire.says("console output", ["a"]);
    world.wire.says("console output", ["b"]);
    await world.pass(249);
    expect(world.caught).toBe(0);
    await world.pass(1);
    expect(world.histories).toEqual([["a", "b"]]);
    expect(world.caught).toBe(1);
    world.wire.says("console output", ["c"]);
    expect(world.texts).toEqual(["c"]);
  });

  test("of a game that never falls silent is shown after a second", async () => {
    const world = await plain();
    for (let line = 0; line < 9; line++) {
      world.wire.says("console output", ["tick"]);
      await world.pass(100);
    }
    expect(world.caught).toBe(0);
    world.wire.says("console output", ["tick"]);
    await world.pass(100);
    expect(world.caught).toBe(1);
    expect(world.histories[0]).toHaveLength(10);
  });

  test("is asked something when it is silent, and is dead when it does not answer", async () => {
    const world = await plain();
    await world.pass(5_000);
    expect(world.wire.last("send stats")).toBeDefined();
    world.wire.says("stats", [{ state: "offline" }]);
    await world.pass(9_000);
    expect(world.state.name).toBe("live");
    await world.pass(1_000);
    expect(world.state).toMatchObject({ name: "waiting", reason: "silent" });
  });

  test("a refusal is the oldest command's answer, silence means taken", async () => {
    const world = await plain();
    const first = world.connection.command("one");
    const second = world.connection.command("two");
    world.wire.says("daemon error", ["Error Event [5f2f0ed1-7a7f-4c1e-9c0e-2f6c1d3b4a59]: the server is offline; start it first"]);
    expect(await first).toMatchObject({ outcome: "refused", reason: "the server is offline; start it first" });
    await world.pass(2_000);
    expect(await second).toMatchObject({ outcome: "done" });
    expect(world.wire.last("send command")).not.toHaveProperty("id");
  });
});
