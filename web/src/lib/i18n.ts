// Texts by key. A key that is not in en.ts does not compile, nor does a text without its values.
import { en } from "./en";

type Messages = typeof en;
export type Key = keyof Messages;

/** The names in braces of a text: `"{n} lines"` asks for `n`. */
type Names<Text extends string> = Text extends `${string}{${infer Name}}${infer Rest}` ? Name | Names<Rest> : never;
/** What a text is given besides its key. */
export type Values<Text extends string> = Names<Text> extends never ? [] : [values: Record<Names<Text>, string | number>];

export function t<K extends Key>(key: K, ...values: Values<Messages[K]>): string {
  return fill(en[key], values[0]);
}

/**
 * The text with its values in place. `one | many` is chosen by the value `n`.
 */
export function fill(text: string, given: Record<string, string | number> = {}): string {
  const forms = text.split(" | ");
  const form = forms.length > 1 && given.n !== 1 ? (forms[1] as string) : (forms[0] as string);
  return form.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = given[name];
    return value === undefined ? whole : typeof value === "number" ? value.toLocaleString("en") : value;
  });
}
