// What graphs and figures tell: the limit that was set, and a time axis as long as it says. With the mock.
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { IS_MOCK, launch, openServer, signIn, visit, type Visit } from "./browser";

const NAME = "Survival north";
let browser: Browser;
let seen: Visit;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());
afterEach(async () => {
  expect(seen.faults).toEqual([]);
  await seen.context.close();
});

describe.runIf(IS_MOCK)("with the mock", () => {
  test("the limit of memory is the one that was set, not the kernel's; without one there is none", async () => {
    seen = await visit(browser);
    const { page } = seen;
    await signIn(page);
    await openServer(page, NAME);
    const figures = page.locator("header dl");
    await figures.getByText("of 1.0 GiB").waitFor();
    await page.getByRole("link", { name: "Graphs" }).click();
    const graphs = page.getByTestId("graphs");
    await graphs.getByText("limit 1.0 GiB").waitFor();
    await page.getByRole("link", { name: "Settings" }).click();
    const memory = page.getByLabel("Memory in MiB");
    const save = page.locator("form").filter({ has: memory }).getByRole("button", { name: "Save" });
    await memory.fill("");
    await save.click();
    await figures.getByText(/ of /).waitFor({ state: "detached" });
    await page.getByRole("link", { name: "Graphs" }).click();
    await graphs.locator("figure").first().waitFor();
    expect(await graphs.getByText("limit").count()).toBe(0);
    await page.getByRole("link", { name: "Settings" }).click();
    await memory.fill("1024");
    await save.click();
    await figures.getByText("of 1.0 GiB").waitFor();
  });
});
