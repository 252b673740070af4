-- Ids are text (uuids), times whole milliseconds since 1970, lists and maps JSON in text, numbers shown to people come from
-- `counters`. Nothing here is special to one database.

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('users', 0), ('nodes', 0), ('servers', 0), ('allocations', 0), ('activity', 0);

CREATE TABLE users (
    uuid TEXT PRIMARY KEY,
    number BIGINT NOT NULL UNIQUE,
    external_id TEXT UNIQUE,
    username TEXT NOT NULL UNIQUE,
    email TEXT NOT NULL UNIQUE,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    language TEXT NOT NULL,
    password_hash TEXT,
    root_admin BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE api_keys (
    identifier TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    user_uuid TEXT NOT NULL REFERENCES users (uuid) ON DELETE CASCADE,
    secret_hash TEXT NOT NULL,
    memo TEXT NOT NULL,
    allowed_ips TEXT NOT NULL,
    last_used_at BIGINT,
    expires_at BIGINT,
    created_at BIGINT NOT NULL
);
CREATE INDEX api_keys_by_user ON api_keys (user_uuid, created_at);

CREATE TABLE nodes (
    uuid TEXT PRIMARY KEY,
    number BIGINT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    url TEXT NOT NULL,
    local BOOLEAN NOT NULL,
    maintenance BOOLEAN NOT NULL,
    bind_ip TEXT NOT NULL,
    port_min BIGINT NOT NULL,
    port_max BIGINT NOT NULL,
    token_id TEXT NOT NULL UNIQUE,
    token TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE servers (
    uuid TEXT PRIMARY KEY,
    short TEXT NOT NULL UNIQUE,
    number BIGINT NOT NULL UNIQUE,
    external_id TEXT UNIQUE,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    owner_uuid TEXT NOT NULL REFERENCES users (uuid),
    node_uuid TEXT NOT NULL REFERENCES nodes (uuid),
    status TEXT NOT NULL,
    template TEXT,
    invocation TEXT NOT NULL,
    image TEXT NOT NULL,
    environment TEXT NOT NULL,
    process TEXT NOT NULL,
    build TEXT NOT NULL,
    feature_limits TEXT NOT NULL,
    crash_detection BOOLEAN,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX servers_by_owner ON servers (owner_uuid);
CREATE INDEX servers_by_node ON servers (node_uuid);

CREATE TABLE allocations (
    number BIGINT PRIMARY KEY,
    node_uuid TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
    server_uuid TEXT NOT NULL REFERENCES servers (uuid) ON DELETE CASCADE,
    ip TEXT NOT NULL,
    port BIGINT NOT NULL,
    notes TEXT,
    is_default BOOLEAN NOT NULL,
    -- By node and port: two servers on one port of different addresses are not worth the surprise.
    UNIQUE (node_uuid, port)
);
CREATE INDEX allocations_by_server ON allocations (server_uuid);

CREATE TABLE subusers (
    server_uuid TEXT NOT NULL REFERENCES servers (uuid) ON DELETE CASCADE,
    user_uuid TEXT NOT NULL REFERENCES users (uuid) ON DELETE CASCADE,
    permissions TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (server_uuid, user_uuid)
);
CREATE INDEX subusers_by_user ON subusers (user_uuid);

-- The audit record outlives whom and what it is about: no foreign keys.
CREATE TABLE activity (
    number BIGINT PRIMARY KEY,
    event TEXT NOT NULL,
    server_uuid TEXT,
    user_uuid TEXT,
    api_key TEXT,
    ip TEXT,
    metadata TEXT NOT NULL,
    happened_at BIGINT NOT NULL
);
CREATE INDEX activity_by_server ON activity (server_uuid, number);
CREATE INDEX activity_by_user ON activity (user_uuid, number);
CREATE INDEX activity_by_age ON activity (happened_at);

-- What a node must be told and has not confirmed yet. One row per subject: a newer wish replaces an older one.
CREATE TABLE outbox (
    subject TEXT PRIMARY KEY,
    revision TEXT NOT NULL,
    node_uuid TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
    notice TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    give_up_at BIGINT NOT NULL
);
CREATE INDEX outbox_by_due ON outbox (due_at);
