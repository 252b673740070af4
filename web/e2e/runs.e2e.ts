// Crashes and runs as a page tells them, whom a sign-in link is offered for, and the code of the second factor. With the mock.
import { readFileSync } from "node:fs";
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { axe } from "./axe";
import { IS_MOCK, launch, openServer, signIn, type, visit, type Visit } from "./browser";

const NAME = "Lobby";
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
  test("a crash after which nobody starts it says so, also to whoever comes later; its run can be read", async () => {
    seen = await visit(browser, { width: 360, height: 740 });
    const { page } = seen;
    await signIn(page);
    await openServer(page, NAME);
    await page.locator('[data-link="live"]').waitFor();
    await type(page, "crash 6");
    const card = page.getByTestId("crash");
    const told = async () => {
      await card.getByText("exit code 3", { exact: true }).waitFor();
      await card.getByText("It stays down until somebody starts it.", { exact: true }).waitFor();
      await card.getByTestId("crash-note").getByText("The server is crash-looping: 6 failures in a row, none of which ran for 1 min. Given up.").waitFor();
      // Each thing once, and no label broken into lines.
      expect((await card.getByTestId("crash-note").textContent())?.trim()).toBe("The server is crash-looping: 6 failures in a row, none of which ran for 1 min. Given up.");
      expect(await card.locator("dt").evaluateAll((labels) => labels.every((label) => label.getClientRects().length === 1 && label.clientHeight < 30))).toBe(true);
      await card.getByText("Last lines").click();
      await card.locator("pre").getByText("the anchor is not attached").waitFor();
    };
    await told();
    await page.reload();
    await told();
    await page.getByRole("link", { name: "Activity" }).click();
    const runs = page.getByTestId("run");
    await runs.first().getByText("crashed").waitFor();
    await runs.last().getByText("began before what is kept").waitFor();
    await runs.first().getByRole("button", { name: "Last lines" }).click();
    const record = runs.first().getByTestId("crash-record");
    expect(await record.textContent()).toMatch(/^Crash 2 in a row\. It used 12 % of a core and 858 MiB of 1\.0 GiB\. Last done by somebody: typed a command, /);
    const last = runs.first().locator("pre");
    // Of this run only, whatever the record has; the end is what is seen, and its long line scrolls inside.
    expect(await last.textContent()).toMatch(/^\[Quarterdeck Daemon\] Starting\.\n[^]*the anchor is not attached[^]*cargo: abcdefghij/);
    const { top, left, room } = await last.evaluate((pre) => ({ top: pre.scrollHeight - pre.clientHeight - pre.scrollTop, left: pre.scrollLeft, room: pre.scrollWidth - pre.clientWidth }));
    expect(Math.abs(top)).toBeLessThan(2);
    expect(left).toBe(0);
    expect(room).toBeGreaterThan(1_000);
    expect(await page.getByTestId("run").first().evaluate((run) => run.scrollWidth <= run.clientWidth && run.closest(".scroll")?.scrollWidth === run.closest(".scroll")?.clientWidth)).toBe(true);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
    expect(await axe(page)).toEqual([]);
    const [download] = await Promise.all([page.waitForEvent("download"), runs.first().getByRole("button", { name: /^Download all lines of the run/ }).click()]);
    const text = readFileSync(await download.path(), "utf8").trimEnd().split("\n");
    expect(text[0]).toMatch(/Z \[Quarterdeck Daemon\] Starting\.$/);
    expect(text.some((line) => line.endsWith("› crash 6"))).toBe(true);
    expect(text.at(-1)).toContain("at quay.Harbour.tick");
    await page.getByTestId("power-start").click();
    await page.getByTestId("state").getByText("running").waitFor();
    expect(await card.count()).toBe(0);
  });

  test("a sign-in link is offered with an account that is new, not with one that was there", async () => {
    seen = await visit(browser);
    const { page } = seen;
    await signIn(page);
    await openServer(page, NAME);
    await page.getByRole("link", { name: "People" }).click();
    const invited = page.getByTestId("invited");
    for (const [name, offered] of [["fresh", 1], ["oldhand", 0]] as const) {
      await page.getByLabel("E-mail").fill(`${name}@example.com`);
      await page.getByRole("button", { name: "Share" }).click();
      await invited.getByText(name).first().waitFor();
      expect(await invited.getByRole("button", { name: `Make a sign-in link for ${name}` }).count()).toBe(offered);
      // Somebody who has lost the way in is helped beside the name.
      await page.getByRole("button", { name: `Make a sign-in link for ${name}` }).waitFor();
      await page.getByTestId("person").filter({ hasText: name }).getByRole("button", { name: "Remove" }).click();
      await page.getByRole("button", { name: `Remove ${name}?` }).click();
      await invited.waitFor({ state: "detached" });
    }
  });

  test.each(["dark", "light"] as const)("the second factor's secret is a code to scan as well, dark on light (%s)", async (theme) => {
    seen = await visit(browser, { theme, width: 360, height: 740 });
    const { page } = seen;
    await signIn(page, "/account");
    await page.getByRole("link", { name: "Account" }).click();
    await page.getByRole("button", { name: "Set up" }).click();
    const code = page.getByRole("img", { name: "QR code with the secret" });
    await code.waitFor();
    const fills = await code.locator("path").evaluateAll((paths) => paths.map((path) => getComputedStyle(path).fill));
    expect(fills).toEqual(["rgb(255, 255, 255)", "rgb(0, 0, 0)"]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
    expect(await axe(page)).toEqual([]);
  });
});
