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

  test.each([360, 1280])("the time axis is as long as the range, with three labels or more (%s px)", async (width) => {
    seen = await visit(browser, { width, height: 800 });
    const { page } = seen;
    await signIn(page);
    await openServer(page, NAME);
    await page.getByRole("link", { name: "Graphs" }).click();
    const axes = () => page.locator("[data-times]").evaluateAll((graphs) => graphs.map((graph) => (graph as HTMLElement).dataset.times ?? ""));
    const minutes = (label: string) => Number(label.slice(0, 2)) * 60 + Number(label.slice(3, 5));
    /** From the first label to the last, across midnight as well. */
    const reach = (labels: string[]) => labels.slice(1).reduce((sum, label, at) => sum + ((minutes(label) - minutes(labels[at] as string) + 1_440) % 1_440), 0);
    for (const [range, least, most] of [["Last hour", 30, 60], ["Last day", 720, 1_440]] as const) {
      await page.getByRole("button", { name: range }).click();
      await expect.poll(async () => reach((await axes())[0]?.split(" ") ?? []), { timeout: 10_000 }).toSatisfy((far: number) => far >= least && far <= most);
      const shown = await axes();
      expect(shown).toHaveLength(4);
      // One axis for all of them.
      expect(new Set(shown).size).toBe(1);
      expect(shown[0]?.split(" ").length).toBeGreaterThanOrEqual(3);
    }
  });
});
