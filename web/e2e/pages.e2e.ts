// All other pages in a real browser: sign-in, list, sharing, account, wall; by keyboard, on a phone, and under axe.
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { axe } from "./axe";
import { BASE, IS_MOCK, launch, openServer, PASSWORD, rows, sees, settled, signIn, USER, visit, type Visit } from "./browser";

const NAME = process.env.QUARTERDECK_SERVER ?? "Demo harbour";
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

test("a wrong password is refused in words, the right one opens the list", async () => {
  seen = await visit(browser);
  const { page } = seen;
  await page.goto(BASE);
  await page.getByLabel("E-mail or user name").fill(USER);
  await page.getByLabel("Password").fill("not the password");
  await page.getByRole("button", { name: "Sign in" }).click();
  expect(await page.getByRole("alert").textContent()).toContain("wrong");
  await page.getByLabel("Password").fill(PASSWORD);
  await page.keyboard.press("Enter");
  await page.getByTestId("server").first().waitFor();
});

test("signing out leads to sign-in, also with an old address", async () => {
  seen = await visit(browser);
  const { page } = seen;
  await signIn(page);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Password").waitFor();
  await page.goto(`${BASE}/account`);
  await page.getByLabel("Password").waitFor();
});

test("the first page loads nothing from elsewhere and obeys the policy", async () => {
  seen = await visit(browser);
  const { page } = seen;
  const elsewhere: string[] = [];
  page.on("request", (request) => {
    if (!request.url().startsWith(BASE)) elsewhere.push(request.url());
  });
  const response = await page.goto(BASE);
  const policy = (await response?.allHeaders())?.["content-security-policy"] ?? "";
  expect(policy).toContain("script-src 'self'");
  expect(policy).not.toContain("unsafe-inline");
  await page.getByLabel("Password").waitFor();
  expect(elsewhere).toEqual([]);
  expect((await page.request.get(`${BASE}/assets/none.js`)).status()).toBe(404);
});

test("by keyboard alone: sign in, open a server, type a command", async () => {
  seen = await visit(browser);
  const { page } = seen;
  await page.goto(BASE);
  await page.getByLabel("E-mail or user name").focus();
  await page.keyboard.type(USER);
  await page.keyboard.press("Tab");
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press("Enter");
  const link = page.getByTestId("server").filter({ hasText: NAME }).getByRole("link");
  await link.waitFor();
  for (let presses = 0; presses < 40 && !(await link.evaluate((element) => element === document.activeElement)); presses++) await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.locator('[data-testid="console"][data-painted="true"]').waitFor();
  const input = page.getByTestId("command");
  for (let presses = 0; presses < 40 && !(await input.evaluate((element) => element === document.activeElement)); presses++) await page.keyboard.press("Tab");
  await page.keyboard.type("help");
  await page.keyboard.press("Enter");
  await sees(page, "› help");
  // Tab leads out of the console again.
  await page.keyboard.press("Tab");
  expect(await input.evaluate((element) => element === document.activeElement)).toBe(false);
});

test("on a phone of 360 px: nothing is wider than the page, a finger scrolls and holds", async () => {
  seen = await visit(browser, { width: 360, height: 740, touch: true });
  const { page } = seen;
  await signIn(page);
  const fits = async () => expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
  await page.getByTestId("server").first().waitFor();
  await fits();
  await openServer(page, NAME);
  await fits();
  const before = await rows(page);
  const box = await page.getByTestId("console").boundingBox();
  if (!box) throw new Error("no console");
  const client = await page.context().newCDPSession(page);
  const x = box.x + 100;
  await client.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: [{ x, y: box.y + 60 }] });
  for (let step = 1; step <= 8; step++) await client.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: [{ x, y: box.y + 60 + step * 25 }] });
  await client.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  await page.getByTestId("new-lines").waitFor();
  expect(await rows(page)).not.toEqual(before);
  for (const where of ["wall", "account"]) {
    await page.goto(`${BASE}/${where}`);
    await page.getByRole("heading", { level: 1 }).waitFor();
    await fits();
  }
});

describe.each(["dark", "light"] as const)("axe, %s", (theme) => {
  test("finds nothing serious on any page", async () => {
    seen = await visit(browser, { theme });
    const { page } = seen;
    await page.goto(BASE);
    await page.getByLabel("Password").waitFor();
    expect(await axe(page), "sign-in").toEqual([]);
    await signIn(page);
    await page.getByTestId("server").filter({ hasText: NAME }).getByTestId("state").getByText("running").waitFor();
    await settled(page);
    expect(await axe(page), "servers").toEqual([]);
    await openServer(page, NAME);
    await page.getByTestId("search-toggle").click();
    await page.getByTestId("search").waitFor();
    await settled(page);
    expect(await axe(page), "console").toEqual([]);
    const parts = { Graphs: page.getByTestId("graphs").locator("canvas").first(), People: page.getByLabel("E-mail"), Activity: page.locator("td.who").first().or(page.getByText("Nothing yet.")) };
    for (const [tab, shown] of Object.entries(parts)) {
      await page.getByRole("link", { name: tab }).click();
      await shown.waitFor();
      await settled(page);
      expect(await axe(page), tab).toEqual([]);
    }
    const others = { wall: page.locator('[data-testid="pane"] [data-painted="true"]').first(), account: page.getByRole("heading", { name: "API keys" }) };
    for (const [where, shown] of Object.entries(others)) {
      await page.goto(`${BASE}/${where}`);
      await shown.waitFor();
      await settled(page);
      expect(await axe(page), where).toEqual([]);
    }
  });
});

describe.runIf(IS_MOCK)("with the mock", () => {
  test("a one-time link signs in and asks for a password", async () => {
    seen = await visit(browser);
    const { page } = seen;
    await page.goto(`${BASE}/link#welcome`);
    await page.getByLabel("New password", { exact: true }).fill(PASSWORD);
    expect(page.url()).not.toContain("welcome");
    await page.getByLabel("New password, again").fill("another one");
    await page.getByRole("button", { name: "Set password" }).click();
    expect(await page.getByRole("alert").textContent()).toContain("differ");
    await page.getByLabel("New password, again").fill(PASSWORD);
    await page.getByRole("button", { name: "Set password" }).click();
    await page.getByTestId("server").first().waitFor();
    await page.context().clearCookies();
    await page.goto(`${BASE}/link#used`);
    expect(await page.getByRole("alert").textContent()).toContain("does not work");
  });

  test("creating a server leads to its console", async () => {
    seen = await visit(browser);
    const { page } = seen;
    await signIn(page);
    await page.getByRole("button", { name: "New server" }).click();
    await page.getByLabel("Name").fill("Brand new");
    await page.getByRole("button", { name: "Create" }).click();
    await page.getByRole("heading", { name: "Brand new" }).waitFor();
    await sees(page, "Done (1.200s)!");
  });

  test("power from the list", async () => {
    seen = await visit(browser);
    const { page } = seen;
    await signIn(page);
    const row = page.getByTestId("server").filter({ hasText: "Creative flats" });
    await row.getByRole("button", { name: "Start" }).click();
    // Not in its last line, which may say "Running" as well.
    await row.getByTestId("state").getByText(/starting|running/).waitFor();
    await row.getByTestId("state").getByText("running").waitFor();
    await page.getByLabel("Search servers").fill("lobby");
    await row.waitFor({ state: "detached" });
    expect(await page.getByTestId("server").count()).toBe(1);
  });

  test("one command to all of the wall, with a result for each", async () => {
    seen = await visit(browser);
    const { page } = seen;
    await signIn(page, "/wall");
    await page.locator('[data-testid="pane"] [data-link="live"]').nth(3).waitFor();
    await page.getByTestId("broadcast").fill("say all hands");
    await page.keyboard.press("Enter");
    const results = page.getByTestId("results");
    await results.getByText("taken").first().waitFor();
    expect(await results.locator("li").count()).toBe(4);
    await sees(page, "[Server] all hands");
  });

  test("sharing in plain words, and activity", async () => {
    seen = await visit(browser);
    const { page } = seen;
    await signIn(page);
    await openServer(page, NAME);
    await page.getByRole("link", { name: "People" }).click();
    await page.getByLabel("E-mail").fill("nora@example.com");
    await page.getByLabel("type commands").check();
    await page.getByRole("button", { name: "Share" }).click();
    const person = page.getByTestId("person").filter({ hasText: "nora" });
    await person.getByText("type commands").waitFor();
    await person.getByRole("button", { name: "Remove" }).click();
    await person.getByRole("button", { name: "Remove nora?" }).click();
    await person.waitFor({ state: "detached" });
  });

  test("API keys are shown once, two-factor is asked for at sign-in", async () => {
    seen = await visit(browser);
    const { page } = seen;
    await signIn(page, "/account");
    await page.getByRole("link", { name: "Account" }).click();
    await page.getByLabel("What it is for").fill("test key");
    await page.getByRole("button", { name: "Create key" }).click();
    expect(await page.getByTestId("secret").locator("code").textContent()).toMatch(/^ptlc_\w{43}$/);
    await page.getByRole("button", { name: "Revoke test key" }).click();
    await page.getByRole("button", { name: "Revoke test key" }).click();
    await page.getByText("test key").waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Set up" }).click();
    await page.getByTestId("totp-secret").waitFor();
    await page.getByRole("textbox", { name: "Code" }).fill("123456");
    await page.getByLabel("Current password").last().fill(PASSWORD);
    await page.getByRole("button", { name: "Turn on" }).click();
    await page.getByText("Recovery codes").waitFor();
    await page.getByRole("button", { name: "Sign out everywhere" }).click();
    await page.getByLabel("E-mail or user name").fill(USER);
    await page.getByLabel("Password").fill(PASSWORD);
    await page.keyboard.press("Enter");
    await page.getByLabel("Code from your app").fill("123456");
    await page.keyboard.press("Enter");
    await page.getByRole("link", { name: "Account" }).click();
    await page.getByLabel("Current password").last().fill(PASSWORD);
    await page.getByRole("button", { name: "Turn off" }).click();
    await page.getByRole("button", { name: "Set up" }).waitFor();
  });
});
