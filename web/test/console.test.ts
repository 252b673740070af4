// The lines a page holds: order, seams, gaps, bounds, and what a held view draws.
import { describe, expect, test } from "vitest";
import { HELD_LINES_MAX, LINES_MAX, LineStore, seam, View } from "../src/lib/console";
import type { Line } from "../src/lib/protocol";
import { formatTime } from "../src/lib/times";

const line = (seq: number, text = `line ${seq}`): Line => ({ seq, at: seq * 1000, kind: "output", text, user: null });
const fill = (store: LineStore, from: number, to: number) => {
  for (let seq = from; seq < to; seq++) store.append(line(seq));
};
const numbers = (store: LineStore) => store.entries().map((entry) => (entry.type === "line" ? entry.seq : `${entry.from}-${entry.to}`));

describe("a store", () => {
  test("takes each line once, whatever comes twice", () => {
    const store = new LineStore();
    fill(store, 0, 5);
    expect(store.append(line(4))).toBe(false);
    expect(store.append(line(2))).toBe(false);
    expect(store.append(line(9))).toBe(true);
    expect(numbers(store)).toEqual([0, 1, 2, 3, 4, 9]);
    expect(store.repeated).toBe(2);
  });

  test("names gaps, and cuts one that reaches into what is there", () => {
    const store = new LineStore();
    fill(store, 0, 3);
    expect(store.appendGap(1, 8, "no longer kept")).toBe(true);
    expect(store.appendGap(2, 6, "again")).toBe(false);
    expect(store.append(line(7))).toBe(false);
    store.append(line(8));
    expect(numbers(store)).toEqual([0, 1, 2, "3-8", 8]);
  });

  test("is bounded in lines at 500 lines/s for hours", () => {
    const store = new LineStore();
    fill(store, 0, LINES_MAX * 20);
    expect(store.length).toBe(LINES_MAX);
    expect(store.oldest).toBe(LINES_MAX * 19);
    expect(store.newest).toBe(LINES_MAX * 20 - 1);
    expect(store.appended).toBe(LINES_MAX * 20);
  });

  test("is bounded in characters", () => {
    const store = new LineStore();
    for (let seq = 0; seq < 400; seq++) store.append(line(seq, "x".repeat(60_000)));
    expect(store.length).toBeLessThan(140);
    expect(store.newest).toBe(399);
  });

  test("takes older lines in front without repeating the seam", () => {
    const store = new LineStore();
    fill(store, 100, 103);
    expect(store.prepend([line(97), line(98), line(99), line(100)], [{ from: 90, to: 97, reason: "x" }])).toBe(4);
    expect(numbers(store)).toEqual(["90-97", 97, 98, 99, 100, 101, 102]);
    expect(store.prepend([line(99)], [])).toBe(0);
  });

  test("keeps more while somebody reads, and lets go after", () => {
    const store = new LineStore();
    fill(store, 10_000, 10_000 + LINES_MAX);
    store.setLimit(HELD_LINES_MAX);
    store.prepend(Array.from({ length: 1000 }, (_, at) => line(9_000 + at)), []);
    expect(store.length).toBe(LINES_MAX + 1000);
    store.setLimit(LINES_MAX);
    expect(store.length).toBe(LINES_MAX);
    expect(store.oldest).toBe(10_000);
  });
});

describe("a view", () => {
  test("draws history at once, then what is new", () => {
    const store = new LineStore();
    const view = new View(store);
    fill(store, 0, 3);
    expect(view.take()).toMatchObject({ reset: true, entries: [{ seq: 0 }, { seq: 1 }, { seq: 2 }] });
    expect(view.take()).toBeNull();
    store.append(line(3));
    expect(view.take()).toMatchObject({ reset: false, entries: [{ seq: 3 }] });
  });

  test("what it gave to be drawn stays as it was when more lines come", () => {
    const store = new LineStore();
    const view = new View(store);
    fill(store, 0, 3);
    const first = view.take();
    const anew = view.redraw();
    store.append(line(3));
    expect(first?.entries).toHaveLength(3);
    expect(anew.entries).toHaveLength(3);
  });

  test("held, draws nothing and counts; let go, goes on where it stopped", () => {
    const store = new LineStore();
    const view = new View(store);
    fill(store, 0, 10);
    view.take();
    view.held = true;
    fill(store, 10, 42);
    expect(view.take()).toBeNull();
    expect(view.pending).toBe(32);
    view.held = false;
    const next = view.take();
    expect(next?.reset).toBe(false);
    expect(next?.entries.map((entry) => (entry.type === "line" ? entry.seq : -1))).toEqual(Array.from({ length: 32 }, (_, at) => at + 10));
  });

  test("after a long absence is drawn anew with the newest only", () => {
    const store = new LineStore();
    const view = new View(store);
    fill(store, 0, 10);
    view.take();
    fill(store, 10, 10 + LINES_MAX * 3);
    const next = view.take();
    expect(next?.reset).toBe(true);
    expect(next?.entries).toHaveLength(LINES_MAX);
    expect(view.pending).toBe(0);
  });

  test("1,000 cuts at random moments lose and repeat nothing", () => {
    let seed = 7;
    const random = (below: number) => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) % below;
    const store = new LineStore();
    const view = new View(store);
    const drawn: number[] = [];
    let head = 0;
    for (let cut = 0; cut < 1000; cut++) {
      head += random(20);
      // The server resumes behind the newest, and sometimes is generous and sends a little of what was there.
      for (let seq = Math.max(0, store.newest + 1 - random(4)); seq < head; seq++) store.append(line(seq));
      view.held = random(3) === 0;
      const next = view.take();
      if (next) for (const entry of next.entries) if (entry.type === "line") drawn.push(entry.seq);
    }
    view.held = false;
    for (const entry of view.take()?.entries ?? []) if (entry.type === "line") drawn.push(entry.seq);
    expect(drawn).toEqual(Array.from({ length: head }, (_, at) => at));
  });
});

describe("the plain protocol's seam", () => {
  test.each([
    ["nothing yet", [], ["a", "b"], ["a", "b"], true],
    ["some new", ["a", "b", "c"], ["b", "c", "d"], ["d"], true],
    ["nothing new", ["a", "b", "c"], ["a", "b", "c"], [], true],
    ["all of it new", ["a", "b", "c"], ["x", "y"], ["x", "y"], false],
    ["our end in the middle of theirs", ["b", "c", "d"], ["z", "b", "c", "d", "e"], ["e"], true],
    ["equal lines are not dropped", ["a", "tick", "tick"], ["tick", "tick", "tick"], ["tick"], true],
  ])("%s", (_, have, history, fresh, fits) => {
    expect(seam(have, history)).toEqual({ fresh, fits });
  });
});

test("times are written as they were asked for", () => {
  const at = Date.UTC(2026, 10, 24, 14, 3, 7);
  expect(formatTime(at, "utc", at)).toBe("14:03:07Z");
  expect(formatTime(at, "local", at)).toMatch(/^\d\d:\d\d:\d\d$/);
  expect(formatTime(at, "relative", at + 65_000)).toBe("−1 min");
  expect(formatTime(at, "relative", at - 5)).toBe("−0 s");
  expect(formatTime(at, "off", at)).toBe("");
  expect(formatTime(null, "local", at)).toBe("");
});

describe("a part of what is kept", () => {
  const entries = (next: { entries: readonly { type: string; seq?: number }[] } | null) => next?.entries.map((entry) => entry.seq) ?? [];
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => from + at);

  test("is drawn around a line, a third of it behind the line, and whoever lets go gets the newest", () => {
    const store = new LineStore();
    const view = new View(store);
    fill(store, 0, 4_000);
    view.take();
    view.held = true;
    expect(entries(view.redraw(store.find(1_500), 900))).toEqual(range(900, 1_800));
    expect(view.endsEarly).toBe(true);
    fill(store, 4_000, 4_007);
    expect(view.take()).toBeNull();
    // Only what came since counts as new, not what stands below the part.
    expect(view.pending).toBe(7);
    view.letGo();
    expect(view.endsEarly).toBe(false);
    const next = view.take();
    expect(next?.reset).toBe(true);
    expect(entries(next)).toEqual(range(0, 4_007));
    store.append(line(4_007));
    expect(view.take()).toMatchObject({ reset: false, entries: [{ seq: 4_007 }] });
  });

  test("leads on to the newest without a hole, part by part", () => {
    const store = new LineStore();
    const view = new View(store);
    fill(store, 0, 2_000);
    view.held = true;
    const read: number[] = [];
    let last = store.find(0);
    for (let part = 0; part < 30 && (part === 0 || view.endsEarly); part++) {
      const next = view.redraw(last, 300);
      for (const entry of next.entries) if (entry.type === "line" && entry.seq > (read.at(-1) ?? -1)) read.push(entry.seq);
      expect(next.entries).toContain(last);
      last = next.entries.at(-1) ?? null;
    }
    expect(view.endsEarly).toBe(false);
    expect(read).toEqual(range(0, 2_000));
  });

  test("is everything when there is little, or the line is not kept", () => {
    const store = new LineStore();
    const view = new View(store);
    fill(store, 0, 50);
    expect(entries(view.redraw(store.find(3), 300))).toEqual(range(0, 50));
    expect(store.find(77)).toBeNull();
    expect(view.redraw(store.find(77), 10).entries).toHaveLength(50);
  });
});
