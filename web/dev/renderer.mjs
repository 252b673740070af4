// A server for the screenshots whose figures move: it renders maps that nobody will look at, now more of them, now fewer.
import { appendFileSync } from "node:fs";

const held = [];
let region = 0;

console.log("Map renderer 2.4.1, 2 workers");
console.log("Done: watching the world for changes");
process.stdin.on("data", (line) => /^stop/.test(String(line)) && process.exit(0));

function render() {
  const began = Date.now();
  const load = 0.5 + 0.4 * Math.sin(began / 9_000) + 0.1 * Math.sin(began / 1_700);
  while (Date.now() - began < 130 * load) Math.hypot(Math.random(), Math.random());
  held.push(Buffer.alloc(400_000 * load, 1));
  if (held.length > 60 + 40 * Math.sin(began / 14_000)) held.splice(0, 2);
  if (++region % 12 === 0) {
    appendFileSync("tiles.dat", Buffer.alloc(90_000, region));
    console.log(`\x1b[32m[render]\x1b[0m region r.${(region * 7) % 23 - 11}.${(region * 5) % 17 - 8}: 1024 chunks, ${Math.round(40 + load * 310)} ms`);
  }
}
setInterval(render, 250);
