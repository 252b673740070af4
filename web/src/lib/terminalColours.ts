// The sixteen colours of a console, tuned to the two themes, and the ground taken from the tokens.
import type { ITheme } from "@xterm/xterm";

function token(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function ground(): ITheme {
  return {
    background: token("--console-ground"),
    foreground: token("--console-text"),
    cursor: token("--console-ground"),
    selectionBackground: token("--console-select"),
    selectionInactiveBackground: token("--console-select"),
    overviewRulerBorder: token("--console-ground"),
    scrollbarSliderBackground: `${token("--text-faint")}55`,
    scrollbarSliderHoverBackground: `${token("--text-faint")}88`,
    scrollbarSliderActiveBackground: `${token("--text-faint")}aa`,
  };
}

export function darkColours(): ITheme {
  return {
    ...ground(),
    black: "#3a474e", red: "#ee8279", green: "#7cc99b", yellow: "#e3b261", blue: "#7fb4e6", magenta: "#c9a0dc", cyan: "#74c7c9", white: "#d5dee1",
    brightBlack: "#8395a0", brightRed: "#ff9d94", brightGreen: "#9ae0b6", brightYellow: "#f2cb86", brightBlue: "#a3cbf2", brightMagenta: "#ddbceb", brightCyan: "#9adfe0", brightWhite: "#ffffff",
  };
}

export function lightColours(): ITheme {
  return {
    ...ground(),
    black: "#1c2a31", red: "#b02a20", green: "#17704a", yellow: "#855a0c", blue: "#1c5f98", magenta: "#7c3d91", cyan: "#0f6a70", white: "#5a6d77",
    brightBlack: "#5a6d77", brightRed: "#c9372c", brightGreen: "#1d8257", brightYellow: "#94650f", brightBlue: "#2a6fae", brightMagenta: "#8e4aa5", brightCyan: "#157a80", brightWhite: "#34454d",
  };
}
