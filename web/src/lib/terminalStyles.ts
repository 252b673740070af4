// Lets xterm style itself under a CSP without 'unsafe-inline'.
//
// xterm's DOM renderer writes `<style>` elements and, for colours beyond its classes, `style` attributes. A strict CSP
// ignores both. Constructed style sheets and the CSSOM are allowed, since only script that runs already can use them.
// So while a terminal is opened (only then), `style` elements are made that feed constructed sheets; and a span's `style`
// attribute is set through `cssText`, which has the same effect.

function styleElement(): HTMLElement {
  const sheet = new CSSStyleSheet();
  const element = document.createElementNS("http://www.w3.org/1999/xhtml", "qd-style") as HTMLElement;
  element.hidden = true;
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  const write = (css: string) => sheet.replaceSync(css);
  Object.defineProperty(element, "textContent", { set: write, get: () => "" });
  Object.defineProperty(element, "innerText", { set: write, get: () => "" });
  Object.defineProperty(element, "sheet", { get: () => sheet });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}

/** Runs `open` while `createElement("style")` gives elements that a strict CSP does not ignore. */
export function whileStyling<T>(open: () => T): T {
  const make = Document.prototype.createElement;
  document.createElement = ((tag: string) => (tag === "style" ? styleElement() : make.call(document, tag))) as Document["createElement"];
  try {
    return open();
  } finally {
    delete (document as Partial<Document>).createElement;
  }
}

/** Spans of the whole page, because xterm's row renderer takes no other document than the page's own. */
export function styleSpansThroughCssom(): void {
  HTMLSpanElement.prototype.setAttribute = function (name: string, value: string): void {
    if (name === "style") this.style.cssText = value;
    else Element.prototype.setAttribute.call(this, name, value);
  };
}
