// From a match in the search to its place in the console and back to live, with every line drawn once and in order. With the mock.
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { axe } from "./axe";
import { IS_MOCK, launch, openServer, rows, sees, signIn, type, visit, type Visit } from "./browser";

const NAME = "Creative flats";
let browser: Browser;
let seen: Visit;
let tags = 0;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());
afterEach(async () => {
  expect(seen.faults).toEqual([]);
  await seen.context.close();
});

async function watch(look = {}): Promise<Page> {
  seen = await visit(browser, look);
  const { page } = seen;
  await signIn(page);
  await openServer(page, NAME);
  await page.locator('[data-link="live"]').waitFor();
  if (await page.getByTestId("power-start").isVisible()) await page.getByTestId("power-start").click();
  await page.getByTestId("state").getByText("running").waitFor();
  return page;
}

/** Writes so many numbered lines and waits until the last of them is seen. */
async function flood(page: Page, lines: number): Promise<string> {
  const tag = `-${Date.now().toString(36)}${tags++}`;
  await type(page, `flood ${lines} 1 ${tag}`);
  await sees(page, `flood${tag} ${lines} of ${lines}`, 20_000);
  return tag;
}

/** The numbers of a flood in the window, as they stand there; other lines of the game may stand in between. */
async function shown(page: Page, tag: string): Promise<number[]> {
  return (await rows(page)).flatMap((row) => new RegExp(`flood${tag} (\\d+) of`).exec(row)?.[1] ?? []).map(Number);
}

async function find(page: Page, text: string): Promise<void> {
  if ((await page.getByTestId("search").count()) === 0) await page.getByTestId("search-toggle").click();
  await page.getByTestId("search-input").fill(text);
  await page.keyboard.press("Enter");
  await page.getByTestId("match").first().click();
  await page.getByTestId("context").waitFor();
}

/** Waits until the band lies over the row with this text. */
async function marks(page: Page, text: string): Promise<void> {
  const row = page.locator(".xterm-rows:not(.qd-ghost) > div").filter({ hasText: text });
  await expect.poll(async () => Math.abs(((await page.getByTestId("shown-line").boundingBox())?.y ?? 0) - ((await row.boundingBox())?.y ?? -99))).toBeLessThan(2);
}

const consecutive = (numbers: number[]) => numbers.every((number, at) => at === 0 || number === (numbers[at - 1] ?? 0) + 1);

describe.runIf(IS_MOCK)("with the mock", () => {
  test("a match far up is shown in the console, held and marked; reading on meets no hole; End is live again", async () => {
    const page = await watch();
    const tag = await flood(page, 7_000);
    await find(page, `flood${tag} 60 of`);
    await page.getByTestId("show-in-console").click();
    await sees(page, `flood${tag} 60 of`);
    await page.getByTestId("new-lines").waitFor();
    await marks(page, `flood${tag} 60 of`);
    const read = new Set<number>();
    let last: number[] = [];
    for (let pages = 0; pages < 80 && (last.at(-1) ?? 0) < 1_600; pages++) {
      const before = last;
      last = await shown(page, tag);
      if (last.length === 0 || last.join() === before.join()) {
        await expect.poll(async () => (await shown(page, tag)).join()).not.toBe(before.join());
        last = await shown(page, tag);
      }
      expect(consecutive(last), last.join()).toBe(true);
      for (const number of last) read.add(number);
      await page.keyboard.press("PageDown");
    }
    // Further than what is drawn at once.
    const numbers = [...read].sort((a, b) => a - b);
    expect(numbers[0]).toBeLessThanOrEqual(60);
    expect(numbers.at(-1)).toBeGreaterThanOrEqual(1_600);
    expect(consecutive(numbers)).toBe(true);
    await page.keyboard.press("End");
    await sees(page, `flood${tag} 7000 of 7000`);
    await page.getByTestId("new-lines").waitFor({ state: "detached" });
    await type(page, "say back at the end");
    await sees(page, "[Server] back at the end");
  });

  test("a match among the newest lines is held as well, and what comes is counted", async () => {
    const page = await watch();
    const tag = await flood(page, 300);
    await find(page, `flood${tag} 200 of`);
    await page.getByTestId("show-in-console").click();
    await page.getByTestId("shown-line").waitFor();
    await page.getByTestId("new-lines").waitFor();
    const held = await shown(page, tag);
    expect(held).toContain(200);
    expect(consecutive(held)).toBe(true);
    expect(await page.getByTestId("console").evaluate((element) => element === document.activeElement)).toBe(true);
    await page.getByTestId("new-lines").getByText(/\d new line/).waitFor();
    expect(await shown(page, tag)).toEqual(held);
    await page.getByTestId("new-lines").click();
    await sees(page, `flood${tag} 300 of 300`);
  });

  test.each(["dark", "light"] as const)("on a phone the search makes room for the line (%s)", async (theme) => {
    const page = await watch({ theme, width: 360, height: 740, touch: true });
    const tag = await flood(page, 1_500);
    await find(page, `flood${tag} 40 of`);
    expect(await axe(page)).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
    await page.getByTestId("show-in-console").click();
    await page.getByTestId("search").waitFor({ state: "detached" });
    await sees(page, `flood${tag} 40 of`);
    await marks(page, `flood${tag} 40 of`);
    expect(consecutive(await shown(page, tag))).toBe(true);
    await page.getByTestId("new-lines").click();
    await sees(page, `flood${tag} 1500 of 1500`);
  });

  test("what is too far up stays in the search, and the button says so", async () => {
    const page = await watch();
    const word = `buoy${Date.now().toString(36)}`;
    await type(page, `say ${word}`);
    await sees(page, `[Server] ${word}`);
    await type(page, "gap 30000");
    await sees(page, "the log goes on here");
    await find(page, word);
    const button = page.getByTestId("show-in-console");
    expect(await button.isDisabled()).toBe(true);
    expect(await button.getAttribute("title")).toContain("Too far back");
    await page.getByTestId("context").getByText(word).first().waitFor();
  });
});
