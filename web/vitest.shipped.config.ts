// Browser tests about faults, against the shipped program that they start, kill and start again themselves: QUARTERDECK_BIN, or what cargo built.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["e2e/shipped/*.e2e.ts"],
    environment: "node",
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Two cores are full with one browser, one program and its games.
    fileParallelism: false,
  },
});
