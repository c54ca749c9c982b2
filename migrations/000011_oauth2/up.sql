-- The OAuth2 authorization server: its clients, what people granted them, and what was issued under a grant.

CREATE TABLE oauth2_provider_apps (
    id                         uuid         PRIMARY KEY,
    created_at                 timestamptz  NOT NULL,
    updated_at                 timestamptz  NOT NULL,
    name                       varchar(64)  NOT NULL,
    icon                       varchar(256) NOT NULL DEFAULT '',
    callback_url               text         NOT NULL,
    redirect_uris              text[]       NOT NULL DEFAULT '{}',
    client_type                text         NOT NULL DEFAULT 'confidential',
    dynamically_registered     boolean      NOT NULL DEFAULT false,
    client_id_issued_at        timestamptz,
    client_secret_expires_at   timestamptz,
    grant_types                text[]       NOT NULL DEFAULT '{authorization_code,refresh_token}',
    response_types             text[]       NOT NULL DEFAULT '{code}',
    token_endpoint_auth_method text         NOT NULL DEFAULT 'client_secret_basic',
    scope                      text         NOT NULL DEFAULT '',
    contacts                   text[]       NOT NULL DEFAULT '{}',
    client_uri                 text,
    logo_uri                   text,
    tos_uri                    text,
    policy_uri                 text,
    jwks_uri                   text,
    jwks                       jsonb,
    software_id                text,
    software_version           text,
    registration_access_token  bytea,
    registration_client_uri    text,
    registered_from_ip         inet,
    last_used_at               timestamptz,
    CONSTRAINT oauth2_provider_apps_name_check        CHECK (name <> ''),
    CONSTRAINT oauth2_provider_apps_client_type_known CHECK (client_type IN ('confidential', 'public')),
    CONSTRAINT oauth2_provider_apps_auth_method_known CHECK (token_endpoint_auth_method IN ('client_secret_basic', 'client_secret_post', 'none')),
    CONSTRAINT oauth2_provider_apps_registration_hash CHECK (length(registration_access_token) = 32)
);
CREATE INDEX oauth2_provider_apps_name_idx      ON oauth2_provider_apps (lower(name), id);
CREATE INDEX oauth2_provider_apps_last_used_idx ON oauth2_provider_apps (last_used_at, created_at) WHERE dynamically_registered;
COMMENT ON TABLE  oauth2_provider_apps       IS 'OAuth2 clients, made by administrators or registered by themselves (RFC 7591). The id is the client_id.';
COMMENT ON COLUMN oauth2_provider_apps.name  IS 'Not unique: clients that register themselves may have the same.';
COMMENT ON COLUMN oauth2_provider_apps.scope IS 'Scopes that the client may ask for, separated by spaces; empty = no limit.';
COMMENT ON COLUMN oauth2_provider_apps.registration_access_token IS 'SHA-256 of the token by which a client manages its registration (RFC 7592).';

CREATE TABLE oauth2_provider_app_secrets (
    id             uuid        PRIMARY KEY,
    created_at     timestamptz NOT NULL,
    last_used_at   timestamptz,
    secret_prefix  bytea       NOT NULL,
    hashed_secret  bytea       NOT NULL,
    display_secret text        NOT NULL,
    app_id         uuid        NOT NULL,
    CONSTRAINT oauth2_provider_app_secrets_prefix_key UNIQUE (secret_prefix),
    CONSTRAINT oauth2_provider_app_secrets_app_fk     FOREIGN KEY (app_id) REFERENCES oauth2_provider_apps (id) ON DELETE CASCADE,
    CONSTRAINT oauth2_provider_app_secrets_hash_check CHECK (length(hashed_secret) = 32)
);
CREATE INDEX oauth2_provider_app_secrets_app_idx ON oauth2_provider_app_secrets (app_id, created_at, id);
COMMENT ON TABLE  oauth2_provider_app_secrets                IS 'Secrets of confidential clients: SHA-256, the secret itself is shown once.';
COMMENT ON COLUMN oauth2_provider_app_secrets.display_secret IS 'The last characters, by which people tell secrets apart.';

CREATE TABLE oauth2_grants (
    id            uuid        PRIMARY KEY,
    app_id        uuid        NOT NULL,
    user_id       uuid        NOT NULL,
    scope         text        NOT NULL,
    audience      text[]      NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL,
    last_used_at  timestamptz,
    revoked_at    timestamptz,
    revoke_reason text,
    CONSTRAINT oauth2_grants_app_fk       FOREIGN KEY (app_id)  REFERENCES oauth2_provider_apps (id) ON DELETE CASCADE,
    CONSTRAINT oauth2_grants_user_fk      FOREIGN KEY (user_id) REFERENCES users (id)                ON DELETE CASCADE,
    CONSTRAINT oauth2_grants_scope_check  CHECK (scope <> ''),
    CONSTRAINT oauth2_grants_revoked_both CHECK ((revoked_at IS NULL) = (revoke_reason IS NULL))
);
CREATE INDEX oauth2_grants_app_idx  ON oauth2_grants (app_id, user_id);
CREATE INDEX oauth2_grants_user_idx ON oauth2_grants (user_id);
COMMENT ON TABLE oauth2_grants IS 'What a user consented to: the family of the codes and tokens that were issued under it, which are revoked together.';

CREATE TABLE oauth2_provider_app_codes (
    id                    uuid        PRIMARY KEY,
    created_at            timestamptz NOT NULL,
    expires_at            timestamptz NOT NULL,
    consumed_at           timestamptz,
    secret_prefix         bytea       NOT NULL,
    hashed_secret         bytea       NOT NULL,
    app_id                uuid        NOT NULL,
    user_id               uuid        NOT NULL,
    grant_id              uuid        NOT NULL,
    scope                 text        NOT NULL,
    resource_uri          text,
    code_challenge        text,
    code_challenge_method text,
    state_hash            text,
    redirect_uri          text,
    CONSTRAINT oauth2_provider_app_codes_prefix_key   UNIQUE (secret_prefix),
    CONSTRAINT oauth2_provider_app_codes_app_fk       FOREIGN KEY (app_id)   REFERENCES oauth2_provider_apps (id) ON DELETE CASCADE,
    CONSTRAINT oauth2_provider_app_codes_user_fk      FOREIGN KEY (user_id)  REFERENCES users (id)                ON DELETE CASCADE,
    CONSTRAINT oauth2_provider_app_codes_grant_fk     FOREIGN KEY (grant_id) REFERENCES oauth2_grants (id)        ON DELETE CASCADE,
    CONSTRAINT oauth2_provider_app_codes_hash_check   CHECK (length(hashed_secret) = 32),
    CONSTRAINT oauth2_provider_app_codes_scope_check  CHECK (scope <> ''),
    CONSTRAINT oauth2_provider_app_codes_method_known CHECK (code_challenge_method IN ('S256', 'plain'))
);
CREATE INDEX oauth2_provider_app_codes_app_idx     ON oauth2_provider_app_codes (app_id, user_id);
CREATE INDEX oauth2_provider_app_codes_user_idx    ON oauth2_provider_app_codes (user_id);
CREATE INDEX oauth2_provider_app_codes_grant_idx   ON oauth2_provider_app_codes (grant_id);
CREATE INDEX oauth2_provider_app_codes_expires_idx ON oauth2_provider_app_codes (expires_at);
COMMENT ON TABLE  oauth2_provider_app_codes             IS 'Authorization codes. Used ones stay until they expire, so that a second use is noticed.';
COMMENT ON COLUMN oauth2_provider_app_codes.state_hash  IS 'SHA-256 of the request''s state, when it had one.';

CREATE TABLE oauth2_provider_app_tokens (
    id            uuid        PRIMARY KEY,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    rotated_at    timestamptz,
    hash_prefix   bytea       NOT NULL,
    refresh_hash  bytea       NOT NULL,
    app_id        uuid        NOT NULL,
    app_secret_id uuid,
    api_key_id    text,
    user_id       uuid        NOT NULL,
    grant_id      uuid        NOT NULL,
    parent_id     uuid,
    audience      text,
    scope         text        NOT NULL,
    CONSTRAINT oauth2_provider_app_tokens_prefix_key  UNIQUE (hash_prefix),
    CONSTRAINT oauth2_provider_app_tokens_app_fk      FOREIGN KEY (app_id)        REFERENCES oauth2_provider_apps (id)        ON DELETE CASCADE,
    CONSTRAINT oauth2_provider_app_tokens_secret_fk   FOREIGN KEY (app_secret_id) REFERENCES oauth2_provider_app_secrets (id) ON DELETE CASCADE,
    CONSTRAINT oauth2_provider_app_tokens_api_key_fk  FOREIGN KEY (api_key_id)    REFERENCES api_keys (id)                    ON DELETE CASCADE,
    CONSTRAINT oauth2_provider_app_tokens_user_fk     FOREIGN KEY (user_id)       REFERENCES users (id)                       ON DELETE CASCADE,
    CONSTRAINT oauth2_provider_app_tokens_grant_fk    FOREIGN KEY (grant_id)      REFERENCES oauth2_grants (id)               ON DELETE CASCADE,
    CONSTRAINT oauth2_provider_app_tokens_parent_fk   FOREIGN KEY (parent_id)     REFERENCES oauth2_provider_app_tokens (id)  ON DELETE SET NULL,
    CONSTRAINT oauth2_provider_app_tokens_hash_check  CHECK (length(refresh_hash) = 32),
    CONSTRAINT oauth2_provider_app_tokens_scope_check CHECK (scope <> '')
);
CREATE INDEX oauth2_provider_app_tokens_app_idx     ON oauth2_provider_app_tokens (app_id, user_id);
CREATE INDEX oauth2_provider_app_tokens_secret_idx  ON oauth2_provider_app_tokens (app_secret_id);
CREATE INDEX oauth2_provider_app_tokens_api_key_idx ON oauth2_provider_app_tokens (api_key_id);
CREATE INDEX oauth2_provider_app_tokens_user_idx    ON oauth2_provider_app_tokens (user_id);
CREATE INDEX oauth2_provider_app_tokens_grant_idx   ON oauth2_provider_app_tokens (grant_id);
CREATE INDEX oauth2_provider_app_tokens_parent_idx  ON oauth2_provider_app_tokens (parent_id);
CREATE INDEX oauth2_provider_app_tokens_expires_idx ON oauth2_provider_app_tokens (expires_at);
COMMENT ON TABLE  oauth2_provider_app_tokens            IS 'Refresh tokens, each with the API key that is its access token. Rotated ones stay, so that a second use is noticed.';
COMMENT ON COLUMN oauth2_provider_app_tokens.expires_at IS 'Of the refresh token; the access token ends with its API key.';
COMMENT ON COLUMN oauth2_provider_app_tokens.api_key_id IS 'The access token. NULL once it has expired and was removed: the refresh token outlives it. Deleting a key that is not detached ends both.';

-- A token and its API key go together, whichever is deleted first; but for keys that are detached before, because they
-- expired or were rotated.
CREATE FUNCTION delete_key_of_oauth2_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM api_keys WHERE id = OLD.api_key_id;
    RETURN NULL;
END $$;
CREATE TRIGGER delete_key_of_oauth2_token AFTER DELETE ON oauth2_provider_app_tokens
    FOR EACH ROW EXECUTE FUNCTION delete_key_of_oauth2_token();

-- Keys of clients would go with the account's keys; grants and codes have to be named.
CREATE OR REPLACE FUNCTION remove_resources_of_deleted_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
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
