// What a page says when something is not as usual: stopped, blocked, taken away, unreachable, not allowed, not there. With the mock.
import { readFileSync } from "node:fs";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { BASE, frames, IS_MOCK, launch, openServer, sees, signIn, trouble, type, visit, type Visit } from "./browser";

const NAME = "Survival north";
let browser: Browser;
let seen: Visit;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());
afterEach(async () => {
  await trouble({ suspended: "", gone: "", rights: null, guest: false, refused: false });
  expect(seen.faults).toEqual([]);
  await seen.context.close();
});

async function watch(look = {}, name = NAME): Promise<Page> {
  seen = await visit(browser, look);
  await signIn(seen.page);
  await openServer(seen.page, name);
  await seen.page.locator('[data-link="live"]').waitFor();
  return seen.page;
}

describe.runIf(IS_MOCK)("with the mock", () => {
  test("a normal stop is no crash, on the page, in the list and on the wall", async () => {
    const page = await watch();
    await page.getByTestId("power-stop").click();
    await page.getByTestId("state").getByText("offline").waitFor();
    expect(await page.getByTestId("crash").count()).toBe(0);
    await page.goto(`${BASE}/`);
    await page.getByTestId("server").filter({ hasText: NAME }).getByTestId("state").getByText("offline").waitFor();
    await page.goto(`${BASE}/wall`);
    await page.getByTestId("pane").filter({ hasText: NAME }).getByTestId("state").getByText("offline").waitFor();
    await page.getByRole("link", { name: NAME }).click();
    await page.getByTestId("power-start").click();
    await page.getByTestId("state").getByText("running").waitFor();
  });

  test("a crash says when it was, also to whoever comes later; typed commands keep their mark", async () => {
    const page = await watch();
    await type(page, "crash");
    const card = page.getByTestId("crash");
    await card.waitFor();
    const when = /\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/;
    const first = when.exec((await card.textContent()) ?? "")?.[0];
    expect(first).toBeDefined();
    // The countdown has moved on, and with it the clock that a later visitor might be shown.
    await card.getByText(/started again in [1-5] s/).waitFor();
    await page.reload();
    await card.waitFor();
    expect(when.exec((await card.textContent()) ?? "")?.[0]).toBe(first);
    await card.locator("pre").filter({ hasText: "› crash" }).waitFor({ state: "attached" });
    await card.getByRole("button", { name: "Dismiss" }).click();
    await page.getByTestId("state").getByText("crashed").waitFor();
    await page.getByTestId("power-start").click();
    await page.getByTestId("state").getByText("running").waitFor();
  });

  test("rights are shown one by one where a group is only partly given, and can be taken", async () => {
    const page = await watch();
    await page.getByRole("link", { name: "People" }).click();
    await page.getByLabel("E-mail").fill("part@example.com");
    await page.getByLabel("start, stop and restart").check();
    await page.getByRole("button", { name: "Share" }).click();
    const person = page.getByTestId("person").filter({ hasText: "part@" });
    await person.getByRole("button", { name: "Change" }).click();
    const group = person.getByLabel("start, stop and restart");
    await group.uncheck();
    await person.getByRole("button", { name: "Cancel" }).click();
    // A part as another program may have given it.
    const uuid = await page.evaluate(async (address) => {
      const list = (await (await fetch(address)).json()) as { data: { attributes: { uuid: string; email: string } }[] };
      const one = list.data.find((item) => item.attributes.email === "part@example.com")?.attributes.uuid ?? "";
      const session = (await (await fetch("/api/auth/session")).json()) as { attributes: { csrf: string } };
      await fetch(`${address}/${one}`, { method: "POST", headers: { "Content-Type": "application/json", "X-CSRF-Token": session.attributes.csrf }, body: JSON.stringify({ permissions: ["control.console", "control.start", "backup.read"] }) });
      return one;
    }, `/api/client/servers/${page.url().split("/")[4] ?? ""}/users`);
    expect(uuid).not.toBe("");
    await page.reload();
    await person.getByText("start, stop and restart: only control.start").waitFor();
    await person.getByText("backup.read").waitFor();
    await person.getByRole("button", { name: "Change" }).click();
    expect(await group.evaluate((box) => (box as HTMLInputElement).indeterminate)).toBe(true);
    await person.getByLabel("control.start").uncheck();
    await person.getByLabel("backup.read").uncheck();
    await person.getByRole("button", { name: "Save" }).click();
    await person.getByRole("button", { name: "Save" }).waitFor({ state: "detached" });
    expect(await person.getByText("only control.start").count()).toBe(0);
    expect(await person.getByText("backup.read").count()).toBe(0);
    await person.getByRole("button", { name: "Remove" }).click();
    await person.getByRole("button", { name: "Remove part?" }).click();
    await person.waitFor({ state: "detached" });
  });

  test("who shares is given a sign-in link, or is told who can make one", async () => {
    const page = await watch();
    const share = async (name: string) => {
      await page.getByRole("link", { name: "People" }).click();
      await page.getByLabel("E-mail").fill(`${name}@example.com`);
      await page.getByRole("button", { name: "Share" }).click();
    };
    await share("newbie");
    const invited = page.getByTestId("invited");
    await invited.getByRole("button", { name: "Make a sign-in link" }).click();
    await invited.getByText("/link#welcome").waitFor();
    await page.getByTestId("person").filter({ hasText: "edda" }).getByRole("button", { name: "Make a sign-in link for edda" }).waitFor();
    await trouble({ guest: true });
    await page.reload();
    await share("second");
    await invited.getByText("quarterdeck user link second").waitFor();
    expect(await page.getByRole("button", { name: /sign-in link/ }).count()).toBe(0);
  });

  test("the downloaded log has times and marks; plain text has marks", async () => {
    const page = await watch();
    await type(page, "progress");
    await sees(page, "Loading world 100 %");
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download the newest 5,000 lines" }).click()]);
    expect(download.suggestedFilename()).toBe(`${NAME}.log`);
    const text = readFileSync(await download.path(), "utf8");
    expect(text).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z › progress$/m);
    expect(text).toMatch(/Z Loading world 100 %$/m);
    expect(text).not.toContain("Loading world 10 %");
    expect(text).toMatch(/Z \[Quarterdeck Daemon\] Starting\.$/m);
    await page.getByTestId("as-text").click();
    expect(await page.locator("dialog pre").textContent()).toContain("› progress");
  });

  test("a suspended server says so and is left alone", async () => {
    seen = await visit(browser);
    const { page } = seen;
    await page.clock.install();
    await signIn(page);
    await openServer(page, NAME);
    let asked = 0;
    page.on("request", (request) => void (request.url().endsWith("/websocket") && asked++));
    await trouble({ suspended: NAME, cut: true });
    await page.getByTestId("suspended").waitFor();
    expect(await page.getByTestId("state").textContent()).toBe("suspended");
    expect(await page.getByTestId("link").textContent()).toContain("Suspended");
    const soFar = asked;
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await page.clock.fastForward(50_000);
    await frames(page);
    expect(asked).toBe(soFar);
    // It is asked again after a minute: an administrator may have allowed it again.
    const again = page.waitForRequest((request) => request.url().endsWith("/websocket"));
    await page.clock.fastForward(15_000);
    await again;
    await page.goto(`${BASE}/wall`);
    await page.getByTestId("pane").filter({ hasText: NAME }).getByTestId("state").getByText("suspended").waitFor();
  });

  test("access that was taken away is said, and nothing old stays", async () => {
    const page = await watch();
    await page.locator("dl dd").filter({ hasText: "MiB" }).first().waitFor();
    await trouble({ gone: NAME, cut: true });
    await page.getByTestId("gone").getByText("You no longer have access to this server, or it was deleted.").waitFor();
    expect(await page.getByTestId("state").textContent()).toBe("unknown");
    expect(await page.locator("header dl dd").allTextContents()).toEqual(["–", "–", "–"]);
  });

  test("without a connection, state and figures are the last known", async () => {
    const page = await watch();
    await trouble({ refused: true, cut: true });
    await page.getByText("last known: running").waitFor();
    expect(await page.locator("dl.stale").count()).toBe(1);
    await trouble({ refused: false });
    await page.locator('[data-link="live"]').waitFor({ timeout: 20_000 });
    expect(await page.getByText("last known").count()).toBe(0);
    await page.goto(`${BASE}/`);
    const row = page.getByTestId("server").filter({ hasText: NAME });
    await row.getByTestId("state").getByText("running").waitFor();
    await page.route("**/resources", (route) => route.abort());
    await row.getByTestId("state").getByText("last known: running").waitFor();
  });

  test("an empty list says to others that nothing is shared", async () => {
    await trouble({ guest: true });
    seen = await visit(browser);
    const { page } = seen;
    await page.route("**/api/client?*", (route) => route.fulfill({ json: { object: "list", data: [] } }));
    await signIn(page);
    await page.getByText("No server is shared with you yet.").waitFor();
  });

  test("a page without the right for it names the right; an address of nothing says so", async () => {
    await trouble({ rights: ["websocket.connect"] });
    const page = await watch();
    const here = page.url();
    await page.goto(`${here}/people`);
    await page.getByTestId("lacks").getByText("user.read").waitFor();
    await page.goto(`${here}/activity`);
    await page.getByTestId("lacks").getByText("activity.read").waitFor();
    await page.goto(`${BASE}/nosuchpage`);
    await page.getByRole("heading", { name: "There is no such page" }).waitFor();
    await page.getByRole("link", { name: "All servers" }).click();
    await page.getByTestId("server").first().waitFor();
  });

  test("a name that exists is asked about; a command has its own fields", async () => {
    seen = await visit(browser);
    const { page } = seen;
    await signIn(page);
    await page.getByRole("button", { name: "New server" }).click();
    await page.getByLabel("Name", { exact: true }).fill("Lobby");
    await page.getByText("a command", { exact: true }).click();
    expect(await page.getByText("the template's own limit").count()).toBe(0);
    await page.getByLabel("Command line").fill("cat -n");
    await page.getByLabel("Ready text").fill("ready");
    await page.getByLabel("Stop command").fill("^C");
    await page.getByRole("button", { name: "Create" }).click();
    await page.getByTestId("same-name").getByText("There is already a server named Lobby").waitFor();
    await page.getByLabel("Name", { exact: true }).fill("Second one");
    const [request] = await Promise.all([
      page.waitForRequest((one) => one.method() === "POST" && one.url().endsWith("/api/application/servers")),
      page.getByRole("button", { name: "Create" }).click(),
    ]);
    expect(request.postDataJSON()).toMatchObject({ name: "Second one", command: "cat -n", ready: ["ready"], stop: "^C" });
    await page.getByRole("heading", { name: "Second one" }).waitFor();
  });

  test("on a phone the people of the activity table can be read", async () => {
    const page = await watch({ width: 390, height: 800, touch: true });
    await page.evaluate(async (address) => {
      const session = (await (await fetch("/api/auth/session")).json()) as { attributes: { csrf: string } };
      await fetch(address, { method: "POST", headers: { "Content-Type": "application/json", "X-CSRF-Token": session.attributes.csrf }, body: JSON.stringify({ command: "say a rather long command that takes all the room there is" }) });
    }, `/api/client/servers/${page.url().split("/")[4] ?? ""}/command`);
    await page.getByRole("link", { name: "Activity" }).click();
    const who = page.locator("td.who").first();
    await who.waitFor();
    expect((await who.boundingBox())?.width).toBeGreaterThan(80);
    expect((await who.boundingBox())?.height).toBeLessThan(160);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  });

  test("what was not sent is said for a while, until the connection is back; Escape closes the wall's menu", async () => {
    const page = await watch();
    await trouble({ refused: true, cut: true });
    await page.locator('[data-link="waiting"]').first().waitFor();
    await type(page, "list");
    const answer = page.getByTestId("answer");
    await answer.getByText("not connected").waitFor();
    await answer.waitFor({ state: "detached", timeout: 8_000 });
    await page.keyboard.press("Enter");
    await answer.waitFor();
    await trouble({ refused: false });
    await page.getByRole("button", { name: "Reconnect now" }).click();
    await page.locator('[data-link="live"]').waitFor();
    await answer.waitFor({ state: "detached", timeout: 1_000 });
    await page.goto(`${BASE}/wall`);
    await page.locator("summary").click();
    await page.locator("details[open]").waitFor();
    await page.keyboard.press("Escape");
    await page.locator("details:not([open])").waitFor();
  });
});
