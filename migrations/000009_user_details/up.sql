-- What belongs to a person beside the account: history, settings, links to identity providers, and secrets.

ALTER TABLE users
    ADD COLUMN quiet_hours_schedule         text        NOT NULL DEFAULT '',
    ADD COLUMN github_com_user_id           bigint,
    ADD COLUMN hashed_one_time_passcode     text,
    ADD COLUMN one_time_passcode_expires_at timestamptz,
    ADD COLUMN chat_spend_limit_micros      bigint,
    ADD CONSTRAINT users_one_time_passcode_set         CHECK ((hashed_one_time_passcode IS NULL) = (one_time_passcode_expires_at IS NULL)),
    ADD CONSTRAINT users_chat_spend_limit_micros_check CHECK (chat_spend_limit_micros > 0);
CREATE INDEX users_github_com_user_id_idx ON users (github_com_user_id) WHERE github_com_user_id IS NOT NULL;
-- Lists of people: newest first in the log of a day, and those who were not seen for long.
CREATE INDEX users_last_seen_idx ON users (last_seen_at) WHERE NOT deleted AND status = 'active';
COMMENT ON COLUMN users.quiet_hours_schedule         IS 'A daily schedule in cron form with an optional zone; empty = the default of the deployment.';
COMMENT ON COLUMN users.hashed_one_time_passcode     IS 'Password hash (argon2id) of the code that resets the password.';
COMMENT ON COLUMN users.chat_spend_limit_micros      IS 'Millionths of the currency; NULL = the limit of the deployment.';
COMMENT ON COLUMN users.hashed_password              IS 'Password hash (argon2id, PHC string); empty = no password.';

CREATE TABLE user_status_changes (
    id         uuid        PRIMARY KEY,
    user_id    uuid        NOT NULL,
    new_status text        NOT NULL,
    changed_at timestamptz NOT NULL,
    CONSTRAINT user_status_changes_user_fk      FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT user_status_changes_status_known CHECK (new_status IN ('active', 'suspended', 'dormant'))
);
CREATE INDEX user_status_changes_user_idx    ON user_status_changes (user_id, changed_at);
CREATE INDEX user_status_changes_changed_idx ON user_status_changes (changed_at);
COMMENT ON TABLE user_status_changes IS 'The status of every user over time. Written by a trigger.';

CREATE TABLE user_deleted (
    id         uuid        PRIMARY KEY,
    user_id    uuid        NOT NULL,
    deleted_at timestamptz NOT NULL,
    CONSTRAINT user_deleted_user_fk FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX user_deleted_user_idx    ON user_deleted (user_id);
CREATE INDEX user_deleted_deleted_idx ON user_deleted (deleted_at);
COMMENT ON TABLE user_deleted IS 'When users were deleted. Written by a trigger.';

CREATE FUNCTION note_status_of_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.status <> OLD.status THEN
        INSERT INTO user_status_changes (id, user_id, new_status, changed_at)
        VALUES (gen_random_uuid(), NEW.id, NEW.status, NEW.updated_at);
    END IF;
    IF NEW.deleted AND (TG_OP = 'INSERT' OR NOT OLD.deleted) THEN
        INSERT INTO user_deleted (id, user_id, deleted_at) VALUES (gen_random_uuid(), NEW.id, NEW.updated_at);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note_status_of_user AFTER INSERT OR UPDATE OF status, deleted ON users
    FOR EACH ROW EXECUTE FUNCTION note_status_of_user();
INSERT INTO user_status_changes (id, user_id, new_status, changed_at)
SELECT gen_random_uuid(), id, status, created_at FROM users;

CREATE TABLE user_configs (
    user_id uuid         NOT NULL,
    key     varchar(256) NOT NULL,
    value   text         NOT NULL,
    PRIMARY KEY (user_id, key),
    CONSTRAINT user_configs_user_fk FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
COMMENT ON TABLE user_configs IS 'Settings of one user, such as the theme.';

CREATE TABLE user_links (
    id                         uuid        PRIMARY KEY,
    user_id                    uuid        NOT NULL,
    login_type                 text        NOT NULL,
    linked_id                  text        NOT NULL DEFAULT '',
    oauth_access_token         sealed_text NOT NULL,
    oauth_access_token_key_id  text,
    oauth_refresh_token        sealed_text NOT NULL,
    oauth_refresh_token_key_id text,
    oauth_expiry               timestamptz,
    claims                     jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT user_links_user_login_type_key     UNIQUE (user_id, login_type),
    CONSTRAINT user_links_user_fk                 FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT user_links_login_type_known        CHECK (login_type IN ('github', 'oidc')),
    CONSTRAINT user_links_claims_object           CHECK (jsonb_typeof(claims) = 'object'),
    CONSTRAINT user_links_oauth_access_token_fk   FOREIGN KEY (oauth_access_token_key_id)  REFERENCES dbcrypt_keys (active_key_digest) ON DELETE RESTRICT,
    CONSTRAINT user_links_oauth_refresh_token_fk  FOREIGN KEY (oauth_refresh_token_key_id) REFERENCES dbcrypt_keys (active_key_digest) ON DELETE RESTRICT
);
CREATE UNIQUE INDEX user_links_linked_id_key       ON user_links (login_type, linked_id) WHERE linked_id <> '';
CREATE INDEX        user_links_access_token_idx    ON user_links (oauth_access_token_key_id);
CREATE INDEX        user_links_refresh_token_idx   ON user_links (oauth_refresh_token_key_id);
COMMENT ON TABLE  user_links           IS 'What an identity provider says of a user, one row for each way to log in.';
COMMENT ON COLUMN user_links.linked_id IS 'Issuer and subject; empty on links older than the first login that told it.';
COMMENT ON COLUMN user_links.claims    IS 'Of the last login: claims of the ID token, of userinfo, and both merged.';

CREATE FUNCTION refuse_link_of_deleted_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM users WHERE id = NEW.user_id AND deleted) THEN
        RAISE EXCEPTION 'cannot create a user link for a deleted user'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'user_links_user_not_deleted';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_link_of_deleted_user BEFORE INSERT OR UPDATE ON user_links
    FOR EACH ROW EXECUTE FUNCTION refuse_link_of_deleted_user();

CREATE TABLE external_auth_links (
    id                           uuid        PRIMARY KEY,
    provider_id                  text        NOT NULL,
    user_id                      uuid        NOT NULL,
    created_at                   timestamptz NOT NULL,
    updated_at                   timestamptz NOT NULL,
    oauth_access_token           sealed_text NOT NULL,
    oauth_access_token_key_id    text,
    oauth_refresh_token          sealed_text NOT NULL,
    oauth_refresh_token_key_id   text,
    oauth_expiry                 timestamptz,
    oauth_extra                  jsonb,
    oauth_refresh_failure_reason text        NOT NULL DEFAULT '',
    CONSTRAINT external_auth_links_user_provider_key    UNIQUE (user_id, provider_id),
    CONSTRAINT external_auth_links_user_fk              FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT external_auth_links_access_token_fk      FOREIGN KEY (oauth_access_token_key_id)  REFERENCES dbcrypt_keys (active_key_digest) ON DELETE RESTRICT,
    CONSTRAINT external_auth_links_refresh_token_fk     FOREIGN KEY (oauth_refresh_token_key_id) REFERENCES dbcrypt_keys (active_key_digest) ON DELETE RESTRICT
);
CREATE INDEX external_auth_links_access_token_idx  ON external_auth_links (oauth_access_token_key_id);
CREATE INDEX external_auth_links_refresh_token_idx ON external_auth_links (oauth_refresh_token_key_id);
COMMENT ON TABLE  external_auth_links IS 'Tokens of users for services outside, such as Git hosts.';
COMMENT ON COLUMN external_auth_links.oauth_refresh_failure_reason IS 'Why the refresh token is known to be dead, so that the service is not asked again.';

CREATE TABLE gitsshkeys (
    id                 uuid        PRIMARY KEY,
    user_id            uuid        NOT NULL,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    private_key        sealed_text NOT NULL,
    private_key_key_id text,
    public_key         text        NOT NULL,
    CONSTRAINT gitsshkeys_user_key           UNIQUE (user_id),
    CONSTRAINT gitsshkeys_user_fk            FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT gitsshkeys_private_key_key_id_fkey FOREIGN KEY (private_key_key_id) REFERENCES dbcrypt_keys (active_key_digest) ON DELETE RESTRICT
);
CREATE INDEX gitsshkeys_private_key_idx ON gitsshkeys (private_key_key_id);
COMMENT ON TABLE gitsshkeys IS 'The key pair by which a user''s workspaces reach Git hosts.';

CREATE TABLE user_secrets (
    id           uuid        PRIMARY KEY,
    user_id      uuid        NOT NULL,
    name         text        NOT NULL,
    description  text        NOT NULL DEFAULT '',
    value        sealed_text NOT NULL,
    value_key_id text,
    env_name     text        NOT NULL DEFAULT '',
    file_path    text        NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    CONSTRAINT user_secrets_user_name_key UNIQUE (user_id, name),
    CONSTRAINT user_secrets_user_fk       FOREIGN KEY (user_id)      REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT user_secrets_value_fk      FOREIGN KEY (value_key_id) REFERENCES dbcrypt_keys (active_key_digest) ON DELETE RESTRICT,
    CONSTRAINT user_secrets_name_size     CHECK (length(name) BETWEEN 1 AND 256)
);
CREATE UNIQUE INDEX user_secrets_user_env_name_key  ON user_secrets (user_id, env_name)  WHERE env_name <> '';
CREATE UNIQUE INDEX user_secrets_user_file_path_key ON user_secrets (user_id, file_path) WHERE file_path <> '';
CREATE INDEX        user_secrets_value_idx          ON user_secrets (value_key_id);
COMMENT ON TABLE user_secrets IS 'Secrets that a user puts into workspaces, as a variable, a file, or by name.';

CREATE TABLE user_skills (
    id          uuid        PRIMARY KEY,
    user_id     uuid        NOT NULL,
    name        text        NOT NULL,
    description text        NOT NULL DEFAULT '',
    content     text        NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    CONSTRAINT user_skills_user_fk          FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT user_skills_name_size        CHECK (octet_length(name) <= 256),
    CONSTRAINT user_skills_name_format      CHECK (name ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    CONSTRAINT user_skills_description_size CHECK (octet_length(description) <= 4096),
    CONSTRAINT user_skills_content_size     CHECK (octet_length(content) <= 65536)
);
CREATE UNIQUE INDEX user_skills_user_id_name_idx ON user_skills (user_id, name);
COMMENT ON TABLE user_skills IS 'Instructions that a user keeps for agents. At most 100 of one user.';

-- The lock on the user lets two inserts of one user count one after the other.
CREATE FUNCTION limit_skills_of_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM users WHERE id = NEW.user_id FOR UPDATE;
    IF (SELECT count(*) FROM user_skills WHERE user_id = NEW.user_id) >= 100 THEN
        RAISE EXCEPTION 'a user has at most 100 skills'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'user_skills_per_user_limit';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER trigger_user_skills_per_user_limit BEFORE INSERT ON user_skills
    FOR EACH ROW EXECUTE FUNCTION limit_skills_of_user();

CREATE FUNCTION refuse_skill_of_deleted_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM users WHERE id = NEW.user_id AND deleted) THEN
        RAISE EXCEPTION 'cannot keep a skill for a deleted user'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'user_skill_user_deleted';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER trigger_upsert_user_skills BEFORE INSERT OR UPDATE ON user_skills
    FOR EACH ROW EXECUTE FUNCTION refuse_skill_of_deleted_user();

CREATE OR REPLACE FUNCTION remove_resources_of_deleted_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM api_keys             WHERE user_id = NEW.id;
    DELETE FROM user_links           WHERE user_id = NEW.id;
    DELETE FROM external_auth_links   WHERE user_id = NEW.id;
    DELETE FROM gitsshkeys            WHERE user_id = NEW.id;
    DELETE FROM user_configs          WHERE user_id = NEW.id;
    DELETE FROM user_secrets         WHERE user_id = NEW.id;
    DELETE FROM user_skills          WHERE user_id = NEW.id;
    DELETE FROM group_members        WHERE user_id = NEW.id;
    DELETE FROM organization_members WHERE user_id = NEW.id;
    RETURN NEW;
END $$;

ALTER TABLE groups
    ADD COLUMN chat_spend_limit_micros bigint,
    ADD CONSTRAINT groups_chat_spend_limit_micros_check CHECK (chat_spend_limit_micros > 0),
    ADD CONSTRAINT groups_quota_allowance_check         CHECK (quota_allowance >= 0);
-- Names of groups are told apart as people tell them apart.
ALTER TABLE groups DROP CONSTRAINT groups_organization_name_key;
CREATE UNIQUE INDEX groups_organization_name_lower_key ON groups (organization_id, lower(name));
CREATE INDEX groups_organization_idx ON groups (organization_id);

CREATE VIEW visible_users AS SELECT id, username, name, avatar_url FROM users;
COMMENT ON VIEW visible_users IS 'What lists of other things may show of the users in them.';

CREATE FUNCTION is_group_member(member uuid, "group" uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT 1 FROM group_members_expanded e WHERE e.user_id = member AND e.group_id = "group")
$$;
COMMENT ON FUNCTION is_group_member(uuid, uuid) IS 'Whether a live user is in a group, everyone''s included.';

-- What an organization still holds is to be removed first, by those who know what it is worth.
CREATE FUNCTION protect_deleting_organizations() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    group_count  bigint := (SELECT count(*) FROM groups WHERE organization_id = OLD.id AND id <> OLD.id);
    member_count bigint := (
        SELECT count(*) FROM organization_members m JOIN users u ON u.id = m.user_id AND NOT u.deleted
         WHERE m.organization_id = OLD.id);
BEGIN
    IF group_count > 0 THEN
        RAISE EXCEPTION 'cannot delete organization: organization has % groups that must be deleted first', group_count
            USING ERRCODE = 'check_violation', CONSTRAINT = 'organizations_has_groups';
    END IF;
    IF member_count > 1 THEN
        RAISE EXCEPTION 'cannot delete organization: organization has % members that must be deleted first', member_count - 1
            USING ERRCODE = 'check_violation', CONSTRAINT = 'organizations_has_members';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER protect_deleting_organizations BEFORE UPDATE OF deleted ON organizations
    FOR EACH ROW WHEN (NEW.deleted AND NOT OLD.deleted) EXECUTE FUNCTION protect_deleting_organizations();

COMMENT ON TABLE organizations        IS 'Tenants within the deployment. Deleted ones stay for history.';
COMMENT ON TABLE organization_members IS 'Who is in which organization, and with which roles.';
COMMENT ON TABLE group_members        IS 'Who is in which group. Nobody is listed in a group of everyone.';
COMMENT ON VIEW  group_members_expanded IS 'Who is in which group, everyone''s included. Live users only.';
