// Checks the built files against the budgets: what the first page loads, and the console's chunk, both as gzip.
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const FIRST_LOAD_MAX = 30 * 1024;
const CONSOLE_MAX = 200 * 1024;

const dist = new URL("../dist/", import.meta.url);
const assets = readdirSync(new URL("assets/", dist));
const size = (path) => gzipSync(readFileSync(new URL(path, dist)), { level: 9 }).length;
const named = (...names) => assets.filter((file) => names.some((name) => file.startsWith(`${name}-`)) && /\.(js|css)$/.test(file)).map((file) => `assets/${file}`);

// The first page is sign-in: index.html, what it names, and the page's own chunk with the chunks that one imports.
const html = readFileSync(new URL("index.html", dist), "utf8");
const entry = [...html.matchAll(/(?:src|href)="\/(assets\/[^"]+\.(?:js|css))"/g)].map((match) => match[1]);
const first = closure(["index.html", ...entry, ...named("Login")]);
// The console is what opening a server adds: its page, the connection and the terminal.
const console_ = closure([...named("Server", "Terminal", "ConsoleTab", "liveConsole.svelte", "liveConsole")]).filter((file) => !first.includes(file));

function closure(files) {
  const all = new Set(files);
  for (const file of all) {
    if (!file.endsWith(".js")) continue;
    for (const match of readFileSync(new URL(file, dist), "utf8").matchAll(/(?:from|import)\s*"\.\/([^"]+\.js)"/g)) all.add(`assets/${match[1]}`);
  }
  return [...all];
}

let failed = false;
function check(name, files, most) {
  const total = files.reduce((sum, file) => sum + size(file), 0);
  failed ||= total > most;
  console.log(`${total > most ? "OVER" : "ok  "} ${name}: ${(total / 1024).toFixed(1)} of ${(most / 1024).toFixed(0)} KiB gzip`);
  for (const file of files) console.log(`       ${String(size(file)).padStart(6)}  ${file}`);
}

check("first load", first, FIRST_LOAD_MAX);
check("console", console_, CONSOLE_MAX);
if (failed) process.exitCode = 1;
