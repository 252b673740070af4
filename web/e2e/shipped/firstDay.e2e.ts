// From the one-time link to games of one's own, on the shipped program: sign in, create, type, stop, kill, crash, search, a long history.
import { existsSync, readFileSync } from "node:fs";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { hasLines, launch, type Look, numbers, reaches, rows, sees, type, upTo, visit, type Visit } from "../browser";
import { Program } from "../program";

const OPENTTD = "/usr/games/openttd";
const PASSWORD = "a password of the tests";
/** How many lines the page shows when it opens, and those of the long history. */
const SHOWN = 500;
const LONG = 100_000;
const LINE = /^line (\d+)/;

let browser: Browser;
let program: Program;
let signedIn: Look["signedIn"];
let seen: Visit;

beforeAll(async () => {
  [browser, program] = await Promise.all([launch(), Program.begin("up")]);
});
afterAll(async () => {
  await Promise.all([browser?.close(), program?.end()]);
});
afterEach(async ({ task }) => {
  // Whatever a test was about: no script error, nothing that the policy had to stop.
  expect(seen.faults).toEqual([]);
  if (task.result?.state === "fail") console.log(program.log().split("\n").slice(-20).join("\n"));
  await seen.context.close();
});

async function open(address: string): Promise<Page> {
  seen = await visit(browser, { signedIn });
  await seen.page.goto(program.url + address);
  return seen.page;
}

async function create(name: string, rest: (page: Page) => Promise<void>): Promise<Page> {
  const page = await open("/");
  await page.getByRole("button", { name: "New server" }).click();
  await page.getByLabel("Name", { exact: true }).fill(name);
  await rest(page);
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("heading", { name, exact: true }).waitFor();
  return page;
}

const state = (page: Page, name: string, ms = 20_000) => page.getByTestId("state").getByText(name, { exact: true }).waitFor({ timeout: ms });

test("the link of the first start signs in once and asks for a password; then the password signs in", async () => {
  const link = program.greeting.sign_in ?? "";
  expect(link).toContain("/link#");
  seen = await visit(browser);
  const { page } = seen;
  await page.goto(link);
  await page.getByLabel("New password", { exact: true }).fill(PASSWORD);
  await page.getByLabel("New password, again").fill(PASSWORD);
  await page.getByRole("button", { name: "Set password" }).click();
  await page.getByTestId("server").filter({ hasText: "demo" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Password").waitFor();
  await page.goto(link);
  await page.getByRole("alert").getByText("does not work").waitFor();
  await page.goto(program.url);
  await page.getByLabel("E-mail or user name").fill("admin");
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByTestId("server").filter({ hasText: "demo" }).waitFor();
  signedIn = await page.context().storageState();
});

test.skipIf(!existsSync(OPENTTD))("a game from a template comes up, answers, and stops without being called crashed", async () => {
  const page = await create("Trains", async (form) => {
    await form.getByRole("combobox", { name: "a template" }).selectOption({ label: "OpenTTD" });
    await form.getByLabel("Port").fill("26031");
  });
  await state(page, "running", 40_000);
  await type(page, "server_info");
  await sees(page, "› server_info");
  await sees(page, "Current/maximum clients");
  await page.getByTestId("power-stop").click();
  await state(page, "offline");
  await sees(page, "Shutting down network");
  expect(await page.getByTestId("crash").count()).toBe(0);
  await page.getByRole("link", { name: "Servers" }).click();
  await page.getByTestId("server").filter({ hasText: "Trains" }).getByTestId("state").getByText("offline", { exact: true }).waitFor();
});

test("a game from a command is killed when it does not stop, after asking", async () => {
  const page = await create("Stubborn", async (form) => {
    await form.getByText("a command", { exact: true }).click();
    await form.getByLabel("Command line").fill("{{QUARTERDECK}} fakegame play --stop-delay 1h");
    await form.getByLabel("Ready text").fill("Done");
    await form.getByLabel("Stop command").fill("stop");
  });
  await state(page, "running");
  await page.getByTestId("power-stop").click();
  await sees(page, "stopping: command");
  const kill = page.getByTestId("power-kill");
  await kill.click();
  await kill.getByText("Sure?").waitFor();
  await state(page, "stopping");
  await kill.click();
  await state(page, "offline");
  await page.getByTestId("power-start").waitFor();
  expect(await page.getByTestId("crash").count()).toBe(0);
});

test("a crash is told with its exit code, its last lines and what comes next, and the game comes back", async () => {
  const server = await program.game("Fragile", "--obey");
  const page = await open(`/servers/${server.identifier}`);
  await state(page, "running");
  // The card is gone again after two seconds: whatever it said is kept here.
  await page.evaluate(() => {
    const said: string[] = [];
    (window as unknown as { said: string[] }).said = said;
    new MutationObserver(() => {
      const card = document.querySelector('[data-testid="crash"]');
      if (card) said.push(card.textContent ?? "");
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  await type(page, "raw the mast is leaning\\n");
  await sees(page, /^the mast is leaning/);
  await type(page, "exit 3");
  await page.getByTestId("crash").waitFor();
  await page.getByTestId("crash").waitFor({ state: "detached" });
  await state(page, "running");
  const said = (await page.evaluate(() => (window as unknown as { said: string[] }).said)).join("\n");
  expect(said).toContain("exit code 3");
  expect(said).toMatch(/started again in [12] s/);
  expect(said).toMatch(/the mast is leaning\n.*› exit 3/s);
  const shown = (await rows(page)).join("\n");
  expect(shown.match(/fakegame pid=\d+/g)).toHaveLength(2);
});

test("search finds an old line in its context while the game goes on printing", async () => {
  const server = await program.game("Talkative", "--rate 50 --obey");
  await expect.poll(() => program.newest(server), { timeout: 20_000 }).toMatch(/^line/);
  await program.command(server, "raw a needle in the hay\\n");
  await program.command(server, "burst 5000");
  await expect.poll(async () => Number(LINE.exec(await program.newest(server))?.[1] ?? 0), { timeout: 20_000 }).toBeGreaterThan(5_000);
  const page = await open(`/servers/${server.identifier}`);
  await reaches(page, LINE, 5_000);
  await page.keyboard.press("Control+f");
  await page.getByTestId("search-input").fill("needle in the HAY");
  await page.keyboard.press("Enter");
  // What the game printed, and the command that made it: newest first.
  await page.getByTestId("match").nth(1).waitFor();
  await page.getByTestId("match").first().click();
  const context = (await page.getByTestId("context").textContent()) ?? "";
  expect(context).toContain("a needle in the hay");
  expect(numbers(context, /^line (\d+)$/gm).length).toBeGreaterThanOrEqual(6);
  const now = Number(LINE.exec(await program.newest(server))?.[1]);
  await reaches(page, LINE, now + 25);
  await program.ask("POST", `/api/client/servers/${server.identifier}/power`, { signal: "kill" });
});

test("100,000 lines: the newest at once, older ones further up, each once in the download", async () => {
  const server = await program.game("Long story", `--lines ${LONG}`);
  await expect.poll(() => program.newest(server), { timeout: 40_000 }).toBe(`line ${LONG - 1}`);
  const began = Date.now();
  const page = await open(`/servers/${server.identifier}`);
  await hasLines(page);
  console.log(`first lines of ${LONG} after ${Date.now() - began} ms`);
  await sees(page, `line ${LONG - 1}`);
  await page.getByTestId("console").focus();
  const top = async () => Number(LINE.exec((await rows(page))[0] ?? "")?.[1] ?? LONG);
  for (const below of [LONG - SHOWN + 1, LONG - 2 * SHOWN, LONG - 4 * SHOWN]) {
    await expect.poll(async () => (await page.keyboard.press("Home"), top()), { timeout: 10_000 }).toBeLessThanOrEqual(below);
  }
  const shown = numbers((await rows(page)).join("\n"), /^line (\d+)/gm);
  expect(shown).toEqual(upTo(shown.at(-1) ?? 0, shown.length));
  const button = page.getByTestId("download");
  const [download] = await Promise.all([page.waitForEvent("download"), button.click()]);
  const written = numbers(readFileSync(await download.path(), "utf8"), /Z line (\d+)$/gm);
  // As many as the button promises, or all.
  const promised = Number(/[\d,]{3,}/.exec((await button.getAttribute("aria-label")) ?? "")?.[0].replaceAll(",", "") ?? LONG);
  expect(written.length).toBe(promised);
  expect(written).toEqual(upTo(LONG - 1, promised));
  // The rest is there as well, read as the page reads what is further up.
  const all = await page.evaluate(async (server) => {
    const texts: string[] = [];
    let before = "";
    do {
      const answer = await fetch(`/api/client/servers/${server}/console/lines?limit=5000${before}`);
      const { lines } = ((await answer.json()) as { attributes: { lines: { seq: number; text: string }[] } }).attributes;
      texts.unshift(...lines.map((line) => line.text));
      before = lines[0] ? `&before=${lines[0].seq}` : "";
    } while (before !== "");
    return texts;
  }, server.identifier);
  expect(numbers(all.join("\n"), /^line (\d+)$/gm)).toEqual(upTo(LONG - 1, LONG));
});
