// Runs a TypeScript file of this folder with Vite's own loader: no second compiler for two development programs.
import { runnerImport } from "vite";

const file = process.argv[2];
if (!file) throw new Error("usage: node dev/run.mjs FILE");
await runnerImport(new URL(`../${file}`, import.meta.url).pathname, { configFile: false, logLevel: "error" });
