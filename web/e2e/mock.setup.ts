// Starts the mock panel for the browser tests and ends it after them.
import { spawn } from "node:child_process";

export default async function setup(): Promise<() => void> {
  const port = "8790";
  process.env.MOCK_BASE = `http://127.0.0.1:${port}`;
  const folder = new URL("..", import.meta.url).pathname;
  const mock = spawn(process.execPath, ["dev/run.mjs", "dev/mock.ts"], { cwd: folder, env: { ...process.env, MOCK_PORT: port }, stdio: ["ignore", "pipe", "inherit"] });
  await new Promise<void>((resolve, reject) => {
    mock.stdout.once("data", () => resolve());
    mock.once("exit", (code) => reject(new Error(`the mock ended: ${code}`)));
  });
  return () => {
    mock.kill();
  };
}
