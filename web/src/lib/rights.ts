// What somebody may do on a shared server, in plain words: five groups that stand for the panel's permissions.
import type { MoreKey } from "./say";

export interface Right {
  name: "see" | "type" | "power" | "activity" | "share";
  label: Extract<MoreKey, `people.${"see" | "type" | "power" | "activity" | "share"}`>;
  permissions: readonly string[];
}

export const RIGHTS: readonly Right[] = [
  { name: "see", label: "people.see", permissions: ["websocket.connect"] },
  { name: "type", label: "people.type", permissions: ["control.console"] },
  { name: "power", label: "people.power", permissions: ["control.start", "control.stop", "control.restart"] },
  { name: "activity", label: "people.activity", permissions: ["activity.read"] },
  { name: "share", label: "people.share", permissions: ["user.read", "user.create", "user.update", "user.delete"] },
];

export function has(permissions: readonly string[], right: Right): boolean {
  return permissions.includes("*") || right.permissions.every((one) => permissions.includes(one));
}

/** The permissions of a group that are held when not all of them are; else none. */
export function partOf(permissions: readonly string[], right: Right): string[] {
  return has(permissions, right) ? [] : right.permissions.filter((one) => permissions.includes(one));
}

/** The permissions with a right given or taken; those that no group stands for stay as they are. */
export function change(permissions: readonly string[], right: Right, given: boolean): string[] {
  const rest = permissions.filter((one) => !right.permissions.includes(one));
  return given ? [...rest, ...right.permissions] : rest;
}

/** The same for a single permission. */
export function changeOne(permissions: readonly string[], permission: string, given: boolean): string[] {
  const rest = permissions.filter((one) => one !== permission);
  return given ? [...rest, permission] : rest;
}

/** The permissions that are held and that no group stands for. */
export function others(permissions: readonly string[]): string[] {
  const named = new Set(RIGHTS.flatMap((right) => right.permissions));
  return permissions.filter((one) => !named.has(one));
}
