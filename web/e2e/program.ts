// The shipped program as a child: started, killed without warning, started again on the same address and folder, and at the end everything of it ended.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Door } from "./browser";

const START_MS = 45_000;
const begun = new Set<Program>();

/** The one line that it prints when it is up. A node says less. */
export interface Greeting {
  url: string;
  key: string;
  demo: string | null;
  sign_in: string | null;
}

export interface ServerMade {
  identifier: string;
  uuid: string;
}

/** `QUARTERDECK_BIN`, else what cargo built of this tree, a release first. */
export function binary(): string {
  const named = process.env.QUARTERDECK_BIN;
  if (named) return resolve(named);
  const built = ["release", "debug"].map((profile) => new URL(`../../target/${profile}/quarterdeck`, import.meta.url).pathname);
  const found = built.find((path) => existsSync(path));
  if (!found) throw new Error("there is no program: cargo build --release --bin quarterdeck, or name one in QUARTERDECK_BIN");
  return found;
}

export class Program {
  greeting: Greeting = { url: "", key: "", demo: null, sign_in: null };
  private child: ChildProcess | null = null;
  private listen = "127.0.0.1:0";

  private constructor(
    private readonly role: "up" | "panel" | "node",
    readonly folder: string,
    private readonly settings: readonly string[],
  ) {}

  /** Makes a folder with these files and starts the program in it, on a free port unless `--listen` is among the settings. */
  static async begin(role: "up" | "panel" | "node", settings: readonly string[] = [], files: Record<string, unknown> = {}): Promise<Program> {
    // Whoever starts this run may name a folder, to find what it left behind if it is cut short.
    const folder = mkdtempSync(join(process.env.QUARTERDECK_E2E_FOLDER ?? tmpdir(), "quarterdeck-e2e-"));
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), JSON.stringify(content), { mode: 0o600 });
    const program = new Program(role, folder, settings);
    if (begun.size === 0) process.once("exit", () => begun.forEach((one) => one.clear()));
    begun.add(program);
    try {
      await program.start();
    } catch (fault) {
      await program.end();
      throw fault;
    }
    return program;
  }

  /** One that runs already and is left as it is. */
  static elsewhere(url: string, key: string): Program {
    const program = new Program("up", "", []);
    program.greeting = { url, key, demo: null, sign_in: null };
    return program;
  }

  get url(): string {
    return this.greeting.url;
  }

  /** Starts it, also again: address and folder are those of the first time. */
  async start(): Promise<void> {
    const { QUARTERDECK_URL: _url, QUARTERDECK_KEY: _key, ...env } = process.env;
    const log = openSync(join(this.folder, "test.log"), "a");
    const listen = this.settings.includes("--listen") ? [] : ["--listen", this.listen];
    const child = spawn(binary(), [this.role, "--json", "--data", this.folder, ...listen, ...this.settings], { env, cwd: this.folder, stdio: ["ignore", "pipe", log] });
    closeSync(log);
    this.child = child;
    const line = await new Promise<string>((resolve, reject) => {
      const fail = (why: string) => reject(new Error(`${this.role} ${why}; its log:\n${this.log()}`));
      const deadline = setTimeout(() => fail("does not come up"), START_MS);
      createInterface({ input: child.stdout as NodeJS.ReadableStream }).once("line", resolve);
      child.once("error", (fault) => fail(String(fault)));
      child.once("exit", (code, signal) => fail(`ended: ${code ?? signal}`));
      child.stdout?.once("data", () => clearTimeout(deadline));
    });
    const greeting = JSON.parse(line) as Partial<Greeting> & { address?: string };
    this.greeting = { url: greeting.url ?? `http://${greeting.address ?? ""}`, key: greeting.key ?? "", demo: greeting.demo ?? null, sign_in: greeting.sign_in ?? null };
    this.listen = new URL(this.greeting.url).host;
  }

  /** Ends it without warning. Its games go on. */
  async kill(): Promise<void> {
    const child = this.child;
    this.child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
  }

  /** Ends it and its games, and deletes its folder. */
  async end(): Promise<void> {
    await this.kill();
    this.clear();
    begun.delete(this);
  }

  /** The same in one go, for when there is no time to wait. */
  private clear(): void {
    this.child?.kill("SIGKILL");
    if (this.folder === "") return;
    sweep(this.folder);
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  log(): string {
    return readFileSync(join(this.folder, "test.log"), "utf8");
  }

  /** A request with the administrator's key; the answer's body. */
  async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await fetch(this.url + path, {
      method,
      headers: { Authorization: `Bearer ${this.greeting.key}`, Accept: "application/json", "Content-Type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return (text === "" ? null : JSON.parse(text)) as T;
  }

  /** Gives the administrator a password, for those that do not come by the link. */
  async door(): Promise<Door> {
    const password = "a password of the tests";
    await this.ask("PATCH", "/api/application/users/admin", { password });
    return { base: this.url, user: "admin", password };
  }

  /** Makes a server. */
  async create(name: string, wanted: Record<string, unknown>): Promise<ServerMade> {
    const made = await this.ask<{ attributes: ServerMade }>("POST", "/api/application/servers", { name, ...wanted });
    return made.attributes;
  }

  /** Makes a server of the deterministic game, and starts it. */
  game(name: string, settings: string, wanted: Record<string, unknown> = {}): Promise<ServerMade> {
    return this.create(name, { command: `{{QUARTERDECK}} fakegame play ${settings}`, ready: ["Done"], stop: "stop", start_on_completion: true, ...wanted });
  }

  command(server: ServerMade, command: string): Promise<null> {
    return this.ask("POST", `/api/client/servers/${server.identifier}/command`, { command });
  }

  /** The newest line of a server's log. */
  async newest(server: ServerMade): Promise<string> {
    const page = await this.ask<{ attributes: { lines: { text: string }[] } }>("GET", `/api/client/servers/${server.identifier}/console/lines?limit=1`);
    return page.attributes.lines[0]?.text ?? "";
  }
}

/** A port that is free now, for a node whose address its panel must know before it starts. */
export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** Games outlive the program. They carry its folder in their environment; their shims end with them. */
function sweep(folder: string): void {
  for (const name of readdirSync("/proc").filter((one) => /^\d+$/.test(one))) {
    try {
      if (readFileSync(`/proc/${name}/environ`).includes(folder)) process.kill(Number(name), "SIGKILL");
    } catch {
      // It has ended meanwhile, or is somebody else's.
    }
  }
}
