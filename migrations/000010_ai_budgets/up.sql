-- What AI costs and who may spend how much: prices, budgets, spending, seats, and keys that people bring themselves.

CREATE TABLE user_ai_provider_keys (
    id             uuid        PRIMARY KEY,
    user_id        uuid        NOT NULL,
    ai_provider_id uuid        NOT NULL,
    api_key        sealed_text NOT NULL,
    api_key_key_id text,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    CONSTRAINT user_ai_provider_keys_user_provider_key UNIQUE (user_id, ai_provider_id),
    CONSTRAINT user_ai_provider_keys_user_fk           FOREIGN KEY (user_id)        REFERENCES users (id)        ON DELETE CASCADE,
    CONSTRAINT user_ai_provider_keys_provider_fk       FOREIGN KEY (ai_provider_id) REFERENCES ai_providers (id) ON DELETE CASCADE,
    CONSTRAINT user_ai_provider_keys_key_fk            FOREIGN KEY (api_key_key_id) REFERENCES dbcrypt_keys (active_key_digest) ON DELETE RESTRICT,
    CONSTRAINT user_ai_provider_keys_api_key_check     CHECK (api_key <> '')
);
CREATE INDEX user_ai_provider_keys_provider_idx ON user_ai_provider_keys (ai_provider_id);
CREATE INDEX user_ai_provider_keys_key_idx      ON user_ai_provider_keys (api_key_key_id);
COMMENT ON TABLE user_ai_provider_keys IS 'Keys that users bring for their own requests to a provider.';

CREATE TABLE ai_seat_state (
    user_id                uuid        PRIMARY KEY,
    first_used_at          timestamptz NOT NULL,
    last_used_at           timestamptz NOT NULL,
    last_event_type        text        NOT NULL,
    last_event_description text        NOT NULL DEFAULT '',
    updated_at             timestamptz NOT NULL,
    CONSTRAINT ai_seat_state_user_fk          FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT ai_seat_state_event_type_known CHECK (last_event_type IN ('aibridge', 'task'))
);
COMMENT ON TABLE ai_seat_state IS 'Who ever used AI, and when last.';

CREATE TABLE group_ai_budgets (
    group_id           uuid        PRIMARY KEY,
    spend_limit_micros bigint      NOT NULL,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    CONSTRAINT group_ai_budgets_group_fk                 FOREIGN KEY (group_id) REFERENCES groups (id) ON DELETE CASCADE,
    CONSTRAINT group_ai_budgets_spend_limit_micros_check CHECK (spend_limit_micros > 0)
);
COMMENT ON TABLE group_ai_budgets IS 'What each member of a group may spend in a period, in millionths of the currency. No row, no limit by this group.';

CREATE TABLE user_ai_budget_overrides (
    user_id            uuid        PRIMARY KEY,
    group_id           uuid        NOT NULL,
    spend_limit_micros bigint      NOT NULL,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    CONSTRAINT user_ai_budget_overrides_user_fk                  FOREIGN KEY (user_id)  REFERENCES users (id)  ON DELETE CASCADE,
    CONSTRAINT user_ai_budget_overrides_group_fk                 FOREIGN KEY (group_id) REFERENCES groups (id) ON DELETE CASCADE,
    CONSTRAINT user_ai_budget_overrides_spend_limit_micros_check CHECK (spend_limit_micros >= 0)
);
CREATE INDEX user_ai_budget_overrides_group_idx ON user_ai_budget_overrides (group_id);
COMMENT ON TABLE  user_ai_budget_overrides          IS 'A limit of one user''s own, which replaces those of groups.';
COMMENT ON COLUMN user_ai_budget_overrides.group_id IS 'The group that the spending is attributed to. The user is a member; leaving it removes the override.';

-- The membership is locked until the override is stored: who removes it meanwhile waits, and then finds the override
-- that has to go with it. A CHECK could do neither.
CREATE FUNCTION require_member_for_budget_override() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM users WHERE id = NEW.user_id AND NOT deleted FOR SHARE;
    IF FOUND THEN
        PERFORM 1 FROM group_members WHERE group_id = NEW.group_id AND user_id = NEW.user_id FOR KEY SHARE;
        IF NOT FOUND THEN
            PERFORM 1 FROM organization_members
              WHERE organization_id = NEW.group_id AND user_id = NEW.user_id FOR KEY SHARE;
        END IF;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the user is not a member of the group'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'user_ai_budget_overrides_must_be_group_member';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER require_member_for_budget_override BEFORE INSERT OR UPDATE ON user_ai_budget_overrides
    FOR EACH ROW EXECUTE FUNCTION require_member_for_budget_override();

CREATE FUNCTION remove_budget_override_of_group_member() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM user_ai_budget_overrides WHERE user_id = OLD.user_id AND group_id = OLD.group_id;
    RETURN NULL;
END $$;
CREATE TRIGGER trigger_delete_user_ai_budget_overrides_on_group_member_delete AFTER DELETE ON group_members
    FOR EACH ROW EXECUTE FUNCTION remove_budget_override_of_group_member();

-- Everyone's group has the organization's id.
CREATE FUNCTION remove_budget_override_of_org_member() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM user_ai_budget_overrides WHERE user_id = OLD.user_id AND group_id = OLD.organization_id;
    RETURN NULL;
END $$;
CREATE TRIGGER trigger_delete_user_ai_budget_overrides_on_org_member_delete AFTER DELETE ON organization_members
    FOR EACH ROW EXECUTE FUNCTION remove_budget_override_of_org_member();

-- What a deleted organization's groups allow is nothing any more.
CREATE FUNCTION remove_budgets_of_deleted_organization() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM user_ai_budget_overrides WHERE group_id IN (SELECT id FROM groups WHERE organization_id = NEW.id);
    DELETE FROM group_ai_budgets         WHERE group_id IN (SELECT id FROM groups WHERE organization_id = NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER remove_budgets_of_deleted_organization AFTER UPDATE OF deleted ON organizations
    FOR EACH ROW WHEN (NEW.deleted AND NOT OLD.deleted) EXECUTE FUNCTION remove_budgets_of_deleted_organization();

CREATE TABLE ai_model_prices (
    provider          text        NOT NULL,
    model             text        NOT NULL,
    valid_from        timestamptz NOT NULL,
    input_price       bigint,
    output_price      bigint,
    cache_read_price  bigint,
    cache_write_price bigint,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    PRIMARY KEY (provider, model, valid_from),
    CONSTRAINT ai_model_prices_input_price_check       CHECK (input_price >= 0),
    CONSTRAINT ai_model_prices_output_price_check      CHECK (output_price >= 0),
    CONSTRAINT ai_model_prices_cache_read_price_check  CHECK (cache_read_price >= 0),
    CONSTRAINT ai_model_prices_cache_write_price_check CHECK (cache_write_price >= 0)
);
COMMENT ON TABLE ai_model_prices IS 'Millionths of the currency for a million tokens. NULL = unknown, 0 = free. A price is valid until the next one of the model begins.';

CREATE TABLE ai_user_daily_spend (
    user_id            uuid   NOT NULL,
    effective_group_id uuid   NOT NULL,
    day                date   NOT NULL,
    spend_micros       bigint NOT NULL,
    PRIMARY KEY (user_id, effective_group_id, day),
    CONSTRAINT ai_user_daily_spend_spend_micros_check CHECK (spend_micros >= 0)
);
CREATE INDEX ai_user_daily_spend_group_idx ON ai_user_daily_spend (effective_group_id, day);
COMMENT ON TABLE  ai_user_daily_spend     IS 'Spending by day. Without foreign keys: what was spent stays when user or group go away.';
COMMENT ON COLUMN ai_user_daily_spend.day IS 'In UTC.';

-- Parents of partitions: new columns reach all of them.
ALTER TABLE aibridge_token_usages
    ADD COLUMN effective_group_id       uuid,
    ADD COLUMN provider_model           text,
    ADD COLUMN priced_model             text,
    ADD COLUMN input_price_micros       bigint,
    ADD COLUMN output_price_micros      bigint,
    ADD COLUMN cache_read_price_micros  bigint,
    ADD COLUMN cache_write_price_micros bigint,
    ADD COLUMN cost_micros              bigint,
    ADD CONSTRAINT aibridge_token_usages_prices_check CHECK (
        input_price_micros >= 0 AND output_price_micros >= 0 AND cache_read_price_micros >= 0
        AND cache_write_price_micros >= 0),
    ADD CONSTRAINT aibridge_token_usages_cost_micros_check CHECK (cost_micros >= 0);
COMMENT ON COLUMN aibridge_token_usages.effective_group_id IS 'The group that the cost is attributed to; stays when the group goes away.';
COMMENT ON COLUMN aibridge_token_usages.cost_micros        IS 'By the prices beside it, which are those of that day. NULL = the model had no price.';
COMMENT ON TABLE  aibridge_token_usages   IS 'What an answer of the provider says that it cost, in tokens.';
COMMENT ON TABLE  aibridge_user_prompts   IS 'What people asked.';
COMMENT ON TABLE  aibridge_tool_usages    IS 'Which tools models called, and with what.';
COMMENT ON TABLE  aibridge_model_thoughts IS 'What models said that they thought.';
COMMENT ON TABLE  ai_provider_keys        IS 'The deployment''s own keys. Used in the order in which they were made.';
COMMENT ON TABLE  ai_gateway_keys         IS 'By what gateway daemons prove to this deployment who they are.';

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
