// The small framework-free parts: history, completion, samples, rights, back-off.
import { describe, expect, test } from "vitest";
import { waitMs } from "../src/lib/backoff";
import { complete, names } from "../src/lib/complete";
import { CommandHistory, HISTORY_MAX } from "../src/lib/history";
import { linesOfRun, logText, newest } from "../src/lib/logFile";
import { change, changeOne, has, others, partOf, RIGHTS } from "../src/lib/rights";
import { formatMoment } from "../src/lib/times";
import { formatBytes, formatDuration, Series } from "../src/lib/stats";

class Memory {
  kept = new Map<string, string>();
  getItem = (key: string) => this.kept.get(key) ?? null;
  setItem = (key: string, value: string) => void this.kept.set(key, value);
}

describe("history", () => {
  test("is walked and comes back to what was being written", () => {
    const history = new CommandHistory(new Memory(), "k");
    history.add("one");
    history.add("two");
    history.add("two");
    expect(history.older("dra")).toBe("two");
    expect(history.older("two")).toBe("one");
    expect(history.older("one")).toBeNull();
    expect(history.newer()).toBe("two");
    expect(history.newer()).toBe("dra");
    expect(history.newer()).toBeNull();
  });

  test("is kept, bounded, and survives nonsense and a forbidden storage", () => {
    const memory = new Memory();
    const history = new CommandHistory(memory, "k");
    for (let at = 0; at < HISTORY_MAX + 50; at++) history.add(`c${at}`);
    expect(new CommandHistory(memory, "k").all).toHaveLength(HISTORY_MAX);
    memory.setItem("k", '{"no":"list"}');
    expect(new CommandHistory(memory, "k").all).toEqual([]);
    expect(() => new CommandHistory({ getItem: () => null, setItem: () => { throw new Error("full"); } }, "k").add("x")).not.toThrow();
  });
});

describe("completion", () => {
  test("newest typed first, then the game's own", () => {
    expect(complete("s", ["say hi", "stop"], ["save-all", "say "])).toEqual({ suggestions: ["stop", "say hi", "save-all", "say "], common: "s" });
    expect(complete("sa", ["say hi"], ["save-all"]).common).toBe("sa");
    expect(complete("sav", [], ["save-all"])).toEqual({ suggestions: ["save-all"], common: "save-all" });
    expect(complete("", ["x"], ["y"]).suggestions).toEqual([]);
  });

  test("names of players inside of a command", () => {
    expect(names("<Ada> hi Brennan").includes("Ada")).toBe(true);
    expect(complete("kick Bre", [], [], ["Ada", "Brennan"])).toEqual({ suggestions: ["kick Brennan"], common: "kick Brennan" });
  });
});

describe("samples", () => {
  const sample = (at: number, rx = 0) => ({ at, cpuPercent: 1, memoryBytes: 2, memoryLimitBytes: 0, rxBytes: rx, txBytes: 0, diskBytes: 5 });

  test("overlap of history and live is left out, rates come from counters, holes are holes", () => {
    const series = new Series(3_600_000, 1_000);
    expect(series.add(sample(1_000, 0))).toBe(true);
    expect(series.add(sample(1_200, 1))).toBe(false);
    series.add(sample(2_000, 500));
    series.add(sample(3_000, 100));
    series.add(sample(60_000, 900));
    const columns = series.columns();
    expect(columns.time).toEqual([1, 2, 3, 4, 60]);
    expect(columns.rx).toEqual([null, 500, null, null, null]);
    expect(columns.cpu).toEqual([1, 1, 1, null, 1]);
    expect(columns.limit.every((one) => one === null)).toBe(true);
  });

  test("are bounded", () => {
    const series = new Series(60_000, 1_000);
    for (let at = 0; at < 10_000; at++) series.add(sample(at * 1_000));
    expect(series.length).toBeLessThan(100);
  });

  test("are written for people", () => {
    expect(formatBytes(1536)).toBe("1.5 KiB");
    expect(formatBytes(12)).toBe("12 B");
    expect(formatDuration(3_720_000)).toBe("1 h 2 min");
  });
});

test("rights in words keep permissions that have none", () => {
  const [see, type] = RIGHTS;
  if (!see || !type) throw new Error("no rights");
  const given = change(["websocket.connect", "backup.read"], type, true);
  expect(given).toEqual(["websocket.connect", "backup.read", "control.console"]);
  expect(has(given, type)).toBe(true);
  expect(others(given)).toEqual(["backup.read"]);
  expect(change(given, see, false)).toEqual(["backup.read", "control.console"]);
  expect(has(["*"], see)).toBe(true);
});

test("a right that is only part of a group is named and can be taken", () => {
  const power = RIGHTS.find((right) => right.name === "power");
  if (!power) throw new Error("no rights");
  const held = ["control.console", "control.start"];
  expect(has(held, power)).toBe(false);
  expect(partOf(held, power)).toEqual(["control.start"]);
  expect(partOf(change(held, power, true), power)).toEqual([]);
  expect(changeOne(held, "control.start", false)).toEqual(["control.console"]);
  expect(changeOne(held, "control.start", true)).toEqual(held);
});

test("the downloaded log has times, marks and what a terminal shows in the end", () => {
  const at = Date.UTC(2026, 10, 24, 13, 9, 58, 123);
  const line = (seq: number, kind: "output" | "input" | "notice", text: string) => ({ seq, at, kind, text, user: null });
  const lines = [
    line(0, "output", "Generating the world: 2%\rGenerating the world: 4%\r"),
    line(1, "input", "\x1b[2m> say hi\x1b[0m"),
    line(2, "input", "list"),
    line(9, "notice", "The server has stopped."),
    line(10, "output", "x".repeat(20_000)),
  ];
  const when = "2026-11-24T13:09:58.123Z";
  expect(logText({ lines, gaps: [{ from: 3, to: 9, reason: "no longer kept" }] }).split("\n")).toEqual([
    `${when} Generating the world: 4%`,
    `${when} › say hi`,
    `${when} › list`,
    "[lines 3 to 8 cannot be shown: no longer kept]",
    `${when} [Quarterdeck Daemon] The server has stopped.`,
    `${when} ${"x".repeat(20_000)}`,
    "",
  ]);
});

test("moments are written in one way, with 24 hours", () => {
  expect(formatMoment(Date.UTC(2026, 0, 2, 15, 4, 5), "utc")).toBe("2026-01-02 15:04:05Z");
  expect(formatMoment(new Date(2026, 0, 2, 15, 4, 5).getTime())).toBe("2026-01-02 15:04:05");
});

test("back-off grows to 20 s and is spread", () => {
  expect([0, 1, 2, 3, 4, 5, 50].map((attempt) => waitMs(attempt, () => 0.5))).toEqual([1000, 2000, 4000, 8000, 16000, 20000, 20000]);
  expect(waitMs(0, () => 0)).toBe(850);
  expect(waitMs(0, () => 1)).toBe(1150);
});

test("a log of very long lines is downloaded in several answers", async () => {
  const line = (seq: number) => ({ seq, at: 0, kind: "output" as const, text: `line ${seq}`, user: null });
  const asked: unknown[] = [];
  const read = (range: { after?: number; limit: number }) => {
    asked.push(range);
    const from = range.after === undefined ? 2 : range.after + 1;
    return Promise.resolve({ oldest: 0, next: 7, gaps: [], lines: [line(from), line(from + 1)].filter(({ seq }) => seq < 7) });
  };
  expect((await newest(read)).lines.map(({ seq }) => seq)).toEqual([2, 3, 4, 5, 6]);
  expect(asked).toEqual([{ limit: 5000 }, { after: 3, limit: 3 }, { after: 5, limit: 1 }]);
});

test("the lines of a run are read page by page, from what is kept of it to its end", async () => {
  const kept = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => ({ seq: from + at, at: 0, kind: "output" as const, text: "x", user: null }));
  const asked: unknown[] = [];
  // A log of the lines 10 to 29, of which an answer takes four.
  const read = ({ after, before, limit }: { after?: number; before?: number; limit: number }) => {
    asked.push({ after, before, limit });
    const from = Math.max(oldest, after !== undefined ? after + 1 : (before ?? 30) - limit);
    return Promise.resolve({ oldest, next: 30, gaps: [], lines: kept(from, Math.min(30, from + 4)) });
  };
  const numbers = async (run: { first_line: number | null; end_line: number | null }) => {
    const all: number[] = [];
    for await (const page of linesOfRun({ id: "r", ...run }, read)) all.push(...page.lines.map(({ seq }) => seq));
    return all;
  };
  const range = (from: number, to: number) => kept(from, to).map(({ seq }) => seq);
  let oldest = 10;
  expect(await numbers({ first_line: 12, end_line: 19 })).toEqual(range(12, 19));
  expect(await numbers({ first_line: 25, end_line: null })).toEqual(range(25, 30));
  expect(await numbers({ first_line: null, end_line: 12 })).toEqual([10, 11]);
  oldest = 0;
  asked.length = 0;
  expect(await numbers({ first_line: 0, end_line: 6 })).toEqual(range(0, 6));
  expect(asked).toEqual([{ before: 5000, limit: 5000 }, { after: 3, limit: 5000 }]);
});
