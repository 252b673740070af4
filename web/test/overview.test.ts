// What the list of servers asks for: each state in each round, lines more seldom, and nothing while nobody looks.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Server } from "../src/lib/api";
import { api } from "../src/lib/api";
import { Overview } from "../src/lib/overview.svelte";

const page = Object.assign(new EventTarget(), { visibilityState: "visible" });
const states = new Map<string, { current_state: string; ended_at_ms?: number }>();
const asked = { states: 0, lines: 0 };
let overview: Overview;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("document", page);
  page.visibilityState = "visible";
  states.clear();
  vi.spyOn(api, "resources").mockImplementation(async (id) => {
    asked.states++;
    return { current_state: "running", is_suspended: false, ...states.get(id) } as never;
  });
  vi.spyOn(api, "lines").mockImplementation(async (id) => {
    asked.lines++;
    return { lines: [{ seq: 1, at: 1, kind: "output", text: `line of ${id}`, user: null }] } as never;
  });
  overview = new Overview();
});
afterEach(() => {
  overview.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const servers = (count: number) => Array.from({ length: count }, (_, at) => ({ identifier: `s${at}`, uuid: `u${at}`, suspended: false }) as Server);

/** What is asked for when this is done, and in this time after it. */
async function during(ms: number, begin = () => {}) {
  Object.assign(asked, { states: 0, lines: 0 });
  begin();
  await vi.advanceTimersByTimeAsync(ms);
  return { ...asked };
}

function show(visible: boolean) {
  page.visibilityState = visible ? "visible" : "hidden";
  page.dispatchEvent(new Event("visibilitychange"));
}

test("a page of 20 servers asks for all at first, then for lines in every third round only", async () => {
  expect(await during(0, () => overview.watch(servers(20)))).toEqual({ states: 20, lines: 20 });
  expect(overview.glances.s7).toMatchObject({ lastLine: "line of s7", stale: false });
  const minute = await during(60_000);
  expect(minute.states + minute.lines).toBeLessThanOrEqual(120);
  expect(minute.states).toBe(80);
  expect(minute.lines).toBe(20);
});

test("a server that is down is not asked for lines again until something happens to it", async () => {
  states.set("s0", { current_state: "offline", ended_at_ms: 5 });
  expect(await during(0, () => overview.watch(servers(1)))).toEqual({ states: 1, lines: 1 });
  expect((await during(60_000)).lines).toBe(0);
  states.set("s0", { current_state: "offline", ended_at_ms: 9 });
  expect((await during(5_000)).lines).toBe(1);
});

test("hidden, nothing is asked for; seen again, everything at once", async () => {
  await during(0, () => overview.watch(servers(3)));
  show(false);
  expect(await during(3_600_000)).toEqual({ states: 0, lines: 0 });
  expect((await during(0, () => show(true))).states).toBe(3);
  expect((await during(60_000)).states).toBe(36);
});
