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
COMMENT ON TABLE ai_gateway_keys         IS NULL;
COMMENT ON TABLE ai_provider_keys        IS NULL;
COMMENT ON TABLE aibridge_model_thoughts IS NULL;
COMMENT ON TABLE aibridge_tool_usages    IS NULL;
COMMENT ON TABLE aibridge_user_prompts   IS NULL;
COMMENT ON TABLE aibridge_token_usages   IS NULL;
ALTER TABLE aibridge_token_usages
    DROP COLUMN cost_micros,
    DROP COLUMN cache_write_price_micros,
    DROP COLUMN cache_read_price_micros,
    DROP COLUMN output_price_micros,
    DROP COLUMN input_price_micros,
    DROP COLUMN priced_model,
    DROP COLUMN provider_model,
    DROP COLUMN effective_group_id;
DROP TABLE ai_user_daily_spend;
DROP TABLE ai_model_prices;
DROP TRIGGER remove_budgets_of_deleted_organization ON organizations;
DROP FUNCTION remove_budgets_of_deleted_organization();
DROP TRIGGER trigger_delete_user_ai_budget_overrides_on_org_member_delete ON organization_members;
DROP FUNCTION remove_budget_override_of_org_member();
DROP TRIGGER trigger_delete_user_ai_budget_overrides_on_group_member_delete ON group_members;
DROP FUNCTION remove_budget_override_of_group_member();
DROP TABLE user_ai_budget_overrides;
DROP FUNCTION require_member_for_budget_override();
DROP TABLE group_ai_budgets;
DROP TABLE ai_seat_state;
DROP TABLE user_ai_provider_keys;
