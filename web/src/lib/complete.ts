// Completion of a command: from what was typed here before, the game's known commands, and the names of players seen.

export interface Completion {
  /** The whole input with each suggestion, best first. */
  suggestions: readonly string[];
  /** What all suggestions begin with: as far as Tab goes at once. */
  common: string;
}

export const SUGGESTIONS_MAX = 8;

export function complete(input: string, typed: readonly string[], known: readonly string[], words: readonly string[] = []): Completion {
  if (input === "") return { suggestions: [], common: "" };
  const found = new Set<string>();
  // The newest of what was typed is the likeliest.
  for (let at = typed.length - 1; at >= 0; at--) offer(found, typed[at] as string, input);
  for (const command of known) offer(found, command, input);
  // Inside of a command the last word is completed by words that stood in commands or in the console.
  const space = input.lastIndexOf(" ");
  const last = input.slice(space + 1);
  if (space >= 0 && last !== "") for (const word of words) offer(found, input.slice(0, space + 1) + word, input);
  const suggestions = [...found].slice(0, SUGGESTIONS_MAX);
  return { suggestions, common: suggestions.length === 0 ? input : commonStart(suggestions, input.length) };
}

function offer(found: Set<string>, candidate: string, input: string): void {
  if (candidate.length > input.length && candidate.toLowerCase().startsWith(input.toLowerCase())) found.add(candidate);
}

function commonStart(texts: readonly string[], least: number): string {
  let common = texts[0] ?? "";
  for (const text of texts) {
    let length = 0;
    while (length < common.length && common[length]?.toLowerCase() === text[length]?.toLowerCase()) length++;
    common = common.slice(0, length);
  }
  return common.slice(0, Math.max(common.length, least));
}

/** Words that look like names in a line, such as players: letters, digits and `_`, 3 to 16 of them, with a capital or after a mark. */
export function names(line: string): string[] {
  return line.match(/(?<=<|^|\s|\[)[A-Z][A-Za-z0-9_]{2,15}(?=>|\s|$|\]|:)/g) ?? [];
}
