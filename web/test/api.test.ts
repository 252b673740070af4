// What the panel tells of a server, read as it is told.
import { expect, test } from "vitest";
import { server } from "../src/lib/api";

const told = {
  uuid: "1a2b3c4d-0000-4000-8000-000000000000",
  identifier: "1a2b3c4d",
  name: "Survival",
  description: "",
  is_suspended: true,
  server_owner: false,
  known_commands: ["help"],
  limits: { memory: 64, swap: 0 },
  relationships: {
    allocations: {
      data: [
        { object: "allocation", attributes: { ip: "10.0.0.1", ip_alias: null, port: 1, is_default: false } },
        { object: "allocation", attributes: { ip: "10.0.0.1", ip_alias: "play.example", port: 25565, is_default: true } },
      ],
    },
  },
};

test("a server's address is its main one, by the name players know", () => {
  const read = server({ attributes: told, meta: { user_permissions: ["control.console"] } });
  expect(read.address).toBe("play.example:25565");
  expect(read).toMatchObject({ suspended: true, owner: false, commands: ["help"], memoryLimit: 67_108_864, permissions: ["control.console"] });
});

test("what is not told is not made up", () => {
  const { known_commands: _, relationships: __, limits: ___, ...bare } = told;
  const read = server({ attributes: bare });
  expect(read).toMatchObject({ address: null, commands: [], memoryLimit: null });
});
