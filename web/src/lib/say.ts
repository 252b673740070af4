// As `t`, for the texts that come with the pages behind the sign-in. The first page must not import this.
import { more } from "./enMore";
import { fill, type Values } from "./i18n";

type Messages = typeof more;
export type MoreKey = keyof Messages;

export function say<K extends MoreKey>(key: K, ...values: Values<Messages[K]>): string {
  return fill(more[key], values[0]);
}
