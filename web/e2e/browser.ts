// What the browser tests and the screenshots share: Chromium, a page whose faults are collected, and signing in.
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";

export const BASE = process.env.QUARTERDECK_URL ?? process.env.MOCK_BASE ?? "http://127.0.0.1:8787";
export const IS_MOCK = process.env.QUARTERDECK_URL === undefined;
export const USER = process.env.QUARTERDECK_USER ?? "admin";
export const PASSWORD = process.env.QUARTERDECK_PASSWORD ?? "quarterdeck";

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
}

export async function visit(browser: Browser, look: Look = {}): Promise<Visit> {
  const context = await browser.newContext({
    viewport: { width: look.width ?? 1280, height: look.height ?? 800 },
    colorScheme: look.theme ?? "dark",
    hasTouch: look.touch ?? false,
    isMobile: look.touch ?? false,
    deviceScaleFactor: look.touch ? 2 : 1,
    acceptDownloads: true,
  });
  const page = await context.newPage();
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && /Content.Security.Policy|Refused|Uncaught/i.test(message.text())) faults.push(message.text());
  });
  page.setDefaultTimeout(10_000);
  return { context, page, faults };
}

export async function signIn(page: Page, address = "/"): Promise<void> {
  await page.goto(BASE + address);
  await page.getByLabel("E-mail or user name").fill(USER);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator("header").first().waitFor();
}

export async function openServer(page: Page, name: string | RegExp): Promise<void> {
  await page.getByTestId("server").filter({ hasText: name }).getByRole("link").click();
  await page.locator('[data-testid="console"][data-painted="true"]').waitFor();
}

/** What the terminal shows, row by row. */
export function rows(page: Page): Promise<string[]> {
  return page.locator(".xterm-rows:not(.qd-ghost) > div").allTextContents();
}

/** What a test does to the mock. The real program has no such door. */
export async function trouble(body: Record<string, unknown>): Promise<void> {
  await fetch(`${BASE}/mock`, { method: "POST", body: JSON.stringify(body) });
}

/** Types a command as a person does, and waits until the field is empty again: it was sent. */
export async function type(page: Page, command: string): Promise<void> {
  await page.getByTestId("command").fill(command);
  await page.keyboard.press("Enter");
}

/** Waits until a row of the terminal contains a text. */
export async function sees(page: Page, text: string | RegExp | ((row: string) => boolean), ms = 10_000): Promise<void> {
  const until = Date.now() + ms;
  for (;;) {
    const shown = await rows(page);
    if (shown.some((row) => (typeof text === "string" ? row.includes(text) : typeof text === "function" ? text(row) : text.test(row)))) return;
    if (Date.now() > until) throw new Error(`not seen: ${String(text)}\n${shown.join("\n")}`);
    await page.waitForTimeout(50);
  }
}
