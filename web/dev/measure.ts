// Numbers of the page in Chromium: time to the first line, lines/s it keeps up with, memory under 500 lines/s.
// Runs against the mock, whose demo game floods on command. SECONDS sets how long the memory is watched (600 for the record).
import { launch, openServer, signIn, type, visit } from "../e2e/browser";

const SECONDS = Number(process.env.SECONDS ?? 60);
const browser = await launch();
const { page, context } = await visit(browser);
await signIn(page);
await openServer(page, "Demo harbour");
const address = page.url();

const starts: number[] = [];
for (let round = 0; round < 5; round++) {
  await page.goto("about:blank");
  const began = Date.now();
  await page.goto(address);
  await page.locator('[data-testid="console"][data-painted="true"]').waitFor();
  starts.push(Date.now() - began);
}
console.log(`navigation to first line: ${starts.sort((a, b) => a - b)[2]} ms (median of 5, warm cache, local)`);

for (const rate of [500, 2_000, 5_000, 10_000]) {
  const tag = `-m${rate}`;
  await type(page, `flood ${rate} 6 ${tag}`);
  await page.waitForTimeout(6_000);
  const began = Date.now();
  await page.waitForFunction(([name, last]) => document.querySelector(".xterm-rows")?.textContent?.includes(`flood${String(name)} ${String(last)} of`), [tag, rate * 6] as const, { polling: 50, timeout: 60_000 });
  const frames = await page.evaluate(() => new Promise<number>((resolve) => requestAnimationFrame((from) => requestAnimationFrame((to) => resolve(to - from)))));
  console.log(`${rate} lines/s for 6 s: last line seen ${Date.now() - began} ms after the end, frame ${Math.round(frames)} ms`);
}

const client = await context.newCDPSession(page);
await client.send("HeapProfiler.enable");
const heap = async () => {
  await client.send("HeapProfiler.collectGarbage");
  const { usedSize } = (await client.send("Runtime.getHeapUsage")) as { usedSize: number };
  return usedSize / 1024 / 1024;
};
await type(page, `flood 500 ${SECONDS} -long`);
for (let at = 0; at < SECONDS; at += SECONDS / 6) {
  await page.waitForTimeout((SECONDS / 6) * 1000);
  console.log(`memory at 500 lines/s after ${Math.round(at + SECONDS / 6)} s: ${(await heap()).toFixed(1)} MiB JavaScript heap`);
}
await browser.close();
