// The settings of a server: what is saved is what changed, what counts when, suspending, deleting, and who sees them. With the mock.
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { axe } from "./axe";
import { BASE, IS_MOCK, launch, openServer, signIn, trouble, visit, type Visit } from "./browser";

let browser: Browser;
let seen: Visit;
let names = 0;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());
afterEach(async () => {
  await trouble({ suspended: "", guest: false });
  expect(seen.faults).toEqual([]);
  await seen.context.close();
});

/** A server of the test's own, at its settings. */
async function settings(look = {}): Promise<{ page: Page; name: string }> {
  const name = `Settings ${++names}`;
  seen = await visit(browser, look);
  const { page } = seen;
  await signIn(page);
  await page.getByRole("button", { name: "New server" }).click();
  await page.getByLabel("Name", { exact: true }).fill(name);
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("heading", { level: 1, name }).waitFor();
  await page.getByTestId("state").getByText("running").waitFor();
  await page.getByRole("link", { name: "Settings", exact: true }).click();
  await page.getByTestId("settings-details").waitFor();
  return { page, name };
}

/** What the page sends when a part is saved. */
async function saved(page: Page, part: string): Promise<unknown> {
  const form = page.getByTestId(`settings-${part}`);
  const [request] = await Promise.all([page.waitForRequest((one) => one.method() === "PATCH" && one.url().endsWith(`/${part}`)), form.getByRole("button", { name: "Save" }).click()]);
  await form.getByRole("status").waitFor();
  return request.postDataJSON();
}

describe.runIf(IS_MOCK)("with the mock", () => {
  test("what changed is sent, part by part, and each part says when it counts", async () => {
    const { page, name } = await settings();
    const details = page.getByTestId("settings-details");
    const startup = page.getByTestId("settings-startup");
    expect(await details.getByRole("button", { name: "Save" }).isDisabled()).toBe(true);
    await details.getByLabel("Description").fill("for tests");
    await startup.getByLabel("Command line").fill("java -Xmx2G -jar server.jar");
    expect(await saved(page, "details")).toEqual({ description: "for tests" });
    // What is being typed in another part stays.
    expect(await startup.getByLabel("Command line").inputValue()).toBe("java -Xmx2G -jar server.jar");
    await startup.getByLabel("Ready texts").fill("ready\n\nDone (");
    await startup.getByLabel("Stop command").fill("^SIGTERM");
    await startup.getByLabel("Grace in seconds").fill("2.5");
    await startup.getByText("Counts from the next start; a server that runs goes on as it was started.").waitFor();
    expect(await saved(page, "startup")).toEqual({ command: "java -Xmx2G -jar server.jar", ready: ["ready", "Done ("], stop: "^SIGTERM", grace_ms: 2500 });
    await startup.getByText("Saved. It counts from the next start.").waitFor();
    await page.getByLabel("Memory in MiB").fill("2048");
    await page.getByLabel("CPU in percent").fill("150");
    await page.getByLabel("Processes and threads").fill("64");
    expect(await saved(page, "build")).toEqual({ memory: 2048, cpu: 150, pids: 64 });
    await details.getByLabel("Name", { exact: true }).fill(`${name} anew`);
    expect(await saved(page, "details")).toEqual({ name: `${name} anew` });
    await page.getByRole("heading", { level: 1, name: `${name} anew` }).waitFor();
    await page.reload();
    await details.waitFor();
    expect(await startup.getByLabel("Ready texts").inputValue()).toBe("ready\nDone (");
    expect(await page.getByLabel("Memory in MiB").inputValue()).toBe("2048");
  });

  test("a name that exists is asked about, and what the panel refuses is said", async () => {
    const { page } = await settings();
    const details = page.getByTestId("settings-details");
    await details.getByLabel("Name", { exact: true }).fill("Lobby");
    await details.getByRole("button", { name: "Save" }).click();
    await page.getByTestId("same-name").waitFor();
    await details.getByLabel("Name", { exact: true }).fill(`Settings ${++names}`);
    await details.getByRole("button", { name: "Save", exact: true }).click();
    await details.getByText("Saved.").waitFor();
    const startup = page.getByTestId("settings-startup");
    await startup.getByLabel("Ready texts").fill("regex:Done (");
    await startup.getByRole("button", { name: "Save" }).click();
    await startup.getByRole("alert").getByText("no regular expression").waitFor();
    expect(await startup.getByLabel("Ready texts").inputValue()).toBe("regex:Done (");
  });

  test("a server is suspended and allowed again", async () => {
    const { page } = await settings();
    await page.getByTestId("suspend").click();
    await page.getByTestId("suspend").getByText("Sure?").waitFor();
    await page.getByTestId("suspend").click();
    await page.getByTestId("suspended").waitFor();
    expect(await page.getByTestId("state").textContent()).toBe("suspended");
    await page.getByTestId("suspend").getByText("Allow it again").waitFor();
    await page.getByTestId("suspend").click();
    await page.getByTestId("suspended").waitFor({ state: "detached" });
    await page.getByTestId("state").getByText("offline").waitFor();
    await page.getByTestId("power-start").click();
    await page.getByTestId("state").getByText("running").waitFor();
  });

  test("deleting asks for the name, by keyboard too, and leads to the list", async () => {
    const { page, name } = await settings();
    await page.getByTestId("delete").focus();
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog");
    const last = dialog.getByRole("button", { name: "Delete for good" });
    await dialog.getByLabel(`Type its name, ${name}, to confirm`).fill(name.toLowerCase());
    expect(await last.isDisabled()).toBe(true);
    expect(await axe(page)).toEqual([]);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    await page.getByTestId("delete").click();
    await dialog.getByLabel(`Type its name, ${name}, to confirm`).fill(name);
    await page.keyboard.press("Enter");
    await page.getByTestId("server").first().waitFor();
    expect(new URL(page.url()).pathname).toBe("/");
    expect(await page.getByTestId("server").filter({ hasText: name }).count()).toBe(0);
  });

  test.each(["dark", "light"] as const)("axe finds nothing serious, and it fits on a phone (%s)", async (theme) => {
    const { page } = await settings({ theme, width: 360, height: 740, touch: true });
    expect(await axe(page)).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
  });

  test("others have no such tab, and its address says why", async () => {
    seen = await visit(browser);
    const { page } = seen;
    await trouble({ guest: true });
    await signIn(page);
    await openServer(page, "Lobby");
    expect(await page.getByRole("link", { name: "Settings" }).count()).toBe(0);
    await page.goto(`${BASE}${new URL(page.url()).pathname}/settings`);
    await page.getByTestId("lacks").getByText("Only administrators can see this page.").waitFor();
  });
});
