-- People sign in from browsers. Of every secret only a digest is kept; a two-factor secret is needed itself, to compute with.

CREATE TABLE sessions (
    digest TEXT PRIMARY KEY,
    user_uuid TEXT NOT NULL REFERENCES users (uuid) ON DELETE CASCADE,
    ip TEXT NOT NULL,
    agent TEXT NOT NULL,
    -- A newer secret has taken its place; requests that were under way may still use it for a moment.
    is_replaced BOOLEAN NOT NULL,
    signed_in_at BIGINT NOT NULL,
    issued_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_uuid);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE sign_in_links (
    digest TEXT PRIMARY KEY,
    user_uuid TEXT NOT NULL REFERENCES users (uuid) ON DELETE CASCADE,
    expires_at BIGINT NOT NULL
);

CREATE TABLE recovery_codes (
    user_uuid TEXT NOT NULL REFERENCES users (uuid) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    PRIMARY KEY (user_uuid, digest)
);

-- Offered, then confirmed by a code; the step of the last code that was taken, so that none is taken twice.
ALTER TABLE users ADD COLUMN totp_secret TEXT;
ALTER TABLE users ADD COLUMN totp_confirmed BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE users ADD COLUMN totp_step BIGINT NOT NULL DEFAULT 0;
