// What the browser tests and the screenshots share: Chromium, a page whose faults are collected, signing in, and waiting for what is seen.
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";

export const BASE = process.env.QUARTERDECK_URL ?? process.env.MOCK_BASE ?? "http://127.0.0.1:8787";
export const IS_MOCK = process.env.QUARTERDECK_URL === undefined;
export const USER = process.env.QUARTERDECK_USER ?? "admin";
export const PASSWORD = process.env.QUARTERDECK_PASSWORD ?? "quarterdeck";

/** A panel, and who signs in there. */
export interface Door {
  base: string;
  user: string;
  password: string;
}
export const DOOR: Door = { base: BASE, user: USER, password: PASSWORD };

export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

export interface Visit {
  context: BrowserContext;
  page: Page;
  /** Script errors and what the Content-Security-Policy stopped. */
  faults: string[];
}

export interface Look {
  width?: number;
  height?: number;
  theme?: "dark" | "light";
  touch?: boolean;
  /** Cookies of a sign-in that was done before. */
  signedIn?: Awaited<ReturnType<BrowserContext["storageState"]>>;
}

export async function visit(browser: Browser, look: Look = {}): Promise<Visit> {
  const context = await browser.newContext({
    viewport: { width: look.width ?? 1280, height: look.height ?? 800 },
    colorScheme: look.theme ?? "dark",
    hasTouch: look.touch ?? false,
    isMobile: look.touch ?? false,
    deviceScaleFactor: look.touch ? 2 : 1,
    acceptDownloads: true,
    ...(look.signedIn ? { storageState: look.signedIn } : {}),
  });
  const page = await context.newPage();
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && /Content.Security.Policy|Refused to |Uncaught/i.test(message.text())) faults.push(message.text());
  });
  page.setDefaultTimeout(10_000);
  return { context, page, faults };
}

export async function signIn(page: Page, address = "/", door: Door = DOOR): Promise<void> {
  await page.goto(door.base + address);
  await page.getByLabel("E-mail or user name").fill(door.user);
  await page.getByLabel("Password").fill(door.password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator("header").first().waitFor();
}

export async function openServer(page: Page, name: string | RegExp): Promise<void> {
  await page.getByTestId("server").filter({ hasText: name }).getByRole("link").click();
  await hasLines(page);
}

/** Waits until the console's first lines are on the screen. */
export async function hasLines(page: Page): Promise<void> {
  await page.locator('[data-testid="console"][data-painted="true"]').waitFor();
}

const ROWS = ".xterm-rows:not(.qd-ghost) > div";

/** What the terminal shows, row by row. */
export function rows(page: Page): Promise<string[]> {
  return page.locator(ROWS).allTextContents();
}

/** What a test does to the mock. The real program has no such door. */
export async function trouble(body: Record<string, unknown>): Promise<void> {
  await fetch(`${BASE}/mock`, { method: "POST", body: JSON.stringify(body) });
}

/** Types a command as a person does. */
export async function type(page: Page, command: string): Promise<void> {
  await page.getByTestId("command").fill(command);
  await page.keyboard.press("Enter");
}

/** Waits until a row of the terminal contains a text, looking at every frame. */
export function sees(page: Page, wanted: string | RegExp, ms = 10_000): Promise<void> {
  const pattern = typeof wanted === "string" ? new RegExp(wanted.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")) : wanted;
  return row(page, pattern, null, ms);
}

/** Waits until the number that a row has in the pattern's group is at least this: single rows fly by. */
export function reaches(page: Page, pattern: RegExp, least: number, ms = 10_000): Promise<void> {
  return row(page, pattern, least, ms);
}

async function row(page: Page, pattern: RegExp, least: number | null, ms: number): Promise<void> {
  const look = ([rows, source, flags, least]: [string, string, string, number | null]) => {
    const wanted = new RegExp(source, flags);
    return [...document.querySelectorAll(rows)].some((row) => {
      const match = wanted.exec(row.textContent ?? "");
      return match !== null && (least === null || Number(match[1]) >= least);
    });
  };
  try {
    await page.waitForFunction(look, [ROWS, pattern.source, pattern.flags, least] as [string, string, string, number | null], { timeout: ms });
  } catch (fault) {
    throw new Error(`not seen: ${String(pattern)}${least === null ? "" : ` ≥ ${least}`}\n${(await rows(page)).join("\n")}`, { cause: fault });
  }
}

/** The number on the button that counts the lines which wait behind a held view. */
export async function waiting(page: Page): Promise<number> {
  return Number(/[\d,]+/.exec((await page.getByTestId("new-lines").textContent()) ?? "")?.[0].replaceAll(",", "") ?? 0);
}

/** Waits until that number is at least this: so many lines have come and were not drawn. */
export async function waits(page: Page, least: number, ms = 10_000): Promise<void> {
  const look = (least: number) => Number(/[\d,]+/.exec(document.querySelector('[data-testid="new-lines"]')?.textContent ?? "")?.[0].replaceAll(",", "") ?? 0) >= least;
  await page.waitForFunction(look, least, { timeout: ms });
}

/** Two frames: what was decided before the first is on the screen with the second. */
export async function frames(page: Page): Promise<void> {
  await page.evaluate(() => new Promise<void>((done) => requestAnimationFrame(() => requestAnimationFrame(() => done()))));
}

/** Nothing moves any more but what moves for ever. */
export async function settled(page: Page): Promise<void> {
  await frames(page);
  await page.evaluate(async () => {
    const ending = document.getAnimations().filter((one) => one.effect?.getComputedTiming().endTime !== Infinity);
    await Promise.allSettled(ending.map((one) => one.finished));
  });
}

/** What the page holds of a console as plain text: its newest 500 lines. */
export async function sheet(page: Page): Promise<string> {
  await page.getByTestId("as-text").click();
  const text = (await page.locator("dialog pre").textContent()) ?? "";
  await page.getByRole("button", { name: "Close" }).click();
  return text;
}

/** The numbers that a pattern's group has in a text, in order. */
export function numbers(text: string, pattern: RegExp): number[] {
  return [...text.matchAll(pattern)].map((match) => Number(match[1]));
}

/** `count` numbers that end with `last`. */
export function upTo(last: number, count: number): number[] {
  return Array.from({ length: count }, (_, at) => last - count + 1 + at);
}
