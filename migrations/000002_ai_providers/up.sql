-- Which AI providers there are, and the deployment's own keys for them.
CREATE TABLE ai_providers (
    id              uuid        PRIMARY KEY,
    type            text        NOT NULL,
    name            text        NOT NULL,
    display_name    text,
    icon            text        NOT NULL DEFAULT '',
    enabled         boolean     NOT NULL DEFAULT true,
    deleted         boolean     NOT NULL DEFAULT false,
    base_url        text        NOT NULL,
    settings        sealed_text,
    settings_key_id text,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    CONSTRAINT ai_providers_settings_key_fk FOREIGN KEY (settings_key_id) REFERENCES dbcrypt_keys (active_key_digest) ON DELETE RESTRICT,
    CONSTRAINT ai_providers_type_known      CHECK (type IN ('openai', 'anthropic', 'azure', 'bedrock', 'google', 'openai-compat', 'openrouter', 'vercel', 'copilot')),
    CONSTRAINT ai_providers_name_check      CHECK (name ~ '^[a-z0-9]+(-[a-z0-9]+)*$' AND length(name) <= 64)
);
-- The name of a deleted provider may be used again.
CREATE UNIQUE INDEX ai_providers_name_unique     ON ai_providers (name) WHERE NOT deleted;
CREATE INDEX        ai_providers_settings_key_idx ON ai_providers (settings_key_id);
COMMENT ON TABLE ai_providers IS 'Deleted rows stay for history and are never resurrected.';

CREATE TABLE ai_provider_keys (
    id             uuid        PRIMARY KEY,
    provider_id    uuid        NOT NULL,
    api_key        sealed_text NOT NULL,
    api_key_key_id text,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    CONSTRAINT ai_provider_keys_provider_fk FOREIGN KEY (provider_id)    REFERENCES ai_providers (id) ON DELETE CASCADE,
    CONSTRAINT ai_provider_keys_key_fk      FOREIGN KEY (api_key_key_id) REFERENCES dbcrypt_keys (active_key_digest) ON DELETE RESTRICT
);
CREATE INDEX ai_provider_keys_provider_idx ON ai_provider_keys (provider_id, created_at, id); -- the order of failover
CREATE INDEX ai_provider_keys_key_idx      ON ai_provider_keys (api_key_key_id);
