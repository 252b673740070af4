// Texts by key. A key that is not in en.ts does not compile, nor does a text without its values.
import { en } from "./en";

type Messages = typeof en;
export type Key = keyof Messages;

/** The names in braces of a text: `"{n} lines"` asks for `n`. */
type Names<Text extends string> = Text extends `${string}{${infer Name}}${infer Rest}` ? Name | Names<Rest> : never;
type Values<K extends Key> = Names<Messages[K]> extends never ? [] : [values: Record<Names<Messages[K]>, string | number>];

/**
 * The text with its values in place. `one | many` is chosen by the value `n`.
 */
export function t<K extends Key>(key: K, ...values: Values<K>): string {
  const given = (values[0] ?? {}) as Record<string, string | number>;
  const forms = en[key].split(" | ");
  const form = forms.length > 1 && given.n !== 1 ? (forms[1] as string) : (forms[0] as string);
  return form.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = given[name];
    return value === undefined ? whole : typeof value === "number" ? value.toLocaleString("en") : value;
  });
}
