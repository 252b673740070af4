// Development: the mock panel (unless QUARTERDECK_URL names another) and Vite's server in front of it.
import { createServer } from "vite";

if (!process.env.QUARTERDECK_URL) await import("./mock");
const server = await createServer();
await server.listen();
server.printUrls();
