// What the record of activity is in words.
import { expect, test } from "vitest";
import { eventWords } from "../src/lib/activity";

test.each([
  ["server:power.start", {}, "started the server"],
  ["server:console.command", { command: "say {what} | hello" }, "typed: say {what} | hello"],
  ["server:console.command", null, "typed a command"],
  ["server:subuser.create", { email: "ada@example.com", permissions: [] }, "gave rights to ada@example.com"],
  ["server:subuser.delete", { email: "ada@example.com" }, "took all rights from ada@example.com"],
  ["server:something.new", { command: "x" }, "server:something.new"],
])("%s %o", (event, properties, words) => {
  expect(eventWords(event, properties)).toBe(words);
});
