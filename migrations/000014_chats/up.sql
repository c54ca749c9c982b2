-- Chats with agents, and which models they use.

CREATE TABLE chat_model_configs (
    id                    uuid        PRIMARY KEY,
    ai_provider_id        uuid,
    provider              text        NOT NULL,
    model                 text        NOT NULL,
    display_name          text        NOT NULL DEFAULT '',
    created_by            uuid,
    updated_by            uuid,
    enabled               boolean     NOT NULL DEFAULT true,
    is_default            boolean     NOT NULL DEFAULT false,
    deleted               boolean     NOT NULL DEFAULT false,
    deleted_at            timestamptz,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    context_limit         bigint      NOT NULL,
    compression_threshold integer     NOT NULL,
    options               jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT chat_model_configs_ai_provider_fk              FOREIGN KEY (ai_provider_id) REFERENCES ai_providers (id) ON DELETE RESTRICT,
    CONSTRAINT chat_model_configs_created_by_fk               FOREIGN KEY (created_by)     REFERENCES users (id)        ON DELETE SET NULL,
    CONSTRAINT chat_model_configs_updated_by_fk               FOREIGN KEY (updated_by)     REFERENCES users (id)        ON DELETE SET NULL,
    CONSTRAINT chat_model_configs_context_limit_check         CHECK (context_limit > 0),
    CONSTRAINT chat_model_configs_compression_threshold_check CHECK (compression_threshold BETWEEN 0 AND 100),
    CONSTRAINT chat_model_configs_options_object              CHECK (jsonb_typeof(options) = 'object')
);
CREATE UNIQUE INDEX chat_model_configs_default_key     ON chat_model_configs (is_default) WHERE is_default AND NOT deleted;
CREATE        INDEX chat_model_configs_ai_provider_idx ON chat_model_configs (ai_provider_id);
CREATE        INDEX chat_model_configs_created_by_idx  ON chat_model_configs (created_by);
CREATE        INDEX chat_model_configs_updated_by_idx  ON chat_model_configs (updated_by);
COMMENT ON TABLE chat_model_configs IS 'Models that chats may use. Deleted ones stay for chats that used them.';

CREATE TABLE chats (
    id                    uuid        PRIMARY KEY,
    owner_id              uuid        NOT NULL,
    organization_id       uuid        NOT NULL,
    workspace_id          uuid,
    title                 text        NOT NULL DEFAULT 'New Chat',
    status                text        NOT NULL DEFAULT 'waiting',
    worker_id             uuid,
    started_at            timestamptz,
    heartbeat_at          timestamptz,
    created_at            timestamptz NOT NULL,
    updated_at            timestamptz NOT NULL,
    parent_chat_id        uuid,
    root_chat_id          uuid,
    last_model_config_id  uuid        NOT NULL,
    archived              boolean     NOT NULL DEFAULT false,
    last_error            text,
    mode                  text,
    plan_mode             text,
    mcp_server_ids        uuid[]      NOT NULL DEFAULT '{}',
    labels                jsonb       NOT NULL DEFAULT '{}',
    pin_order             integer     NOT NULL DEFAULT 0,
    last_read_message_id  bigint,
    last_injected_context jsonb,
    dynamic_tools         jsonb,
    client_type           text        NOT NULL DEFAULT 'api',
    CONSTRAINT chats_owner_fk             FOREIGN KEY (owner_id)             REFERENCES users (id)              ON DELETE CASCADE,
    CONSTRAINT chats_organization_fk      FOREIGN KEY (organization_id)      REFERENCES organizations (id)      ON DELETE CASCADE,
    CONSTRAINT chats_workspace_fk         FOREIGN KEY (workspace_id)         REFERENCES workspaces (id)         ON DELETE SET NULL,
    CONSTRAINT chats_parent_fk            FOREIGN KEY (parent_chat_id)       REFERENCES chats (id)              ON DELETE SET NULL,
    CONSTRAINT chats_root_fk              FOREIGN KEY (root_chat_id)         REFERENCES chats (id)              ON DELETE SET NULL,
    CONSTRAINT chats_last_model_config_fk FOREIGN KEY (last_model_config_id) REFERENCES chat_model_configs (id) ON DELETE RESTRICT,
    CONSTRAINT chats_status_known         CHECK (status IN ('waiting', 'pending', 'running', 'paused', 'completed', 'error', 'requires_action')),
    CONSTRAINT chats_mode_known           CHECK (mode IN ('computer_use', 'explore')),
    CONSTRAINT chats_plan_mode_known      CHECK (plan_mode IN ('plan')),
    CONSTRAINT chats_client_type_known    CHECK (client_type IN ('ui', 'api')),
    CONSTRAINT chats_labels_object        CHECK (jsonb_typeof(labels) = 'object')
);
CREATE INDEX chats_owner_idx             ON chats (owner_id, updated_at DESC);
CREATE INDEX chats_organization_idx      ON chats (organization_id);
CREATE INDEX chats_workspace_idx         ON chats (workspace_id);
CREATE INDEX chats_parent_idx            ON chats (parent_chat_id);
CREATE INDEX chats_root_idx              ON chats (root_chat_id);
CREATE INDEX chats_last_model_config_idx ON chats (last_model_config_id);
CREATE INDEX chats_pending_idx           ON chats (updated_at) WHERE status = 'pending';
CREATE INDEX chats_labels_idx            ON chats USING gin (labels);
COMMENT ON TABLE  chats                  IS 'Conversations with agents.';
COMMENT ON COLUMN chats.client_type      IS 'Who began it: a page (ui) or a program (api). Chats within a chat have that of their parent.';
COMMENT ON COLUMN chats.worker_id        IS 'The replica that works on it, as long as heartbeat_at is recent.';

CREATE TABLE chat_messages (
    id                   bigserial   PRIMARY KEY,
    chat_id              uuid        NOT NULL,
    model_config_id      uuid,
    created_at           timestamptz NOT NULL,
    created_by           uuid,
    api_key_id           text,
    role                 text        NOT NULL,
    content              jsonb,
    content_version      integer     NOT NULL,
    visibility           text        NOT NULL DEFAULT 'both',
    input_tokens         bigint,
    output_tokens        bigint,
    total_tokens         bigint,
    reasoning_tokens     bigint,
    cache_creation_tokens bigint,
    cache_read_tokens    bigint,
    context_limit        bigint,
    compressed           boolean     NOT NULL DEFAULT false,
    total_cost_micros    bigint,
    runtime_ms           bigint,
    deleted              boolean     NOT NULL DEFAULT false,
    provider_response_id text,
    CONSTRAINT chat_messages_chat_fk          FOREIGN KEY (chat_id)         REFERENCES chats (id)              ON DELETE CASCADE,
    CONSTRAINT chat_messages_model_config_fk  FOREIGN KEY (model_config_id) REFERENCES chat_model_configs (id) ON DELETE RESTRICT,
    CONSTRAINT chat_messages_api_key_fk       FOREIGN KEY (api_key_id)      REFERENCES api_keys (id)           ON DELETE SET NULL,
    CONSTRAINT chat_messages_role_known       CHECK (role IN ('system', 'user', 'assistant', 'tool')),
    CONSTRAINT chat_messages_visibility_known CHECK (visibility IN ('user', 'model', 'both'))
);
CREATE INDEX chat_messages_chat_idx         ON chat_messages (chat_id, id);
CREATE INDEX chat_messages_model_config_idx ON chat_messages (model_config_id);
CREATE INDEX chat_messages_api_key_idx      ON chat_messages (api_key_id);
COMMENT ON TABLE  chat_messages            IS 'What was said in chats.';
COMMENT ON COLUMN chat_messages.api_key_id IS 'The key that began the turn: the gateway is called in its name. Without it the turn cannot go on.';

CREATE TABLE chat_queued_messages (
    id         bigserial   PRIMARY KEY,
    chat_id    uuid        NOT NULL,
    content    jsonb       NOT NULL,
    created_at timestamptz NOT NULL,
    api_key_id text,
    CONSTRAINT chat_queued_messages_chat_fk    FOREIGN KEY (chat_id)    REFERENCES chats (id)    ON DELETE CASCADE,
    CONSTRAINT chat_queued_messages_api_key_fk FOREIGN KEY (api_key_id) REFERENCES api_keys (id) ON DELETE SET NULL
);
CREATE INDEX chat_queued_messages_chat_idx    ON chat_queued_messages (chat_id, id);
CREATE INDEX chat_queued_messages_api_key_idx ON chat_queued_messages (api_key_id);
COMMENT ON TABLE chat_queued_messages IS 'What people said while a chat was busy.';

CREATE TABLE chat_usage_limit_config (
    singleton            boolean     PRIMARY KEY DEFAULT true,
    enabled              boolean     NOT NULL DEFAULT false,
    default_limit_micros bigint      NOT NULL DEFAULT 0,
    period               text        NOT NULL DEFAULT 'month',
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    CONSTRAINT chat_usage_limit_config_one           CHECK (singleton),
    CONSTRAINT chat_usage_limit_config_limit_check   CHECK (default_limit_micros >= 0),
    CONSTRAINT chat_usage_limit_config_period_known  CHECK (period IN ('day', 'week', 'month'))
);
COMMENT ON TABLE chat_usage_limit_config IS 'What people may spend in chats unless their account or group says otherwise. One row.';

CREATE TABLE mcp_server_configs (
    id                           uuid        PRIMARY KEY,
    display_name                 text        NOT NULL,
    slug                         text        NOT NULL,
    description                  text        NOT NULL DEFAULT '',
    url                          text        NOT NULL,
    auth_type                    text        NOT NULL DEFAULT 'none',
    oauth2_client_id             text        NOT NULL DEFAULT '',
    oauth2_client_secret         sealed_text NOT NULL DEFAULT '',
    oauth2_client_secret_key_id  text,
    api_key_header               text        NOT NULL DEFAULT '',
    api_key_value                sealed_text NOT NULL DEFAULT '',
    api_key_value_key_id         text,
    custom_headers               sealed_text NOT NULL DEFAULT '',
    custom_headers_key_id        text,
    enabled                      boolean     NOT NULL DEFAULT true,
    created_at                   timestamptz NOT NULL,
    updated_at                   timestamptz NOT NULL,
    CONSTRAINT mcp_server_configs_slug_key         UNIQUE (slug),
    CONSTRAINT mcp_server_configs_auth_type_known  CHECK (auth_type IN ('none', 'oauth2', 'api_key', 'custom_headers')),
    CONSTRAINT mcp_server_configs_client_secret_fk FOREIGN KEY (oauth2_client_secret_key_id) REFERENCES dbcrypt_keys (active_key_digest) ON DELETE RESTRICT,
    CONSTRAINT mcp_server_configs_api_key_fk       FOREIGN KEY (api_key_value_key_id)        REFERENCES dbcrypt_keys (active_key_digest) ON DELETE RESTRICT,
    CONSTRAINT mcp_server_configs_headers_fk       FOREIGN KEY (custom_headers_key_id)       REFERENCES dbcrypt_keys (active_key_digest) ON DELETE RESTRICT
);
CREATE INDEX mcp_server_configs_client_secret_idx ON mcp_server_configs (oauth2_client_secret_key_id);
CREATE INDEX mcp_server_configs_api_key_idx       ON mcp_server_configs (api_key_value_key_id);
CREATE INDEX mcp_server_configs_headers_idx       ON mcp_server_configs (custom_headers_key_id);
COMMENT ON TABLE mcp_server_configs IS 'MCP servers that the deployment offers to its agents.';

CREATE TABLE mcp_server_user_tokens (
    id                   uuid        PRIMARY KEY,
    mcp_server_config_id uuid        NOT NULL,
    user_id              uuid        NOT NULL,
    access_token         sealed_text NOT NULL,
    access_token_key_id  text,
    refresh_token        sealed_text NOT NULL DEFAULT '',
    refresh_token_key_id text,
    token_type           text        NOT NULL DEFAULT 'Bearer',
    expiry               timestamptz,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    CONSTRAINT mcp_server_user_tokens_server_user_key UNIQUE (mcp_server_config_id, user_id),
    CONSTRAINT mcp_server_user_tokens_server_fk       FOREIGN KEY (mcp_server_config_id) REFERENCES mcp_server_configs (id) ON DELETE CASCADE,
    CONSTRAINT mcp_server_user_tokens_user_fk         FOREIGN KEY (user_id)              REFERENCES users (id)              ON DELETE CASCADE,
    CONSTRAINT mcp_server_user_tokens_access_fk       FOREIGN KEY (access_token_key_id)  REFERENCES dbcrypt_keys (active_key_digest) ON DELETE RESTRICT,
    CONSTRAINT mcp_server_user_tokens_refresh_fk      FOREIGN KEY (refresh_token_key_id) REFERENCES dbcrypt_keys (active_key_digest) ON DELETE RESTRICT
);
CREATE INDEX mcp_server_user_tokens_user_idx    ON mcp_server_user_tokens (user_id);
CREATE INDEX mcp_server_user_tokens_access_idx  ON mcp_server_user_tokens (access_token_key_id);
CREATE INDEX mcp_server_user_tokens_refresh_idx ON mcp_server_user_tokens (refresh_token_key_id);
COMMENT ON TABLE mcp_server_user_tokens IS 'Tokens of users for MCP servers that want OAuth2.';

CREATE OR REPLACE FUNCTION remove_resources_of_deleted_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM mcp_server_user_tokens   WHERE user_id = NEW.id;
    DELETE FROM oauth2_grants            WHERE user_id = NEW.id;
    DELETE FROM api_keys                 WHERE user_id = NEW.id;
    DELETE FROM user_links               WHERE user_id = NEW.id;
    DELETE FROM external_auth_links       WHERE user_id = NEW.id;
    DELETE FROM gitsshkeys                WHERE user_id = NEW.id;
    DELETE FROM user_configs              WHERE user_id = NEW.id;
    DELETE FROM user_secrets             WHERE user_id = NEW.id;
    DELETE FROM user_skills              WHERE user_id = NEW.id;
    DELETE FROM user_ai_provider_keys    WHERE user_id = NEW.id;
    DELETE FROM user_ai_budget_overrides WHERE user_id = NEW.id;
    DELETE FROM group_members            WHERE user_id = NEW.id;
    DELETE FROM organization_members     WHERE user_id = NEW.id;
    RETURN NEW;
END $$;
