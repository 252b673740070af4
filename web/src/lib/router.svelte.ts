// Which page an address means, and moving between pages without loading anew.

export type Route =
  | { page: "servers" }
  | { page: "server"; id: string; tab: Tab }
  | { page: "wall" }
  | { page: "account" }
  | { page: "login" }
  | { page: "link" }
  | { page: "lost" };

export const TABS = ["console", "graphs", "people", "activity", "settings"] as const;
export type Tab = (typeof TABS)[number];

export function parse(path: string): Route {
  const [first = "", id = "", tab = ""] = path.split("/").filter((part) => part !== "");
  if (first === "servers" && id !== "") {
    const known = TABS.find((one) => one === (tab || TABS[0]));
    return known ? { page: "server", id: decodeURIComponent(id), tab: known } : { page: "lost" };
  }
  if (first === "wall" || first === "account" || first === "login" || first === "link") return { page: first };
  return { page: first === "" || first === "servers" ? "servers" : "lost" };
}

class Router {
  route = $state<Route>(parse(location.pathname));

  constructor() {
    addEventListener("popstate", () => (this.route = parse(location.pathname)));
    // Links are plain links; those of our own pages are followed here.
    document.addEventListener("click", (click) => {
      if (click.defaultPrevented || click.button !== 0 || click.metaKey || click.ctrlKey || click.shiftKey || click.altKey) return;
      const link = (click.target as Element | null)?.closest("a");
      if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin || link.pathname.startsWith("/api/")) return;
      click.preventDefault();
      this.go(link.pathname + link.search);
    });
  }

  go(address: string, replace = false): void {
    if (replace) history.replaceState(null, "", address);
    else history.pushState(null, "", address);
    this.route = parse(location.pathname);
  }
}

export const router = new Router();
