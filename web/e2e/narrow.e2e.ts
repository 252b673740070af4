// A console that becomes narrower and wider again shows every line whole, also the newest, and a held view stays where it is. With the mock.
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { IS_MOCK, launch, openServer, reaches, rows, sees, signIn, type, visit, type Visit } from "./browser";

const NAME = "Survival north";
let tags = 0;
/** A text longer than the widest window, each part and each text another. */
const long = () => `${Date.now().toString(36)}${tags++}_${Array.from({ length: 60 }, (_, at) => `w${String(at).padStart(2, "0")}`).join("_")}`;
let browser: Browser;
let seen: Visit;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());
afterEach(async () => {
  // Other tests wait for somebody to say something.
  await type(seen.page, "chat");
  await sees(seen.page, "› chat");
  expect(seen.faults).toEqual([]);
  await seen.context.close();
});

/** All rows as one text, once that has what is looked for: a change of size is drawn a frame or two later. */
async function whole(page: Page, wanted: string): Promise<void> {
  await expect.poll(async () => (await rows(page)).map((row) => row.trimEnd()).join(""), { timeout: 10_000 }).toContain(wanted);
}

/** Columns are known by how wide the longest row is. */
async function widest(page: Page): Promise<number> {
  return Math.max(...(await rows(page)).map((row) => row.trimEnd().length));
}

describe.runIf(IS_MOCK)("with the mock", () => {
  test.each([true, false])("the newest line of a quiet game is whole at any width (touch: %s)", async (touch) => {
    seen = await visit(browser, { width: 1280, height: 800, touch });
    const { page } = seen;
    await signIn(page);
    await openServer(page, NAME);
    await page.getByTestId("state").getByText("running").waitFor();
    await type(page, "hush");
    await sees(page, "› hush");
    const text = long();
    const tag = text.slice(0, text.indexOf("_"));
    await type(page, `say ${text}`);
    await sees(page, `[Server] ${tag}`);
    await whole(page, `[Server] ${text}`);
    const wide = await widest(page);
    for (const width of [700, 360, 900, 1280]) {
      await page.setViewportSize({ width, height: 740 });
      await expect.poll(async () => (await widest(page)) < wide, { timeout: 10_000 }).toBe(width < 1280);
      await whole(page, `[Server] ${text}`);
      // Once, and its command once.
      expect((await rows(page)).map((row) => row.trimEnd()).join("").split(text)).toHaveLength(3);
    }
    await page.getByTestId("search-toggle").click();
    await page.getByTestId("search").waitFor();
    await expect.poll(async () => (await widest(page)) < wide, { timeout: 10_000 }).toBe(true);
    await whole(page, `[Server] ${text}`);
    await page.getByRole("button", { name: "Close" }).click();
    await whole(page, `[Server] ${text}`);
  });

  test("a held view stays at its line when the width changes", async () => {
    seen = await visit(browser, { width: 1280, height: 800 });
    const { page } = seen;
    await signIn(page);
    await openServer(page, NAME);
    await page.getByTestId("state").getByText("running").waitFor();
    const tag = `-held${Date.now().toString(36)}`;
    await type(page, `flood 500 1 ${tag}`);
    await reaches(page, new RegExp(`flood${tag} (\\d+) of`), 500);
    await page.getByTestId("console").focus();
    await page.keyboard.press("PageUp");
    await page.getByTestId("new-lines").waitFor();
    const top = async () => (await rows(page)).map((row) => /^flood\S+ \d+ of/.exec(row)?.[0]).find((row) => row !== undefined);
    const before = await top();
    const wide = await widest(page);
    for (const width of [360, 1280]) {
      await page.setViewportSize({ width, height: 800 });
      if (width === 360) await expect.poll(() => widest(page), { timeout: 10_000 }).toBeLessThan(wide);
      else await expect.poll(() => widest(page), { timeout: 10_000 }).toBe(wide);
      await expect.poll(top, { timeout: 10_000 }).toBe(before);
      await page.getByTestId("new-lines").waitFor();
    }
  });
});
