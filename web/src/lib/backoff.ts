// How long to wait before the next attempt to connect.

/** 1, 2, 4 … 20 s, each with up to 30 % of chance, so that many pages do not come back in one instant. */
export function waitMs(attempt: number, random: () => number): number {
  const base = Math.min(20_000, 1_000 * 2 ** Math.min(attempt, 5));
  return Math.round(base * (0.85 + 0.3 * random()));
}
