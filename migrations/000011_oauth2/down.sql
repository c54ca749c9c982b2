CREATE OR REPLACE FUNCTION remove_resources_of_deleted_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
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
DROP TABLE oauth2_provider_app_tokens;
DROP FUNCTION delete_key_of_oauth2_token();
DROP TABLE oauth2_provider_app_codes;
DROP TABLE oauth2_grants;
DROP TABLE oauth2_provider_app_secrets;
DROP TABLE oauth2_provider_apps;
