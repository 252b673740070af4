// Web addresses in a console's lines: what counts as one, and how it is opened.
import { WebLinksAddon } from "@xterm/addon-web-links";

/** The add-on's own expression, and brackets as long as they are closed again: "(see https://example.com/a_(b))" ends behind "b)". */
export const ADDRESS = /(https?|HTTPS?):[/]{2}(?:[^\s"'!*(){}|\\^<>`]|\([^\s"'!*(){}|\\^<>`]{0,200}\))*(?:[^\s"':,.!?{}|\\^~[\]`()<>]|\([^\s"'!*(){}|\\^<>`]{0,200}\))/;

export function webLinks(): WebLinksAddon {
  return new WebLinksAddon((_, address) => openLink(address), { urlRegex: ADDRESS });
}

/** Only web addresses: a game decides what stands in a line. */
function openLink(address: string): void {
  if (/^https?:\/\//i.test(address)) window.open(address, "_blank", "noopener,noreferrer");
}
