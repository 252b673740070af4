// The wire's fixtures, shared with the Rust crates.
import { readdirSync, readFileSync } from "node:fs";

const ROOT = new URL("../../crates/wire/testdata/", import.meta.url);

export function fixture(path: string): string {
  return readFileSync(new URL(path, ROOT), "utf8").trim();
}

export function folder(name: string): { name: string; text: string }[] {
  return readdirSync(new URL(`${name}/`, ROOT))
    .filter((file) => file.endsWith(".json"))
    .map((file) => ({ name: file.replace(/\.json$/, ""), text: fixture(`${name}/${file}`) }));
}

export function table<Row>(path: string): Row[] {
  return JSON.parse(fixture(path)) as Row[];
}
