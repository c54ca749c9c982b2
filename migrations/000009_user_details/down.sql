COMMENT ON VIEW  group_members_expanded IS NULL;
COMMENT ON TABLE group_members        IS NULL;
COMMENT ON TABLE organization_members IS NULL;
COMMENT ON TABLE organizations        IS NULL;
DROP TRIGGER protect_deleting_organizations ON organizations;
DROP FUNCTION protect_deleting_organizations();
DROP FUNCTION is_group_member(uuid, uuid);
DROP VIEW visible_users;
DROP INDEX groups_organization_idx;
DROP INDEX groups_organization_name_lower_key;
ALTER TABLE groups
    ADD CONSTRAINT groups_organization_name_key UNIQUE (organization_id, name),
    DROP COLUMN chat_spend_limit_micros,
    DROP CONSTRAINT groups_quota_allowance_check;
CREATE OR REPLACE FUNCTION remove_resources_of_deleted_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM api_keys             WHERE user_id = NEW.id;
    DELETE FROM group_members        WHERE user_id = NEW.id;
    DELETE FROM organization_members WHERE user_id = NEW.id;
    RETURN NEW;
END $$;
DROP TABLE user_skills;
DROP FUNCTION refuse_skill_of_deleted_user();
DROP FUNCTION limit_skills_of_user();
DROP TABLE user_secrets;
DROP TABLE gitsshkeys;
DROP TABLE external_auth_links;
DROP TABLE user_links;
DROP FUNCTION refuse_link_of_deleted_user();
DROP TABLE user_configs;
DROP TRIGGER note_status_of_user ON users;
DROP FUNCTION note_status_of_user();
DROP TABLE user_deleted;
DROP TABLE user_status_changes;
DROP INDEX users_last_seen_idx;
DROP INDEX users_github_com_user_id_idx;
ALTER TABLE users
    DROP COLUMN chat_spend_limit_micros,
    DROP COLUMN hashed_one_time_passcode,
    DROP COLUMN one_time_passcode_expires_at,
    DROP COLUMN github_com_user_id,
    DROP COLUMN quiet_hours_schedule;
COMMENT ON COLUMN users.hashed_password IS NULL;
