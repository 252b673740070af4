// How the UI is built and served while it is being worked on; the API behind it is the mock, or QUARTERDECK_URL.
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

const panel = process.env.QUARTERDECK_URL ?? "http://127.0.0.1:8787";

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: "es2022",
    // One asset is one file with a hash in its name: the CSP knows no data: for anything but images.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: { port: 5173, proxy: { "/api": { target: panel, ws: true, changeOrigin: false } } },
  test: { include: ["test/**/*.test.ts"], environment: "node" },
});
