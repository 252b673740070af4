// Screenshots of the main pages, dark and light, desk and phone, into shots/; those that the README shows into docs/images.
// One command: it starts the shipped program and fills it with servers, people and a crash; nothing is left of it afterwards.
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { frames, hasLines, launch, type Look, sees, settled, signIn, visit } from "../e2e/browser";
import { Program, type ServerMade } from "../e2e/program";

const shots = new URL("../shots/", import.meta.url).pathname;
const images = new URL("../../docs/images/", import.meta.url).pathname;
/** What of it the README shows, and the name it has there. */
const SHOWN: Record<string, string> = {
  "console-desk-dark": "console-dark",
  "servers-desk-dark": "servers-dark",
  "servers-desk-light": "servers-light",
  "search-desk-light": "search-light",
  "wall-desk-dark": "wall-dark",
  "crash-desk-light": "crash-light",
  "console-phone-dark": "phone-dark",
};
/** A picture of the README is loaded by everybody who looks at the project. */
const IMAGE_BYTES_MAX = 110 * 1024;
const DESK = { width: 1120, height: 660 };
const TAKES: Record<string, Look> = {
  "desk-dark": { theme: "dark", ...DESK },
  "desk-light": { theme: "light", ...DESK },
  "phone-dark": { theme: "dark", width: 360, height: 740, touch: true },
  "phone-light": { theme: "light", width: 360, height: 740, touch: true },
};
/** How often a game must crash until its restart is so far away that all pictures of it are taken before. */
const CRASHES = 5;

mkdirSync(shots, { recursive: true });
mkdirSync(images, { recursive: true });
const program = await Program.begin("up");
const browser = await launch();
try {
  const door = await program.door();
  const servers = await fill();
  const crashed = crash(servers.crashing);
  const first = await visit(browser);
  await first.page.goto(door.base);
  await signIn(first.page, "/", door);
  const signedIn = await first.context.storageState();
  // The graphs want something to show, and the demo's players something to say: this takes the time it takes.
  await crashed;
  await each(signedIn, async (page, shot) => {
    await page.goto(at(servers.crashing));
    await page.getByTestId("crash").getByText(/started again in \d+ s/).waitFor();
    await hasLines(page);
    await page.getByText("Last lines").click();
    await shot("crash");
  });
  for (const command of ["list", "weather rain", "say Restart tonight at ten, ten minutes at most"]) await program.command(servers.demo, command);
  await program.command(servers.friends, "say The new harbour is open!");
  await each(signedIn, async (page, shot, look) => {
    await page.goto(door.base);
    await page.getByTestId("server").nth(5).getByTestId("state").filter({ hasNotText: "unknown" }).waitFor();
    await page.waitForFunction(() => [...document.querySelectorAll(".last")].every((line) => line.textContent?.trim() !== ""));
    await shot("servers");
    await page.goto(at(servers.demo));
    await hasLines(page);
    await measured(page);
    await shot("console");
    await search(page);
    await shot("search");
    await page.goto(`${at(servers.maps)}/graphs`);
    await page.getByTestId("graphs").locator("canvas").first().waitFor();
    await measured(page);
    await shot("graphs");
    await page.goto(`${at(servers.demo)}/people`);
    await page.getByTestId("person").nth(1).waitFor();
    await measured(page);
    await shot("people");
    await page.getByRole("link", { name: "Activity" }).click();
    await page.locator("td.who").first().waitFor();
    await shot("activity");
    await page.goto(`${door.base}/wall`);
    await page.locator('[data-testid="pane"] [data-painted="true"]').nth(3).waitFor();
    await shot("wall");
    await page.goto(`${door.base}/account`);
    await page.getByRole("heading", { name: "API keys" }).waitFor();
    await shot("account");
    const width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    if ((width[0] ?? 0) > (width[1] ?? 0)) console.log(`${look}: ${width.join(" px wide in a window of ")}`);
  });
  await each(undefined, async (page, shot) => {
    await page.goto(door.base);
    await page.getByLabel("Password").waitFor();
    await shot("sign-in");
  });
} finally {
  await browser.close();
  await program.end();
}

function at(server: ServerMade): string {
  return `${program.url}/servers/${server.identifier}`;
}

/** Servers in every state, people, and something that was done. */
async function fill() {
  const ship = (name: string, description: string, pace: string, start = true) =>
    program.create(name, { description, command: `{{QUARTERDECK}} fakegame demo --pace ${pace}`, ready: [')! For help, type "help"'], stop: "stop", memory: 256, start_on_completion: start });
  const demo: ServerMade = { identifier: program.greeting.demo ?? "", uuid: "" };
  const openttd = existsSync("/usr/games/openttd");
  const trains = openttd
    ? await program.create("Trains", { description: "Transport tycoon", template: "openttd", start_on_completion: true })
    : await program.game("Trains", "--rate 2 --alloc 120M --burn-cpu 0.1", { memory: 256 });
  const maps = await program.create("Live map", { description: "Draws the world for the website", command: `${process.execPath} renderer.mjs`, ready: ["Done"], stop: "stop", memory: 256 });
  copyFileSync(new URL("renderer.mjs", import.meta.url), join(program.folder, "node/servers", maps.uuid, "files/renderer.mjs"));
  await program.ask("POST", `/api/client/servers/${maps.identifier}/power`, { signal: "start" });
  const friends = await ship("Survival with friends", "Friends only", "1.2s");
  const crashing = await ship("Modded test", "Breaks now and then", "900ms");
  await ship("Creative flats", "Build what you like", "3s", false);
  for (const [name, permissions] of [["mira", ["control.console", "control.start", "control.stop", "control.restart"]], ["jonas", ["control.console"]]] as const) {
    await program.ask("POST", `/api/client/servers/${demo.identifier}/users`, { email: `${name}@example.org`, permissions: ["websocket.connect", ...permissions] });
  }
  const ready = async (server: ServerMade, text: RegExp) => {
    const { url } = program;
    const probe = await visit(browser);
    await signIn(probe.page, new URL(at(server)).pathname, { ...(await program.door()), base: url });
    await sees(probe.page, text, 60_000);
    await probe.context.close();
  };
  await ready(demo, /Done \(/);
  await ready(friends, /joined the game/);
  if (openttd) await program.command(trains, "server_info");
  return { demo, maps, friends, crashing };
}

/** Crashes a game again and again: each restart is twice as far away. */
async function crash(server: ServerMade): Promise<void> {
  const { page, context } = await visit(browser);
  await signIn(page, new URL(at(server)).pathname, await program.door());
  for (let time = 1; time <= CRASHES; time++) {
    await page.getByTestId("state").getByText("running", { exact: true }).waitFor({ timeout: 60_000 });
    await program.command(server, "crash");
    await page.getByTestId("state").getByText("crashed", { exact: true }).waitFor();
  }
  await context.close();
}

type Shot = (what: string) => Promise<void>;

/** The same for every look. */
async function each(signedIn: Look["signedIn"], then: (page: Page, shot: Shot, look: string) => Promise<void>): Promise<void> {
  for (const [look, wanted] of Object.entries(TAKES)) {
    const { page, context, faults } = await visit(browser, { ...wanted, ...(signedIn ? { signedIn } : {}) });
    const shot = async (what: string) => {
      const name = `${what}-${look}`;
      await settled(page);
      await frames(page);
      await page.screenshot({ path: `${shots}${name}.png` });
      const shown = SHOWN[name];
      if (!shown) return;
      for (let quality = 85; ; quality -= 5) {
        const image = await page.screenshot({ type: "jpeg", quality, scale: "css" });
        if (image.length > IMAGE_BYTES_MAX && quality > 40) continue;
        writeFileSync(`${images}${shown}.jpg`, image);
        return;
      }
    };
    await then(page, shot, look);
    if (faults.length > 0) console.log(look, faults.slice(0, 3));
    await context.close();
  }
}

/** Waits until the head has figures: they come once a second. */
function measured(page: Page): Promise<void> {
  return page.locator("dl dd").filter({ hasText: "MiB" }).first().waitFor();
}

async function search(page: Page): Promise<void> {
  await page.getByTestId("search-toggle").click();
  await page.getByTestId("search-input").fill("joined the game");
  await page.keyboard.press("Enter");
  await page.getByTestId("match").first().click();
  await page.getByTestId("context").waitFor();
}
