// What breaks between a page and its game, on the shipped program: a token ends, the daemon is killed, the panel is away. Every line stays.
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Door, launch, numbers, reaches, rows, sheet, signIn, upTo, visit, type Visit } from "../browser";
import { Heard } from "../heard";
import { freePort, Program, type ServerMade } from "../program";

const LINE = /^line (\d+)/;
let browser: Browser;
let programs: Program[] = [];
let seen: Visit | undefined;
let heard: Heard;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser?.close());
afterEach(async ({ task }) => {
  if (task.result?.state === "fail") for (const one of programs) console.log(one.log().split("\n").slice(-20).join("\n"));
  await seen?.context.close();
  await Promise.all(programs.map((one) => one.end()));
  programs = [];
  expect(seen?.faults ?? []).toEqual([]);
});

async function begin(...how: Parameters<typeof Program.begin>): Promise<Program> {
  const program = await Program.begin(...how);
  programs.push(program);
  return program;
}

/** A page with the console of a server, from whose first lines on every frame is heard, and every word of the light. */
async function watch(door: Door, server: ServerMade): Promise<Page> {
  seen = await visit(browser);
  heard = new Heard(seen.page);
  await signIn(seen.page, `/servers/${server.identifier}`, door);
  await seen.page.locator('[data-link="live"]').waitFor();
  await seen.page.evaluate(() => {
    const said: string[] = [];
    (window as unknown as { said: string[] }).said = said;
    new MutationObserver(() => {
      const text = document.querySelector('[data-testid="link"]')?.textContent ?? "";
      if (said.at(-1) !== text) said.push(text);
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  return seen.page;
}

const light = (page: Page, says: RegExp) => page.getByTestId("link").filter({ hasText: says }).waitFor({ timeout: 20_000 });
/** What the light has said since the page was opened. */
const said = (page: Page) => page.evaluate(() => (window as unknown as { said: string[] }).said);
/** The browser believes that the network is back, as it does when a laptop wakes: nobody waits for the next try. */
const hurry = (page: Page) => page.evaluate(() => dispatchEvent(new Event("online")));
const newest = () => Number(LINE.exec(heard.lines.at(-1) ?? "")?.[1] ?? 0);

/** Every line came once and in order, over all sockets, and the page holds them so. */
async function nothingLost(page: Page, last: number): Promise<void> {
  await heard.until(`line ${last}`, () => newest() >= last);
  await reaches(page, LINE, last);
  const came = numbers(heard.lines.join("\n"), /^line (\d+)$/gm);
  expect(came).toEqual(upTo(came.at(-1) ?? 0, came.length));
  expect(heard.seqs).toEqual(upTo(heard.seqs.at(-1) ?? 0, heard.seqs.length));
  const held = numbers(await sheet(page), /^line (\d+)$/gm);
  expect(held.length).toBeGreaterThan(100);
  expect(held).toEqual(upTo(held.at(-1) ?? 0, held.length));
}

/** The run that goes on now began with this line: the game was not started again. */
async function runs(program: Program, server: ServerMade): Promise<unknown[]> {
  const list = await program.ask<{ data: { attributes: { ended_at: number | null } }[] }>("GET", `/api/client/servers/${server.identifier}/console/runs`);
  return list.data.map((one) => one.attributes);
}

test("a token that ends is renewed on the same socket, and no line is missed for it", async () => {
  // The node warns a minute before the end, so ten seconds after the connection.
  const program = await begin("up", ["--token-ttl", "70", "--no-demo"]);
  const server = await program.game("Steady", "--rate 40");
  const page = await watch(await program.door(), server);
  await heard.until("a second auth success", () => heard.count("auth success") === 2, 30_000);
  expect(heard.count("token expiring")).toBe(1);
  await nothingLost(page, newest() + 100);
  expect(heard.sockets).toBe(1);
  expect(heard.count("token expired")).toBe(0);
  expect((await said(page)).filter((text) => !text.includes("Live"))).toEqual([]);
});

test("the daemon is killed at 200 lines/s and started again: the same game, and every line once", async () => {
  const program = await begin("up", ["--no-demo"]);
  const server = await program.game("Busy", "--rate 200");
  const page = await watch(await program.door(), server);
  const before = await runs(program, server);
  await heard.until("some lines", () => newest() >= 200);
  await program.kill();
  await light(page, /Reconnecting in \d+ s.*panel: unreachable/);
  expect((await said(page)).join("\n")).toMatch(/socket: the connection closed/);
  const broken = newest();
  expect(await rows(page)).not.toEqual([]);
  await program.start();
  await hurry(page);
  await light(page, /Live/);
  expect(heard.sockets).toBe(2);
  await nothingLost(page, broken + 400);
  expect(await runs(program, server)).toEqual(before);
  expect(numbers(heard.lines.join("\n"), /fakegame pid=(\d+)/g).length).toBeLessThanOrEqual(1);
});

test("the panel is away: open consoles go on; when the node goes too, the light names the panel; then all is back", async () => {
  const panel = await begin("panel");
  const port = await freePort();
  await panel.ask("POST", "/api/application/nodes", { name: "apart", url: `http://127.0.0.1:${port}` });
  const node = await begin("node", ["--listen", `127.0.0.1:${port}`, "--config", "node.json"], { "node.json": await panel.ask("GET", "/api/application/nodes/apart/configuration") });
  const server = await panel.game("Far away", "--rate 100");
  const page = await watch(await panel.door(), server);
  const before = await runs(panel, server);
  await heard.until("some lines", () => newest() >= 50);
  await panel.kill();
  const alone = newest();
  await reaches(page, LINE, alone + 200);
  expect(await said(page)).toEqual(expect.not.arrayContaining([expect.stringContaining("Reconnecting")]));
  await node.kill();
  await light(page, /Reconnecting in \d+ s.*panel: unreachable/);
  const broken = newest();
  await panel.start();
  await hurry(page);
  // The panel gives a token; now it is the node that is missing.
  await light(page, /Reconnecting in \d+ s.*(socket|node): /);
  await node.start();
  await hurry(page);
  await light(page, /Live/);
  await nothingLost(page, broken + 200);
  expect(await runs(panel, server)).toEqual(before);
});
