// Browser tests: against QUARTERDECK_URL, or against the mock with the built files, which is started here.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["e2e/*.e2e.ts"],
    environment: "node",
    globalSetup: process.env.QUARTERDECK_URL ? [] : ["e2e/mock.setup.ts"],
    testTimeout: 60_000,
    hookTimeout: 30_000,
    // One browser and one panel: tests that make trouble would disturb each other.
    fileParallelism: false,
  },
});
