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
DROP TABLE mcp_server_user_tokens;
DROP TABLE mcp_server_configs;
DROP TABLE chat_usage_limit_config;
DROP TABLE chat_queued_messages;
DROP TABLE chat_messages;
DROP TABLE chats;
DROP TABLE chat_model_configs;
