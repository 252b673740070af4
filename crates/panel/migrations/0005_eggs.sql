-- What servers are made from (definitions of games, in groups), and what follows for servers and their addresses.

INSERT INTO counters (name, value) VALUES ('nests', 0), ('eggs', 0);

CREATE TABLE nests (
    uuid TEXT PRIMARY KEY,
    number BIGINT NOT NULL UNIQUE,
    author TEXT NOT NULL,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE eggs (
    uuid TEXT PRIMARY KEY,
    number BIGINT NOT NULL UNIQUE,
    nest_uuid TEXT NOT NULL REFERENCES nests (uuid),
    name TEXT NOT NULL,
    -- All of it, as JSON; the name stands beside it to be looked for.
    egg TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (nest_uuid, name)
);

ALTER TABLE servers ADD COLUMN egg_uuid TEXT REFERENCES eggs (uuid);
-- 'process' or 'docker'; null is for the node to decide.
ALTER TABLE servers ADD COLUMN runtime TEXT;
ALTER TABLE servers ADD COLUMN skip_scripts BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE servers ADD COLUMN installed_at BIGINT;
-- While this is there the server is as good as gone, and can be brought back until then.
ALTER TABLE servers ADD COLUMN delete_at BIGINT;
-- Of a server that is to be deleted: its name elsewhere is free for another one.
ALTER TABLE servers ADD COLUMN kept_external_id TEXT;
CREATE INDEX servers_by_egg ON servers (egg_uuid);
CREATE INDEX servers_by_deletion ON servers (delete_at);

-- Anew, as addresses may be there without a server from here on, and one port on several addresses.
CREATE TABLE addresses (
    number BIGINT PRIMARY KEY,
    node_uuid TEXT NOT NULL REFERENCES nodes (uuid) ON DELETE CASCADE,
    server_uuid TEXT REFERENCES servers (uuid) ON DELETE CASCADE,
    ip TEXT NOT NULL,
    ip_alias TEXT,
    port BIGINT NOT NULL,
    notes TEXT,
    is_default BOOLEAN NOT NULL,
    -- An administrator made it: it stays when a server leaves it.
    is_pooled BOOLEAN NOT NULL DEFAULT FALSE,
    UNIQUE (node_uuid, ip, port)
);
INSERT INTO addresses (number, node_uuid, server_uuid, ip, port, notes, is_default)
    SELECT number, node_uuid, server_uuid, ip, port, notes, is_default FROM allocations;
DROP TABLE allocations;
ALTER TABLE addresses RENAME TO allocations;
CREATE INDEX allocations_by_server ON allocations (server_uuid);
CREATE INDEX allocations_by_node ON allocations (node_uuid, port);
