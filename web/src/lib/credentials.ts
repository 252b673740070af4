// A console's credentials, and why there may be none. Apart from the socket, so that the first page need not load that.

export interface Credentials {
  token: string;
  socket: string;
}

/** The places between a page and a game where a connection can fail. */
export type Hop = "panel" | "token" | "socket" | "auth" | "node";

export class CredentialsFault extends Error {
  constructor(
    readonly hop: Hop,
    message: string,
    /** Asking again makes no sense. */
    readonly final: boolean,
    readonly retryAfterMs: number | null = null,
  ) {
    super(message);
  }
}
