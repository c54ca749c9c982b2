-- Who exists: users, their credentials, organizations and groups.
-- Identifiers and times come from the program, so there are no defaults for them.

-- A value that is sealed by the keyring, or given in the clear while there are no keys. The program has
-- a type of its own for it: text does not fit the column.
CREATE DOMAIN sealed_text AS text;

CREATE TABLE site_configs (
    key   varchar(256) PRIMARY KEY,
    value text NOT NULL
);
COMMENT ON TABLE site_configs IS 'Deployment-wide values made at run time, such as the deployment id.';

CREATE TABLE dbcrypt_keys (
    number             integer     PRIMARY KEY,
    active_key_digest  text,
    revoked_key_digest text,
    created_at         timestamptz NOT NULL,
    revoked_at         timestamptz,
    test               sealed_text NOT NULL,
    CONSTRAINT dbcrypt_keys_active_key_digest_key  UNIQUE (active_key_digest),
    CONSTRAINT dbcrypt_keys_revoked_key_digest_key UNIQUE (revoked_key_digest),
    CONSTRAINT dbcrypt_keys_active_or_revoked      CHECK ((active_key_digest IS NULL) <> (revoked_key_digest IS NULL))
);
COMMENT ON TABLE dbcrypt_keys IS 'Digests of encryption keys that were ever used, never the keys. test is a known text sealed by the key.';

CREATE TABLE users (
    id                          uuid        PRIMARY KEY,
    email                       text        NOT NULL,
    username                    text        NOT NULL,
    name                        text        NOT NULL DEFAULT '',
    hashed_password             text        NOT NULL DEFAULT '',
    created_at                  timestamptz NOT NULL,
    updated_at                  timestamptz NOT NULL,
    last_seen_at                timestamptz,
    status                      text        NOT NULL DEFAULT 'dormant',
    rbac_roles                  text[]      NOT NULL DEFAULT '{}',
    login_type                  text        NOT NULL DEFAULT 'password',
    avatar_url                  text        NOT NULL DEFAULT '',
    deleted                     boolean     NOT NULL DEFAULT false,
    is_system                   boolean     NOT NULL DEFAULT false,
    is_service_account          boolean     NOT NULL DEFAULT false,
    CONSTRAINT users_username_shape             CHECK (username ~ '^[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*$' AND length(username) <= 32),
    CONSTRAINT users_name_length                CHECK (length(name) <= 128),
    CONSTRAINT users_status_known               CHECK (status IN ('active', 'suspended', 'dormant')),
    CONSTRAINT users_login_type_known           CHECK (login_type IN ('password', 'github', 'oidc', 'token', 'none', 'oauth2_provider_app')),
    CONSTRAINT users_email_not_empty            CHECK (is_service_account = (email = '')),
    CONSTRAINT users_service_account_login_type CHECK (NOT is_service_account OR login_type = 'none')
);
-- Deleting a user frees name and address.
CREATE UNIQUE INDEX users_username_lower_key ON users (lower(username)) WHERE NOT deleted;
CREATE UNIQUE INDEX users_email_lower_key    ON users (lower(email))    WHERE NOT deleted AND email <> '';
COMMENT ON TABLE users IS 'People, service accounts and system users. Deleted ones stay for history.';

CREATE TABLE api_keys (
    id               text        PRIMARY KEY,
    hashed_secret    bytea       NOT NULL,
    user_id          uuid        NOT NULL,
    last_used        timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    login_type       text        NOT NULL,
    lifetime_seconds bigint      NOT NULL,
    ip_address       inet        NOT NULL DEFAULT '0.0.0.0',
    token_name       text        NOT NULL DEFAULT '',
    scopes           text[]      NOT NULL,
    allow_list       text[]      NOT NULL,
    CONSTRAINT api_keys_user_fk              FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT api_keys_login_type_known     CHECK (login_type IN ('password', 'github', 'oidc', 'token', 'none', 'oauth2_provider_app')),
    CONSTRAINT api_keys_lifetime_positive    CHECK (lifetime_seconds > 0),
    CONSTRAINT api_keys_token_name_length    CHECK (length(token_name) <= 64),
    CONSTRAINT api_keys_scopes_not_empty     CHECK (cardinality(scopes) > 0),
    CONSTRAINT api_keys_allow_list_not_empty CHECK (cardinality(allow_list) > 0)
);
CREATE INDEX        api_keys_user_idx       ON api_keys (user_id);
CREATE INDEX        api_keys_last_used_idx  ON api_keys (last_used DESC);
CREATE INDEX        api_keys_expires_at_idx ON api_keys (expires_at);
CREATE UNIQUE INDEX api_keys_token_name_key ON api_keys (user_id, token_name) WHERE login_type = 'token';
COMMENT ON TABLE api_keys IS 'Sessions and tokens. hashed_secret is SHA-256 of the secret half, which is never stored.';

CREATE TABLE organizations (
    id                        uuid        PRIMARY KEY,
    name                      text        NOT NULL,
    display_name              text        NOT NULL DEFAULT '',
    description               text        NOT NULL DEFAULT '',
    icon                      text        NOT NULL DEFAULT '',
    created_at                timestamptz NOT NULL,
    updated_at                timestamptz NOT NULL,
    is_default                boolean     NOT NULL DEFAULT false,
    deleted                   boolean     NOT NULL DEFAULT false,
    shareable_workspace_owners text       NOT NULL DEFAULT 'everyone',
    default_org_member_roles  text[]      NOT NULL DEFAULT '{organization-workspace-access}',
    CONSTRAINT organizations_name_shape  CHECK (name ~ '^[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*$' AND length(name) <= 32),
    CONSTRAINT organizations_shareable_known CHECK (shareable_workspace_owners IN ('none', 'everyone', 'service_accounts'))
);
CREATE UNIQUE INDEX organizations_name_lower_key ON organizations (lower(name)) WHERE NOT deleted;
CREATE UNIQUE INDEX organizations_default_key    ON organizations (is_default)  WHERE is_default;

CREATE TABLE organization_members (
    organization_id uuid        NOT NULL,
    user_id         uuid        NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    roles           text[]      NOT NULL DEFAULT '{}',
    PRIMARY KEY (organization_id, user_id),
    CONSTRAINT organization_members_organization_fk FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE,
    CONSTRAINT organization_members_user_fk         FOREIGN KEY (user_id)         REFERENCES users (id)         ON DELETE CASCADE
);
CREATE INDEX organization_members_user_idx ON organization_members (user_id);

CREATE TABLE groups (
    id              uuid    PRIMARY KEY,
    organization_id uuid    NOT NULL,
    name            text    NOT NULL,
    display_name    text    NOT NULL DEFAULT '',
    avatar_url      text    NOT NULL DEFAULT '',
    quota_allowance integer NOT NULL DEFAULT 0,
    source          text    NOT NULL DEFAULT 'user',
    CONSTRAINT groups_organization_fk       FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE,
    CONSTRAINT groups_organization_name_key UNIQUE (organization_id, name),
    CONSTRAINT groups_source_known          CHECK (source IN ('user', 'oidc'))
);
COMMENT ON TABLE groups IS 'The group of everyone has the organization''s id and no rows in group_members.';

CREATE TABLE group_members (
    group_id uuid NOT NULL,
    user_id  uuid NOT NULL,
    PRIMARY KEY (group_id, user_id),
    CONSTRAINT group_members_group_fk FOREIGN KEY (group_id) REFERENCES groups (id) ON DELETE CASCADE,
    CONSTRAINT group_members_user_fk  FOREIGN KEY (user_id)  REFERENCES users (id)  ON DELETE CASCADE
);
CREATE INDEX group_members_user_idx ON group_members (user_id);

-- Membership in every group, the implicit one of everyone included. Holds neither hash nor address.
CREATE VIEW group_members_expanded AS
    SELECT gm.group_id, g.organization_id, gm.user_id
      FROM group_members gm
      JOIN groups g ON g.id = gm.group_id
      JOIN users u ON u.id = gm.user_id AND NOT u.deleted
    UNION
    SELECT om.organization_id AS group_id, om.organization_id, om.user_id
      FROM organization_members om
      JOIN users u ON u.id = om.user_id AND NOT u.deleted;

CREATE FUNCTION refuse_key_of_deleted_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM users WHERE id = NEW.user_id AND deleted) THEN
        RAISE EXCEPTION 'cannot create an API key for a deleted user'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'api_keys_user_not_deleted';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_key_of_deleted_user BEFORE INSERT ON api_keys
    FOR EACH ROW EXECUTE FUNCTION refuse_key_of_deleted_user();

-- A soft delete fires no cascade: what must not outlive the account goes here.
CREATE FUNCTION remove_resources_of_deleted_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM api_keys             WHERE user_id = NEW.id;
    DELETE FROM group_members        WHERE user_id = NEW.id;
    DELETE FROM organization_members WHERE user_id = NEW.id;
    RETURN NEW;
END $$;
CREATE TRIGGER remove_resources_of_deleted_user AFTER UPDATE ON users
    FOR EACH ROW WHEN (NEW.deleted AND NOT OLD.deleted) EXECUTE FUNCTION remove_resources_of_deleted_user();

-- Leaving an organization is leaving its groups.
CREATE FUNCTION leave_groups_of_organization() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM group_members gm USING groups g
     WHERE gm.group_id = g.id AND g.organization_id = OLD.organization_id AND gm.user_id = OLD.user_id;
    RETURN OLD;
END $$;
CREATE TRIGGER leave_groups_of_organization BEFORE DELETE ON organization_members
    FOR EACH ROW EXECUTE FUNCTION leave_groups_of_organization();
