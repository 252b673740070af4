// Dark or light: what was chosen here, else what the system prefers. Apart from other settings, since every page needs it.

export type Theme = "dark" | "light";
const KEY = "quarterdeck.theme";

function chosen(): Theme | null {
  try {
    const kept = localStorage.getItem(KEY);
    return kept === "dark" || kept === "light" ? kept : null;
  } catch {
    return null;
  }
}

class CurrentTheme {
  name = $state<Theme>("dark");

  constructor() {
    const light = matchMedia("(prefers-color-scheme: light)");
    const follow = () => this.show(chosen() ?? (light.matches ? "light" : "dark"));
    light.addEventListener("change", follow);
    follow();
  }

  toggle(): void {
    this.show(this.name === "dark" ? "light" : "dark");
    try {
      localStorage.setItem(KEY, this.name);
    } catch {
      // Then it holds as long as the page.
    }
  }

  private show(name: Theme): void {
    this.name = name;
    document.documentElement.dataset.theme = name;
  }
}

export const theme = new CurrentTheme();
