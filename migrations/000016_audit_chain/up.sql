-- Rows of the audit log form a chain of hashes, which signed checkpoints pin. Connections have a log of their own.

ALTER TABLE audit_logs
    ADD COLUMN sequence      bigint,
    ADD COLUMN previous_hash bytea,
    ADD COLUMN hash          bytea;
-- Rows from before have no place in the chain yet: the program gives them one when it starts, once. What comes in
-- without one afterwards came past the program, and is found when the chain is verified.
ALTER TABLE audit_logs
    ADD CONSTRAINT audit_logs_chained CHECK ((sequence IS NULL) = (previous_hash IS NULL) AND (sequence IS NULL) = (hash IS NULL) AND sequence > 0 AND octet_length(previous_hash) = 32 AND octet_length(hash) = 32);
CREATE UNIQUE INDEX audit_logs_sequence_key ON audit_logs (sequence);
COMMENT ON TABLE  audit_logs               IS 'Who changed what. A row is written in the transaction of the change it describes.';
COMMENT ON COLUMN audit_logs.sequence      IS 'Place in the chain: no number is left out. NULL in rows from before the chain, until the program has started.';
COMMENT ON COLUMN audit_logs.previous_hash IS 'Hash of the row before; zeros for the first.';
COMMENT ON COLUMN audit_logs.hash          IS 'SHA-256 over the previous hash, the sequence and all columns.';

CREATE TABLE audit_chain (
    id         boolean     PRIMARY KEY,
    sequence   bigint      NOT NULL,
    hash       bytea       NOT NULL,
    adopted_at timestamptz,
    CONSTRAINT audit_chain_single         CHECK (id),
    CONSTRAINT audit_chain_sequence_check CHECK (sequence >= 0),
    CONSTRAINT audit_chain_hash_length    CHECK (octet_length(hash) = 32)
);
INSERT INTO audit_chain (id, sequence, hash) VALUES (true, 0, decode(repeat('00', 32), 'hex'));
COMMENT ON COLUMN audit_chain.adopted_at IS 'When rows from before the chain had got their places. NULL = not yet.';
COMMENT ON TABLE audit_chain IS 'The last row of the audit log''s chain. Who appends locks this one row until the commit.';

CREATE TABLE audit_signing_keys (
    id                 uuid        PRIMARY KEY,
    created_at         timestamptz NOT NULL,
    retired_at         timestamptz,
    public_key         bytea       NOT NULL,
    private_key        sealed_text,
    private_key_key_id text,
    CONSTRAINT audit_signing_keys_public_key_length CHECK (octet_length(public_key) = 32),
    CONSTRAINT audit_signing_keys_private_key_fk    FOREIGN KEY (private_key_key_id) REFERENCES dbcrypt_keys (active_key_digest) ON DELETE RESTRICT,
    CONSTRAINT audit_signing_keys_secret_with_key   CHECK (private_key IS NOT NULL OR private_key_key_id IS NULL)
);
CREATE        INDEX audit_signing_keys_private_key_idx ON audit_signing_keys (private_key_key_id);
CREATE UNIQUE INDEX audit_signing_keys_public_key_key  ON audit_signing_keys (public_key);
CREATE UNIQUE INDEX audit_signing_keys_current_key     ON audit_signing_keys ((true)) WHERE retired_at IS NULL AND private_key IS NOT NULL;
COMMENT ON TABLE  audit_signing_keys             IS 'Ed25519 keys that sign checkpoints. Public halves stay for as long as there are checkpoints of theirs.';
COMMENT ON COLUMN audit_signing_keys.retired_at  IS 'NULL = the current key.';
COMMENT ON COLUMN audit_signing_keys.private_key IS 'NULL once it is retired, or lost with the key that sealed it.';

CREATE TABLE audit_checkpoints (
    sequence       bigint      NOT NULL,
    kind           text        NOT NULL,
    hash           bytea       NOT NULL,
    time           timestamptz NOT NULL,
    signing_key_id uuid        NOT NULL,
    signature      bytea       NOT NULL,
    CONSTRAINT audit_checkpoints_pkey             PRIMARY KEY (sequence, kind),
    CONSTRAINT audit_checkpoints_signing_key_fk   FOREIGN KEY (signing_key_id) REFERENCES audit_signing_keys (id) ON DELETE RESTRICT,
    CONSTRAINT audit_checkpoints_kind_known       CHECK (kind IN ('at', 'start')),
    CONSTRAINT audit_checkpoints_sequence_check   CHECK (sequence > 0),
    CONSTRAINT audit_checkpoints_hash_length      CHECK (octet_length(hash) = 32),
    CONSTRAINT audit_checkpoints_signature_length CHECK (octet_length(signature) = 64)
);
CREATE INDEX audit_checkpoints_signing_key_idx ON audit_checkpoints (signing_key_id);
CREATE INDEX audit_checkpoints_kind_idx        ON audit_checkpoints (kind, sequence);
COMMENT ON TABLE  audit_checkpoints      IS 'What the hash of a row was at a time, signed.';
COMMENT ON COLUMN audit_checkpoints.kind IS 'at: the chain had come so far. start: all rows up to this one were removed by retention, the chain goes on after it.';

CREATE TABLE connection_logs (
    id                 uuid         PRIMARY KEY,
    connect_time       timestamptz  NOT NULL,
    organization_id    uuid         NOT NULL,
    workspace_owner_id uuid         NOT NULL,
    workspace_id       uuid         NOT NULL,
    workspace_name     text         NOT NULL,
    agent_name         text         NOT NULL,
    type               text         NOT NULL,
    ip                 inet,
    code               integer,
    user_agent         varchar(256),
    user_id            uuid,
    slug_or_port       text,
    connection_id      uuid,
    disconnect_time    timestamptz,
    disconnect_reason  text,
    CONSTRAINT connection_logs_organization_fk    FOREIGN KEY (organization_id)    REFERENCES organizations (id) ON DELETE CASCADE,
    CONSTRAINT connection_logs_workspace_owner_fk FOREIGN KEY (workspace_owner_id) REFERENCES users (id)         ON DELETE CASCADE,
    CONSTRAINT connection_logs_workspace_fk       FOREIGN KEY (workspace_id)       REFERENCES workspaces (id)    ON DELETE CASCADE,
    CONSTRAINT connection_logs_type_known         CHECK (type IN ('ssh', 'vscode', 'jetbrains', 'reconnecting_pty', 'workspace_app', 'port_forwarding')),
    CONSTRAINT connection_logs_web_never_ends     CHECK (type NOT IN ('workspace_app', 'port_forwarding') OR (connection_id IS NULL AND disconnect_time IS NULL AND disconnect_reason IS NULL))
);
CREATE UNIQUE INDEX connection_logs_connection_key      ON connection_logs (connection_id, workspace_id, agent_name);
CREATE        INDEX connection_logs_newest_idx          ON connection_logs (connect_time DESC, id DESC);
CREATE        INDEX connection_logs_organization_idx    ON connection_logs (organization_id, connect_time DESC);
CREATE        INDEX connection_logs_workspace_owner_idx ON connection_logs (workspace_owner_id, connect_time DESC);
CREATE        INDEX connection_logs_workspace_idx       ON connection_logs (workspace_id);
CREATE        INDEX connection_logs_user_idx            ON connection_logs (user_id);
COMMENT ON TABLE  connection_logs                 IS 'Who connected to which workspace, and until when.';
COMMENT ON COLUMN connection_logs.code            IS 'HTTP status of web connections; exit code of others, once they have ended.';
COMMENT ON COLUMN connection_logs.user_id         IS 'Who opened a web connection; NULL for anonymous ones and for others. No foreign key, history outlives users.';
COMMENT ON COLUMN connection_logs.connection_id   IS 'Made by the agent, unique in an agent only. NULL for web connections, which never collide.';
COMMENT ON COLUMN connection_logs.disconnect_time IS 'NULL = still connected. Of web connections it is not known.';
