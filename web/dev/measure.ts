// Figures of the pages in Chromium on the shipped program: time to the first line, lines/s kept up with, memory. One command starts all it needs.
// Arguments choose parts: opening, rates, memory, sizes. SECONDS: how long memory is watched (600 for the record).
// A program that runs already is used where QUARTERDECK_URL, _KEY, _USER and _PASSWORD name one.
import { existsSync } from "node:fs";
import { loadavg } from "node:os";
import { setTimeout as pass } from "node:timers/promises";
import type { CDPSession, Page } from "playwright-core";
import { DOOR, hasLines, launch, type Look, signIn, visit } from "../e2e/browser";
import { binary, Program, type ServerMade } from "../e2e/program";

const SECONDS = Number(process.env.SECONDS ?? 60);
const ROUNDS = 7;
const RATES = [500, 1_000, 2_000, 5_000, 10_000];
const RATE_SECONDS = 8;
const LONG = 100_000;
const MEMORY_RATE = 500;

const chosen = process.argv.slice(3);
const wants = (part: string) => chosen.length === 0 || chosen.includes(part);
const { QUARTERDECK_URL: elsewhere, QUARTERDECK_KEY: key } = process.env;
if (elsewhere && !key) throw new Error("QUARTERDECK_KEY must hold an administrator's key of the panel at QUARTERDECK_URL");
const program = elsewhere ? Program.elsewhere(elsewhere, key ?? "") : await Program.begin("up", ["--no-demo"]);
const door = elsewhere ? DOOR : await program.door();
const browser = await launch();
const made: ServerMade[] = [];
// Other work on the machine makes every figure worse: the load tells how much to believe.
const load = () => `load ${loadavg()[0]?.toFixed(1)}`;
console.log(`${elsewhere ?? binary().split("/").slice(-2).join("/")}, Chromium ${browser.version()}, ${load()}`);
try {
  const first = await visit(browser);
  await signIn(first.page, "/", door);
  const signedIn = await first.context.storageState();
  await first.context.close();
  if (wants("opening")) for (const lines of [600, LONG]) await opening(signedIn, lines);
  if (wants("rates")) for (const rate of RATES) await keepingUp(signedIn, rate);
  if (wants("memory")) await Promise.all([memory(signedIn, false), memory(signedIn, true)]);
  if (wants("sizes") && existsSync(new URL("../dist/index.html", import.meta.url))) await import("./budget.mjs" as string);
} finally {
  await browser.close();
  if (elsewhere) for (const one of made) await program.ask("DELETE", `/api/application/servers/${one.identifier}`).catch(() => undefined);
  await program.end();
}

async function game(settings: string, start = true): Promise<ServerMade> {
  const server = await program.game(`measured ${made.length}`, settings, { start_on_completion: start });
  made.push(server);
  return server;
}

function end(server: ServerMade): Promise<null> {
  return program.ask("POST", `/api/client/servers/${server.identifier}/power`, { signal: "kill" });
}

/** From the beginning of the navigation to the frame that has the first lines in it: with an empty cache, and with a filled one. */
async function opening(signedIn: Look["signedIn"], lines: number): Promise<void> {
  const server = await game(`--lines ${lines}`);
  while ((await program.newest(server)) !== `line ${lines - 1}`) await pass(200);
  const timed = async (page: Page) => {
    await page.goto(`${program.url}/servers/${server.identifier}`);
    await hasLines(page);
    return page.evaluate(() => (window as unknown as { painted: Promise<number> }).painted);
  };
  const cold: number[] = [];
  let warm: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const { page, context } = await visit(browser, { signedIn });
    await clocked(page);
    cold.push(await timed(page));
    if (round === ROUNDS - 1) {
      for (let again = 0; again <= ROUNDS; again++) {
        await page.goto("about:blank");
        warm.push(await timed(page));
      }
      // The first of them fills what the browser keeps of compiled scripts.
      warm = warm.slice(1);
    }
    await context.close();
  }
  console.log(`first line, ${lines} lines of history: ${spread(cold)} with an empty cache, ${spread(warm)} with a filled one (median of ${ROUNDS}, least to most), ${load()}`);
  await end(server);
}

/** Has a page note when its first lines are on the screen. */
async function clocked(page: Page): Promise<void> {
  await page.addInitScript(() => {
    (window as unknown as { painted: Promise<number> }).painted = new Promise((resolve) => {
      const watcher = new MutationObserver(() => {
        if (!document.querySelector('[data-testid="console"][data-painted="true"]')) return;
        watcher.disconnect();
        requestAnimationFrame(() => resolve(performance.now()));
      });
      watcher.observe(document, { subtree: true, childList: true, attributes: true });
    });
  });
}

interface Sample { at: number; line: number }

/** A game prints at a rate; every frame says which line is the newest on the screen, the log says when that was printed. */
async function keepingUp(signedIn: Look["signedIn"], rate: number): Promise<void> {
  const last = rate * RATE_SECONDS - 1;
  const server = await game(`--ready-after 2s --rate ${rate} --lines ${rate * RATE_SECONDS}`);
  const { page, context } = await visit(browser, { signedIn });
  await page.goto(`${program.url}/servers/${server.identifier}`);
  await page.locator('[data-link="live"]').waitFor();
  const samples = await page.evaluate(
    ({ last }) =>
      new Promise<Sample[]>((resolve) => {
        const seen: Sample[] = [];
        const look = () => {
          const rows = document.querySelectorAll(".xterm-rows:not(.qd-ghost) > div");
          let line = -1;
          for (let row = rows.length - 1; row >= 0 && line < 0; row--) line = Number(/^line (\d+)/.exec(rows[row]?.textContent ?? "")?.[1] ?? -1);
          seen.push({ at: Date.now(), line });
          if (line >= last) resolve(seen);
          else requestAnimationFrame(look);
        };
        look();
      }),
    { last },
  );
  const printed = await printedAt(server);
  const drawn = samples.filter((one, index) => one.line >= 0 && one.line !== samples[index - 1]?.line);
  const late = drawn.map((one) => one.at - (printed.get(one.line) ?? one.at));
  const gaps = samples.slice(1).flatMap((one, index) => (one.line >= 0 ? [one.at - (samples[index] as Sample).at] : []));
  const over = samples.at(-1) as Sample;
  const took = (printed.get(last) ?? 0) - (printed.get(0) ?? 0);
  console.log(
    `${rate} lines/s for ${RATE_SECONDS} s (${Math.round((last * 1000) / took)} printed): a line is seen after ${quantile(late, 0.5)} ms (95 %: ${quantile(late, 0.95)}), the last one after ${over.at - (printed.get(last) ?? over.at)} ms; a frame takes ${quantile(gaps, 0.5)} ms (95 %: ${quantile(gaps, 0.95)}, longest ${Math.max(...gaps)}), ${load()}`,
  );
  await context.close();
}

/** When each line of the game was printed. */
async function printedAt(server: ServerMade): Promise<Map<number, number>> {
  const all = new Map<number, number>();
  for (let before = ""; ; ) {
    const page = await program.ask<{ attributes: { lines: { seq: number; at: number; text: string }[] } }>("GET", `/api/client/servers/${server.identifier}/console/lines?limit=5000${before}`);
    const { lines } = page.attributes;
    if (lines.length === 0) return all;
    for (const { text, at } of lines) {
      const line = /^line (\d+)/.exec(text)?.[1];
      if (line) all.set(Number(line), at);
    }
    before = `&before=${lines[0]?.seq ?? 0}`;
  }
}

/** What the page's scripts hold while a game prints, after everything unused was collected. */
async function memory(signedIn: Look["signedIn"], hidden: boolean): Promise<void> {
  const server = await game(`--rate ${MEMORY_RATE}`);
  const { page, context } = await visit(browser, { signedIn });
  await page.goto(`${program.url}/servers/${server.identifier}`);
  await hasLines(page);
  const client = await context.newCDPSession(page);
  await client.send("HeapProfiler.enable");
  if (hidden) await hide(page);
  const found: string[] = [`${await heap(client)} at first`];
  for (let step = 1; step <= 6; step++) {
    await pass((SECONDS / 6) * 1000);
    found.push(`${await heap(client)} after ${Math.round((step * SECONDS) / 6)} s`);
  }
  console.log(`MiB of JavaScript heap + arrays at ${MEMORY_RATE} lines/s, page ${hidden ? "hidden" : "in front"}: ${found.join(", ")}, ${load()}`);
  await end(server);
  await context.close();
}

/** A browser without a window hides no page, so the page is told: what it draws and keeps then is what is asked about. */
async function hide(page: Page): Promise<void> {
  await page.evaluate(() => {
    Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  });
}

/** Objects, and the bytes of arrays beside them: the terminal keeps its cells in those. */
async function heap(client: CDPSession): Promise<string> {
  await client.send("HeapProfiler.collectGarbage");
  const { usedSize, backingStorageSize } = (await client.send("Runtime.getHeapUsage")) as { usedSize: number; backingStorageSize: number };
  return [usedSize, backingStorageSize].map((bytes) => (bytes / 1024 / 1024).toFixed(1)).join(" + ");
}

function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0);
}

function spread(values: readonly number[]): string {
  return `${quantile(values, 0.5)} ms (${quantile(values, 0)} to ${quantile(values, 1)})`;
}
