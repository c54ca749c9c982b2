-- By what gateway daemons prove to this deployment who they are. Who holds one is trusted with the keys of all
-- AI providers.
CREATE TABLE ai_gateway_keys (
    id            uuid        PRIMARY KEY,
    created_at    timestamptz NOT NULL,
    name          varchar(64) NOT NULL,
    secret_prefix varchar(11) NOT NULL,
    hashed_secret bytea       NOT NULL,
    last_used_at  timestamptz,
    CONSTRAINT ai_gateway_keys_name_check   CHECK (name ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    CONSTRAINT ai_gateway_keys_prefix_check CHECK (length(secret_prefix) = 11),
    CONSTRAINT ai_gateway_keys_hash_check   CHECK (length(hashed_secret) = 32)
);
CREATE UNIQUE INDEX ai_gateway_keys_name_unique   ON ai_gateway_keys (lower(name));
CREATE UNIQUE INDEX ai_gateway_keys_prefix_unique ON ai_gateway_keys (secret_prefix);
CREATE UNIQUE INDEX ai_gateway_keys_hash_unique   ON ai_gateway_keys (hashed_secret);
COMMENT ON COLUMN ai_gateway_keys.secret_prefix IS 'The visible beginning of the key, cgw_ and seven characters.';
COMMENT ON COLUMN ai_gateway_keys.hashed_secret IS 'SHA-256 of the whole key, which is random and shown once.';
COMMENT ON COLUMN ai_gateway_keys.last_used_at  IS 'Up to a minute behind.';
