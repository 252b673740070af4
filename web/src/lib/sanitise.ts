// What of a game's output reaches the terminal: printable text and colours. Everything else is left out or made visible.
//
// A player's chat line is written by a stranger and read in an administrator's browser. So this is a list of what may
// pass, not of what may not: SGR (`ESC [ … m`, digits, `;` and `:` only) and printable characters. Queries, titles,
// clipboard (OSC), DCS, cursor movement and mode switches have no way through. A line arrives whole (never in pieces),
// so there is no state between lines, and each line is ended with a reset: a colour cannot leak into the next.

const ESC = 0x1b;
/** Columns between tab stops, as terminals have them. */
const TAB = 8;
/** A line's length in the terminal, above which the rest stands only in the download: xterm slows down on megabyte lines. */
export const SHOWN_CHARS_MAX = 16384;

export interface Clean {
  /** Text with SGR sequences only. */
  ansi: string;
  /** The same text without any sequence. */
  plain: string;
}

export function sanitise(raw: string, most = SHOWN_CHARS_MAX): Clean {
  let ansi = "";
  let plain = "";
  let column = 0;
  let coloured = false;
  // Colours that hold at the start of the part after a bare CR: progress bars colour once and repaint often.
  let pen = "";
  // A bare CR was read: the next character is painted over the line, or an erase sequence clears it.
  let restart = false;
  const clear = () => {
    ansi = pen;
    plain = "";
    column = 0;
    restart = false;
  };
  const end = Math.min(raw.length, most);
  let painted = raw.length;
  while (painted > 0 && raw.charCodeAt(painted - 1) === 0x0d) painted--;
  let at = 0;
  while (at < end) {
    const code = raw.charCodeAt(at);
    if (restart && prints(code)) clear();
    if (code >= 0x20 && code < 0x7f) {
      ansi += raw[at];
      plain += raw[at];
      column++;
      at++;
    } else if (code === ESC || code === 0x9b) {
      const sequence = skip(raw, at);
      // All of the line, or from its beginning to its end. What is erased in part stays: lines have no cursor here.
      if (raw[sequence.end - 1] === "K") {
        const part = /(\d*)K$/.exec(raw.slice(at, sequence.end))?.[1];
        if (part === "2" || (restart && (part === "" || part === "0"))) clear();
      }
      at = sequence.end;
      if (sequence.sgr !== null) {
        const safe = sgr(sequence.sgr);
        ansi += safe;
        pen = safe === "\x1b[0m" ? "" : pen + safe;
        coloured = true;
      }
    } else if (code === 0x90 || code === 0x98 || code === 0x9d || code === 0x9e || code === 0x9f) {
      at = stringEnd(raw, at + 1);
    } else if (code === 0x09) {
      const spaces = " ".repeat(TAB - (column % TAB));
      ansi += spaces;
      plain += spaces;
      column += spaces.length;
      at++;
    } else if (code === 0x0d) {
      at++;
      // A bare CR repaints the line: what counts is what was painted last. A CR with no text behind it repaints nothing.
      restart = true;
    } else if (code === 0x08) {
      at++;
      if (!restart && plain.length > 0 && ansi.endsWith(plain.slice(-1))) {
        ansi = ansi.slice(0, -1);
        plain = plain.slice(0, -1);
        column--;
      }
    } else if (code < 0x20 || (code >= 0x7f && code < 0xa0)) {
      at++;
    } else if (reorders(code)) {
      // Letters that turn the direction of text make one command look like another.
      ansi += "\ufffd";
      plain += "\ufffd";
      column++;
      at++;
    } else {
      ansi += raw[at];
      plain += raw[at];
      column++;
      at++;
    }
  }
  if (raw.length > end) {
    ansi += " …";
    plain += " …";
  }
  return { ansi: coloured ? `${ansi}\x1b[0m` : ansi, plain };
}

function prints(code: number): boolean {
  return code === 0x09 || (code >= 0x20 && code < 0x7f) || code >= 0xa0;
}

function reorders(code: number): boolean {
  return (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code === 0x200e || code === 0x200f;
}

/** The end of the sequence that begins at `at`, and its parameters when it is an SGR. */
function skip(raw: string, at: number): { end: number; sgr: string | null } {
  let next = at + 1;
  if (raw.charCodeAt(at) === ESC) {
    const kind = raw[next];
    if (kind === undefined) return { end: next, sgr: null };
    if (kind === "]" || kind === "P" || kind === "X" || kind === "^" || kind === "_") return { end: stringEnd(raw, next + 1), sgr: null };
    if (kind !== "[") {
      // Intermediates and one final byte, such as ESC ( B.
      while (next < raw.length && raw.charCodeAt(next) >= 0x20 && raw.charCodeAt(next) <= 0x2f) next++;
      return { end: raw.charCodeAt(next) === ESC ? next : next + 1, sgr: null };
    }
    next++;
  }
  const start = next;
  while (next < raw.length) {
    const code = raw.charCodeAt(next);
    if (code >= 0x40 && code <= 0x7e) {
      const parameters = raw.slice(start, next);
      return { end: next + 1, sgr: raw[next] === "m" && /^[0-9;:]{0,64}$/.test(parameters) ? parameters : null };
    }
    if (code < 0x20 || code > 0x7e) return { end: next, sgr: null };
    next++;
  }
  return { end: next, sgr: null };
}

/** Behind the end of a string sequence (OSC, DCS, …). One without an end takes the line with it, as in a terminal. */
function stringEnd(raw: string, from: number): number {
  for (let at = from; at < raw.length; at++) {
    const code = raw.charCodeAt(at);
    if (code === 0x07 || code === 0x9c) return at + 1;
    if (code === ESC) return raw[at + 1] === "\\" ? at + 2 : at;
  }
  return raw.length;
}

/** An SGR made anew from its parameters. Blinking and concealing are left out: they distract, or hide what was printed. */
function sgr(parameters: string): string {
  const given = parameters === "" ? ["0"] : parameters.split(/[;:]/);
  const kept: string[] = [];
  for (let at = 0; at < given.length && kept.length < 16; at++) {
    const code = Number(given[at] === "" ? "0" : given[at]);
    if (code === 38 || code === 48 || code === 58) {
      const mode = Number(given[at + 1]);
      // With colons a colour space may stand, empty, before the three parts.
      const gap = mode === 2 && given[at + 2] === "" ? 1 : 0;
      const parts = given.slice(at + 2 + gap, at + 2 + gap + (mode === 2 ? 3 : 1)).map(Number);
      const whole = parts.every((part) => Number.isInteger(part) && part >= 0 && part <= 255);
      if (mode === 5 && parts.length === 1 && whole && code !== 58) kept.push(`${code};5;${parts[0]}`);
      if (mode === 2 && parts.length === 3 && whole && code !== 58) kept.push(`${code};2;${parts.join(";")}`);
      at += mode === 2 ? 4 + gap : 2;
    } else if (code <= 4 || code === 7 || code === 9 || (code >= 22 && code <= 24) || code === 27 || code === 29) {
      kept.push(String(code));
    } else if ((code >= 30 && code <= 37) || code === 39 || (code >= 40 && code <= 47) || code === 49) {
      kept.push(String(code));
    } else if ((code >= 90 && code <= 97) || (code >= 100 && code <= 107)) {
      kept.push(String(code));
    }
  }
  return kept.length > 0 ? `\x1b[${kept.join(";")}m` : "";
}
