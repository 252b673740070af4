// Who is signed in, as all pages see it.
import { auth, ApiFault, onSignedOut, type Session } from "./http";
import { t } from "./i18n";

type Phase = "loading" | "unreachable" | "signed-out" | "signed-in";

class CurrentSession {
  phase = $state<Phase>("loading");
  session = $state<Session | null>(null);
  /** True when a session ended while it was used, to say so on the sign-in page. */
  ended = $state(false);

  constructor() {
    onSignedOut(() => {
      this.ended = this.phase === "signed-in";
      this.leave();
    });
  }

  async load(): Promise<void> {
    try {
      this.enter(await auth.session());
    } catch (fault) {
      this.phase = fault instanceof ApiFault && fault.status === 401 ? "signed-out" : "unreachable";
    }
  }

  enter(session: Session): void {
    this.session = session;
    this.ended = false;
    this.phase = "signed-in";
  }

  leave(): void {
    this.session = null;
    this.phase = "signed-out";
  }
}

export const current = new CurrentSession();

/** A fault in words for people. */
export function words(fault: unknown): string {
  if (!(fault instanceof ApiFault)) return t("fault.unknown", { what: String(fault) });
  if (fault.status === 0) return t("fault.unreachable");
  const detail = fault.problems.map((problem) => problem.detail).join(" ") || t("fault.unknown", { what: `HTTP ${fault.status}` });
  return fault.retryAfterMs === null ? detail : t("fault.wait", { detail, n: Math.ceil(fault.retryAfterMs / 1000) });
}
