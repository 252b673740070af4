// The QR code of the second factor: the library draws what a reader finds, for a secret as the panel makes them.
import { generate } from "lean-qr";
import { expect, test } from "vitest";

const ADDRESS = `otpauth://totp/Quarterdeck:somebody%40example.org?secret=${"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"}&issuer=Quarterdeck`;

test("the code has the three marks in its corners and nothing outside of it", () => {
  const code = generate(ADDRESS);
  expect(code.size).toBeGreaterThanOrEqual(37);
  for (const [left, top] of [[0, 0], [code.size - 7, 0], [0, code.size - 7]] as const) {
    const mark = Array.from({ length: 7 }, (_, y) => Array.from({ length: 7 }, (_, x) => (code.get(left + x, top + y) ? "#" : ".")).join(""));
    expect(mark).toEqual(["#######", "#.....#", "#.###.#", "#.###.#", "#.###.#", "#.....#", "#######"]);
  }
  expect(code.get(-1, 0) || code.get(code.size, 0)).toBe(false);
});
