// Screenshots of the main pages, dark and light, desk and phone, into shots/. Runs against QUARTERDECK_URL or the mock.
import { mkdirSync } from "node:fs";
import type { Page } from "playwright-core";
import { BASE, launch, type Look, openServer, signIn, visit } from "../e2e/browser";

const folder = new URL("../shots/", import.meta.url).pathname;
mkdirSync(folder, { recursive: true });
const NAME = process.env.QUARTERDECK_SERVER ?? "Demo harbour";

const looks: Record<string, Look> = {
  "desk-dark": { theme: "dark" },
  "desk-light": { theme: "light" },
  "phone-dark": { theme: "dark", width: 360, height: 740, touch: true },
  "phone-light": { theme: "light", width: 360, height: 740, touch: true },
};

const browser = await launch();
for (const [name, look] of Object.entries(looks)) {
  const { page, context, faults } = await visit(browser, look);
  const shot = async (what: string) => {
    await page.waitForTimeout(600);
    await page.screenshot({ path: `${folder}${what}-${name}.png` });
  };
  await page.goto(BASE);
  await page.getByLabel("Password").waitFor();
  await shot("sign-in");
  await signIn(page);
  await page.waitForTimeout(800);
  await shot("servers");
  await openServer(page, NAME);
  await shot("console");
  await search(page);
  await shot("search");
  await page.getByTestId("search").getByRole("button", { name: "Close" }).click();
  for (const tab of ["Graphs", "People", "Activity"]) {
    await page.getByRole("link", { name: tab }).click();
    await shot(tab.toLowerCase());
  }
  for (const where of ["wall", "account"]) {
    await page.goto(`${BASE}/${where}`);
    await page.waitForTimeout(900);
    await shot(where);
  }
  const width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  console.log(name, `scroll width ${width.join(" of ")}`, faults.length === 0 ? "no faults" : faults.slice(0, 3).map((fault) => fault.slice(0, 200)));
  await context.close();
}
await browser.close();

async function search(page: Page): Promise<void> {
  await page.getByTestId("search-toggle").click();
  await page.getByTestId("search-input").fill("harbour");
  await page.keyboard.press("Enter");
  await page.getByTestId("match").first().click();
  await page.getByTestId("context").waitFor();
}
