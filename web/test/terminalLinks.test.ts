// What of a line is taken for a web address.
import { expect, test } from "vitest";
import { ADDRESS } from "../src/lib/terminalLinks";

test.each([
  ["see https://example.com/a_(b) there", "https://example.com/a_(b)"],
  ["(see https://example.com/a_(b))", "https://example.com/a_(b)"],
  ["(https://example.com/a_(b)/c).", "https://example.com/a_(b)/c"],
  ["(https://example.com/map#harbour)", "https://example.com/map#harbour"],
  ["https://example.com/a_(b", "https://example.com/a_"],
  ["http://127.0.0.1:8080/x?y=1, then", "http://127.0.0.1:8080/x?y=1"],
  ["no ftp://example.com", undefined],
])("%s", (line, address) => {
  expect(ADDRESS.exec(line)?.[0]).toBe(address);
});

test("many brackets that stay open do not hold up the page", () => {
  const line = "http://a/(".repeat(2_000);
  expect([...line.matchAll(new RegExp(ADDRESS.source, "g"))].length).toBe(2_000);
});
