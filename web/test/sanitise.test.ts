// What of a game's output may reach the terminal: colours and text, and nothing else whatever it is dressed as.
import { describe, expect, test } from "vitest";
import { SHOWN_CHARS_MAX, sanitise } from "../src/lib/sanitise";

const ONLY_SGR = /^(?:[^\u0000-\u001f\u007f-\u009f]|\u001b\[[0-9;]*m)*$/;

describe("what passes", () => {
  test("text and colours", () => {
    expect(sanitise("\x1b[32mgreen\x1b[0m plain")).toEqual({ ansi: "\x1b[32mgreen\x1b[0m plain\x1b[0m", plain: "green plain" });
    expect(sanitise("\x1b[1;38;5;208mx\x1b[m").ansi).toBe("\x1b[1;38;5;208mx\x1b[0m\x1b[0m");
    expect(sanitise("\x1b[38;2;1;2;3mx").ansi).toBe("\x1b[38;2;1;2;3mx\x1b[0m");
    expect(sanitise("\x1b[38:2::1:2:3mx").ansi).toBe("\x1b[38;2;1;2;3mx\x1b[0m");
  });

  test("letters of all scripts, and markup as letters", () => {
    expect(sanitise("grüße 日本 🎉 <b>&amp;</b>").plain).toBe("grüße 日本 🎉 <b>&amp;</b>");
  });

  test("tabs keep columns", () => {
    expect(sanitise("a\tb").plain).toBe("a       b");
  });
});

describe("what a progress bar painted last", () => {
  test.each([
    [" 10%\r 50%\r100%", "100%"],
    ["done\r", "done"],
    ["abc\rx", "x"],
    ["12\b\b34", "34"],
    ["old text\r\x1b[Knew", "new"],
    ["old text\r\x1b[K", ""],
    ["old text\x1b[2K\rnew", "new"],
    ["kept\r\x1b[0m", "kept"],
    ["kept\x1b[K", "kept"],
  ])("%j", (raw, plain) => expect(sanitise(raw).plain).toBe(plain));

  test("colours hold across a repaint", () => {
    expect(sanitise("\x1b[32m10%\r20%").ansi).toBe("\x1b[32m20%\x1b[0m");
  });
});

describe("what never passes", () => {
  test.each([
    ["title", "\x1b]0;PWNED\x07after"],
    ["title without an end takes its line with it", "\x1b]0;PWNED"],
    ["clipboard", "\x1b]52;c;cHduZWQ=\x1b\\after"],
    ["hyperlink", "\x1b]8;;javascript:alert(1)\x07after\x1b]8;;\x07"],
    ["device attributes", "\x1b[c\x1b[>c\x1b[0;276;0cafter"],
    ["cursor position query", "\x1b[6nafter"],
    ["DCS", "\x1bP$q\"p\x1b\\after"],
    ["APC", "\x1b_G secret\x1b\\after"],
    ["clear and home", "\x1b[2J\x1b[Hafter"],
    ["alternate screen", "\x1b[?1049hafter"],
    ["cursor up", "\x1b[99Aafter"],
    ["private m", "\x1b[>4;2mafter"],
    ["window size", "\x1b[8;1;1tafter"],
    ["8-bit CSI", "\x9b6nafter"],
    ["8-bit OSC", "\x9d0;PWNED\x9cafter"],
    ["character set", "\x1b(0after"],
    ["reset", "\x1bcafter"],
    ["enquiry", "\x05after"],
    ["bell and shift", "\x07\x0eafter"],
    ["blink and conceal", "\x1b[5;8mafter"],
    ["a query inside of a broken one", "\x1b[\x1b[6nafter"],
  ])("%s", (_, raw) => {
    const { ansi, plain } = sanitise(raw);
    expect(ansi).toMatch(ONLY_SGR);
    expect(["after", ""]).toContain(plain);
    expect(ansi).not.toContain("PWNED");
  });

  test("letters that turn the direction of text are made visible", () => {
    expect(sanitise("\u202egnirts").plain).toBe("\ufffdgnirts");
  });

  test("10,000 random mixtures", () => {
    let seed = 42;
    const random = (below: number) => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) % below;
    const parts = ["\x1b", "[", "]", "P", "m", "6n", "0;x", "\x07", "\x1b\\", "\x9b", "\x9d", "38;5;1", "é", "\r", "\b", "\t", "a", "?25h", ":", ";", "\u202e", "_", "^", "X", "\x9c", " "];
    for (let round = 0; round < 10_000; round++) {
      const raw = Array.from({ length: 1 + random(24) }, () => parts[random(parts.length)]).join("");
      const { ansi, plain } = sanitise(raw);
      expect(ansi, JSON.stringify(raw)).toMatch(ONLY_SGR);
      expect(plain, JSON.stringify(raw)).not.toContain("\x1b");
    }
  });

  test("a megabyte in one line is cut", () => {
    expect(sanitise("x".repeat(1_000_000)).plain.length).toBeLessThan(SHOWN_CHARS_MAX + 3);
  });
});
