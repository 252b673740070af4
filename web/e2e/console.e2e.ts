// The console in a real browser: lines, commands, power, crash, search, holding, and staying true when things break.
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { frames, IS_MOCK, launch, numbers, openServer, reaches, rows, sees, sheet, signIn, trouble, type, upTo, visit, type Visit, waiting, waits } from "./browser";
import { Heard } from "./heard";

const NAME = process.env.QUARTERDECK_SERVER ?? "Demo harbour";
let browser: Browser;
let seen: Visit;
let heard: Heard;

beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());
afterEach(async () => {
  // Whatever a test was about: no script error, nothing that the policy had to stop.
  expect(seen.faults).toEqual([]);
  await seen.context.close();
});

async function watch(look = {}) {
  seen = await visit(browser, look);
  heard = new Heard(seen.page);
  await signIn(seen.page);
  await openServer(seen.page, NAME);
  return seen.page;
}

/** Waits until the terminal's first rows are others than these, and something. */
async function changes(page: Visit["page"], from: string[]): Promise<void> {
  const begin = (shown: string[]) => shown.slice(0, 5).join("\n");
  await expect
    .poll(async () => begin(await rows(page)), { timeout: 10_000 })
    .toSatisfy((shown: string) => shown.trim() !== "" && shown !== begin(from));
}

let tags = 0;
const fresh = () => `-${Date.now().toString(36)}${tags++}`;
/** A row of the flood, with its number. */
const flood = (tag: string, flags = "") => new RegExp(`flood${tag} (\\d+) of`, flags);
/** The numbers that the mock's flood wrote, as far as the page still holds them. */
const floodNumbers = async (page: Visit["page"], tag: string) => numbers(await sheet(page), flood(tag, "g"));

test("history is there before the first frame: no blank screen is ever painted", async () => {
  seen = await visit(browser);
  await signIn(seen.page);
  const page = seen.page;
  await page.evaluate(() => {
    const found: string[] = [];
    (window as unknown as { found: string[] }).found = found;
    new MutationObserver(() => {
      const screen = document.querySelector('[data-testid="console"]');
      if (screen?.getAttribute("data-painted") === "true") found.push(document.querySelector(".xterm-rows")?.textContent ?? "");
    }).observe(document.body, { subtree: true, childList: true, attributes: true });
  });
  await openServer(page, NAME);
  // Not only at first: a line that comes later must not empty the screen either.
  await type(page, "help");
  await sees(page, "› help");
  const found = await page.evaluate(() => (window as unknown as { found: string[] }).found);
  expect(found.length).toBeGreaterThan(0);
  expect(found.every((text) => text.trim() !== "")).toBe(true);
});

test("a typed command is answered, and stands in the console once", async () => {
  const page = await watch();
  await type(page, "list");
  await sees(page, /› list/);
  expect((await rows(page)).filter((row) => /› list\s*$/.test(row))).toHaveLength(1);
  await page.keyboard.press("ArrowUp");
  expect(await page.getByTestId("command").inputValue()).toBe("list");
});

describe.runIf(IS_MOCK)("with the mock's game", () => {
  test("completion from what the game knows", async () => {
    const page = await watch();
    const input = page.getByTestId("command");
    await input.fill("col");
    await page.keyboard.press("Tab");
    expect(await input.inputValue()).toBe("colours");
    await input.fill("h");
    await page.keyboard.press("Tab");
    await page.getByRole("option", { name: "hostile" }).waitFor();
    await page.keyboard.press("Escape");
    await input.fill("");
  });

  test("hostile output runs nothing, changes no title, and reaches no clipboard", async () => {
    const page = await watch();
    const title = await page.title();
    await type(page, "hostile");
    await sees(page, "gnirts desrever");
    await sees(page, "<img src=x onerror=");
    expect(await page.evaluate(() => (window as unknown as { pwned?: number }).pwned)).toBeUndefined();
    expect(await page.title()).toBe(title);
    const shown = (await rows(page)).join("\n");
    for (const after of ["title", "clipboard", "link", "queries", "DCS", "clear"]) expect(shown).toContain(`after ${after}`);
    expect(shown).not.toContain("PWNED");
  });

  test("colours beyond the classes are drawn although the policy forbids style attributes", async () => {
    const page = await watch();
    await type(page, "colours");
    await sees(page, "████");
    const colours = await page.evaluate(() => {
      const spans = [...document.querySelectorAll(".xterm-rows span")].filter((span) => span.textContent?.includes("█"));
      return new Set(spans.map((span) => getComputedStyle(span).color)).size;
    });
    expect(colours).toBeGreaterThan(20);
  });

  test("scrolling up holds the view at 500 lines/s and counts what comes; nothing is lost or repeated", async () => {
    const page = await watch();
    const tag = fresh();
    await type(page, `flood 500 4 ${tag}`);
    await reaches(page, flood(tag), 200);
    await page.getByTestId("console").focus();
    await page.keyboard.press("PageUp");
    await page.getByTestId("new-lines").waitFor();
    const held = await rows(page);
    await waits(page, (await waiting(page)) + 500);
    expect(await rows(page)).toEqual(held);
    expect(await page.getByTestId("new-lines").textContent()).toMatch(/[1-9][\d,]* new lines/);
    await page.getByTestId("new-lines").click();
    await reaches(page, flood(tag), 2000);
    const held500 = await floodNumbers(page, tag);
    expect(held500.length).toBeGreaterThan(400);
    expect(held500).toEqual(upTo(2000, held500.length));
  });

  test("a link that is cut resumes: every line once", async () => {
    const page = await watch();
    const tag = fresh();
    await type(page, `flood 60 7 ${tag}`);
    for (let cut = 0; cut < 3; cut++) {
      await reaches(page, flood(tag), 40 * (cut + 1));
      await trouble({ cut: true });
      await page.locator('[data-link="waiting"]').waitFor();
      expect(await page.getByTestId("link").textContent()).toContain("node");
      await page.getByRole("button", { name: "Reconnect now" }).click();
      await page.locator('[data-link="live"]').waitFor();
    }
    await reaches(page, flood(tag), 420, 15_000);
    expect(await floodNumbers(page, tag)).toEqual(upTo(420, 420));
  });

  test("a link that died in silence is noticed within 10 s", async () => {
    const page = await watch();
    await trouble({ frozen: true });
    const began = Date.now();
    await page.locator('[data-link="waiting"]').waitFor({ timeout: 13_000 });
    expect(Date.now() - began).toBeLessThan(11_500);
    expect(await page.getByTestId("link").textContent()).toContain("nothing heard for 10 s");
    await type(page, "list");
    expect(await page.getByTestId("answer").textContent()).toContain("not connected");
    expect(await page.getByTestId("command").inputValue()).toBe("list");
    await trouble({ frozen: false });
    await page.locator('[data-link="live"]').waitFor({ timeout: 20_000 });
  });

  test("a token that ends is renewed without a seam", async () => {
    const page = await watch();
    const tag = fresh();
    await type(page, `flood 40 5 ${tag}`);
    await reaches(page, flood(tag), 20);
    await trouble({ expire: true });
    await reaches(page, flood(tag), 200, 15_000);
    expect(await floodNumbers(page, tag)).toEqual(upTo(200, 200));
    expect(await page.getByTestId("link").getAttribute("data-link")).toBe("live");
  });

  test("a gap is a line with its range", async () => {
    const page = await watch();
    await type(page, "gap 800");
    await sees(page, /lines [\d,]+ to [\d,]+ cannot be shown: no longer kept/);
    await sees(page, "the log goes on here");
  });

  test("the plain protocol works as well, without a repeated line after a cut", async () => {
    await trouble({ plain: true });
    try {
      const page = await watch();
      const tag = fresh();
      await type(page, `flood 20 6 ${tag}`);
      await reaches(page, flood(tag), 20);
      await trouble({ cut: true });
      await page.getByRole("button", { name: "Reconnect now" }).click();
      await reaches(page, flood(tag), 120, 15_000);
      expect(await floodNumbers(page, tag)).toEqual(upTo(120, 120));
    } finally {
      await trouble({ plain: false });
    }
  });

  test("older lines are read when somebody scrolls to the top, with the view where it was", async () => {
    const page = await watch();
    await sees(page, /\S/);
    let release = () => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    // The answer waits until it is seen what is on the screen without it.
    await page.route("**/console/lines?before=*", (route) => held.then(() => route.continue()));
    const answered = page.waitForResponse((response) => response.url().includes("/console/lines?before="));
    await page.getByTestId("console").focus();
    const before = await rows(page);
    await page.keyboard.press("Home");
    await changes(page, before);
    const top = (await rows(page)).slice(0, 5);
    release();
    await answered;
    await page.getByText("Loading older lines…").waitFor({ state: "detached" });
    // The old picture lies over the terminal until the new one is complete.
    await page.waitForFunction(() => document.querySelector(".qd-ghost") === null);
    await frames(page);
    const kept = await rows(page);
    expect(kept.slice(0, 5)).toEqual(top);
    await page.keyboard.press("PageUp");
    await changes(page, kept);
  });

  test("search finds in all that is kept, in its context, while the console goes on", async () => {
    const page = await watch();
    await type(page, "say a needle in the harbour");
    await sees(page, "[Server] a needle in the harbour");
    await page.keyboard.press("Control+f");
    await page.getByTestId("search-input").fill("a needle");
    await page.keyboard.press("Enter");
    await page.getByTestId("match").first().click();
    expect(await page.getByTestId("context").textContent()).toContain("a needle in the harbour");
    expect(await page.locator("mark").first().textContent()).toBe("a needle");
    expect(await page.getByTestId("search-status").textContent()).toMatch(/^\d+ match/);
  });

  test("times, wrapping, copying without times", async () => {
    const page = await watch();
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.getByTestId("times").selectOption("utc");
    await page.waitForFunction(() => /^\d\d:\d\d:\d\dZ/.test(document.querySelector(".gutter div")?.textContent ?? ""));
    await page.getByTestId("times").selectOption("relative");
    await page.waitForFunction(() => /^−\d+ (s|min)/.test(document.querySelector(".gutter div")?.textContent ?? ""));
    await type(page, "long");
    await sees(page, "long: abcdefghij");
    await page.getByTestId("copy").click();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    expect(copied).toContain(`long: ${"abcdefghij".repeat(60)} end`);
    expect(copied).not.toMatch(/^−\d+ (s|min)/m);
    await page.getByTestId("wrap").click();
    await sees(page, /^long: [a-j]{300}/);
    await page.getByTestId("times").selectOption("off");
    expect(await page.locator(".gutter div").count()).toBe(0);
    await page.getByTestId("wrap").click();
  });

  test("crash, crash card, restart; stop becomes kill with a countdown", async () => {
    const page = await watch();
    await type(page, "crash");
    const card = page.getByTestId("crash");
    await card.waitFor();
    expect(await card.textContent()).toContain("exit code 3");
    expect(await card.textContent()).toMatch(/started again in \d+ s/);
    await page.getByTestId("power-start").click();
    await page.getByTestId("power-stop").waitFor();
    await card.waitFor({ state: "detached" });
    // Whoever looked away still reads that there was one, until it is dismissed.
    const notice = page.getByTestId("crashed-notice");
    expect(await notice.textContent()).toMatch(/Crashed at \d\d:\d\d:\d\d, exit code 3 · started again/);
    expect(await notice.getByRole("link", { name: "What was noted" }).getAttribute("href")).toMatch(/\/activity$/);
    await page.getByTestId("state").getByText("running").waitFor();
    await notice.getByRole("button", { name: "Dismiss" }).click();
    await notice.waitFor({ state: "detached" });
    await type(page, "too fast");
    await page.getByTestId("notice").getByText("You are sending too fast: wait a moment.").waitFor();
    await page.getByTestId("answer").getByText("too many messages").waitFor();
    expect(await page.getByTestId("command").inputValue()).toBe("too fast");
    await page.getByTestId("notice").waitFor({ state: "detached" });
    await type(page, "hang");
    await sees(page, "› hang");
    await page.getByTestId("power-stop").click();
    const kill = page.getByTestId("power-kill");
    await kill.waitFor();
    expect(await kill.textContent()).toMatch(/Kill \(1\d s left\)/);
    await kill.click();
    expect(await kill.textContent()).toMatch(/Sure\? \(1\d s left\)/);
    expect(await kill.getAttribute("aria-label")).toMatch(/^Kill Demo harbour: Sure\? \(1\d s left\)$/);
    await kill.click();
    await page.getByTestId("power-start").waitFor();
    await type(page, "list");
    expect(await page.getByTestId("answer").textContent()).toContain("the server is offline");
    await page.getByTestId("power-start").click();
    await page.getByTestId("state").getByText("running").waitFor();
  });

  test("a hidden page draws nothing and catches up", async () => {
    const page = await watch();
    const hide = (hidden: boolean) =>
      page.evaluate((state) => {
        Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
      }, hidden ? "hidden" : "visible");
    const tag = fresh();
    await type(page, `flood 500 3 ${tag}`);
    await reaches(page, flood(tag), 50);
    await hide(true);
    await frames(page);
    const before = await rows(page);
    await heard.until("the flood's last line", () => heard.lines.at(-1)?.includes(" 1500 of ") ?? false);
    await frames(page);
    expect(await rows(page)).toEqual(before);
    await hide(false);
    await reaches(page, flood(tag), 1500, 1_000);
  });
});
