-- What the AI gateway recorded. Five append-only tables, all partitioned by month of the interception.
--
-- The gateway makes identifiers of version 7, whose first 48 bits are milliseconds since 1970. A range of
-- identifiers is therefore a range of time, a primary key on the identifier alone is unique over all
-- partitions (storing a fact twice is the same as storing it once), and the records of a month, parents
-- and children, go away together by dropping five partitions.
CREATE TABLE aibridge_interceptions (
    id                 uuid        NOT NULL,
    initiator_id       uuid        NOT NULL,
    api_key_id         text,
    provider           text        NOT NULL,
    provider_name      text        NOT NULL DEFAULT '',
    model              text        NOT NULL,
    client             varchar(64) NOT NULL DEFAULT 'Unknown',
    started_at         timestamptz NOT NULL,
    ended_at           timestamptz,
    metadata           jsonb       NOT NULL DEFAULT '{}',
    client_session_id  varchar(256),
    thread_parent_id   uuid,
    thread_root_id     uuid,
    session_id         text        NOT NULL GENERATED ALWAYS AS (coalesce(client_session_id, thread_root_id::text, id::text)) STORED,
    credential_kind    text        NOT NULL DEFAULT 'centralized',
    credential_hint    varchar(15) NOT NULL DEFAULT '',
    error_type         text,
    error_message      text,
    PRIMARY KEY (id),
    -- Not a foreign key: records must not be refused because their user went away in the meantime.
    CONSTRAINT aibridge_interceptions_credential_kind_known CHECK (credential_kind IN ('centralized', 'byok')),
    CONSTRAINT aibridge_interceptions_error_message_length  CHECK (length(error_message) <= 1024)
) PARTITION BY RANGE (id);
CREATE INDEX aibridge_interceptions_newest_idx    ON aibridge_interceptions (started_at DESC, id DESC);
CREATE INDEX aibridge_interceptions_initiator_idx ON aibridge_interceptions (initiator_id, started_at DESC, id DESC) WHERE ended_at IS NOT NULL;
CREATE INDEX aibridge_interceptions_session_idx   ON aibridge_interceptions (session_id) WHERE ended_at IS NOT NULL;
CREATE INDEX aibridge_interceptions_root_idx      ON aibridge_interceptions (thread_root_id);
CREATE INDEX aibridge_interceptions_open_idx      ON aibridge_interceptions (started_at) WHERE ended_at IS NULL;
CREATE INDEX aibridge_interceptions_model_idx     ON aibridge_interceptions (model);
CREATE INDEX aibridge_interceptions_client_idx    ON aibridge_interceptions (client);
COMMENT ON TABLE aibridge_interceptions IS 'One intercepted request/response pair. ended_at NULL = in flight.';

CREATE TABLE aibridge_token_usages (
    id                       uuid        NOT NULL,
    interception_id          uuid        NOT NULL,
    provider_response_id     text        NOT NULL,
    input_tokens             bigint      NOT NULL,
    output_tokens            bigint      NOT NULL,
    cache_read_input_tokens  bigint      NOT NULL DEFAULT 0,
    cache_write_input_tokens bigint      NOT NULL DEFAULT 0,
    metadata                 jsonb       NOT NULL DEFAULT '{}',
    created_at               timestamptz NOT NULL,
    PRIMARY KEY (interception_id, id)
) PARTITION BY RANGE (interception_id);

CREATE TABLE aibridge_user_prompts (
    id                   uuid        NOT NULL,
    interception_id      uuid        NOT NULL,
    provider_response_id text        NOT NULL,
    prompt               text        NOT NULL,
    metadata             jsonb       NOT NULL DEFAULT '{}',
    created_at           timestamptz NOT NULL,
    PRIMARY KEY (interception_id, id)
) PARTITION BY RANGE (interception_id);

CREATE TABLE aibridge_tool_usages (
    id                    uuid        NOT NULL,
    interception_id       uuid        NOT NULL,
    provider_response_id  text        NOT NULL,
    provider_tool_call_id text        NOT NULL DEFAULT '',
    provider_item_id      text,
    server_url            text,
    tool                  text        NOT NULL,
    input                 text        NOT NULL,
    injected              boolean     NOT NULL DEFAULT false,
    invocation_error      text,
    metadata              jsonb       NOT NULL DEFAULT '{}',
    created_at            timestamptz NOT NULL,
    PRIMARY KEY (interception_id, id)
) PARTITION BY RANGE (interception_id);
CREATE INDEX aibridge_tool_usages_call_idx ON aibridge_tool_usages (provider_tool_call_id, created_at DESC);

CREATE TABLE aibridge_model_thoughts (
    id              uuid        NOT NULL,
    interception_id uuid        NOT NULL,
    content         text        NOT NULL,
    metadata        jsonb       NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (interception_id, id)
) PARTITION BY RANGE (interception_id);

-- The smallest identifier of version 7 that can have been made at `instant`.
CREATE FUNCTION uuid_v7_floor(instant timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT (lpad(to_hex(floor(extract(epoch FROM instant) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid
$$;

-- Makes the partitions of the month of `instant` and of the two months after it, where they are missing.
-- Rows that came before their partition was there move into it. Safe to call at any time and from several
-- servers at once.
CREATE FUNCTION aibridge_ensure_partitions(instant timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parent  text;
    month   timestamptz;
    part    text;
    key     text;
    bottom  uuid;
    top     uuid;
    columns text;
    locked  boolean := false;
BEGIN
    -- Writers share this lock: they touch the tables in another order than readers do.
    PERFORM pg_advisory_xact_lock(14);
    FOR i IN 0..2 LOOP
        month := (date_trunc('month', instant AT TIME ZONE 'UTC') + make_interval(months => i)) AT TIME ZONE 'UTC';
        bottom := uuid_v7_floor(month);
        top := uuid_v7_floor((date_trunc('month', month AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC');
        FOREACH parent IN ARRAY ARRAY['aibridge_interceptions', 'aibridge_token_usages', 'aibridge_user_prompts', 'aibridge_tool_usages', 'aibridge_model_thoughts'] LOOP
            part := parent || to_char(month AT TIME ZONE 'UTC', '_YYYYMM');
            CONTINUE WHEN to_regclass(part) IS NOT NULL;
            IF NOT locked THEN
                -- All at once, in the order in which pages are read, so that nobody waits for each other.
                LOCK TABLE ONLY aibridge_interceptions, ONLY aibridge_token_usages, ONLY aibridge_user_prompts,
                           ONLY aibridge_tool_usages, ONLY aibridge_model_thoughts IN ACCESS EXCLUSIVE MODE;
                locked := true;
            END IF;
            key := CASE parent WHEN 'aibridge_interceptions' THEN 'id' ELSE 'interception_id' END;
            SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns
              FROM pg_attribute
             WHERE attrelid = parent::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
            -- The default partition must not hold rows of a partition that is made, so they wait outside.
            EXECUTE format('CREATE TEMPORARY TABLE aibridge_moving ON COMMIT DROP AS SELECT %s FROM %I WHERE %I >= %L AND %I < %L',
                columns, parent || '_other', key, bottom, key, top);
            EXECUTE format('DELETE FROM %I WHERE %I >= %L AND %I < %L', parent || '_other', key, bottom, key, top);
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', part, parent, bottom, top);
            EXECUTE format('INSERT INTO %I (%s) SELECT %s FROM aibridge_moving', part, columns, columns);
            DROP TABLE aibridge_moving;
        END LOOP;
    END LOOP;
END $$;

-- Whatever no month claims, such as imported records with random identifiers.
CREATE TABLE aibridge_interceptions_other  PARTITION OF aibridge_interceptions  DEFAULT;
CREATE TABLE aibridge_token_usages_other   PARTITION OF aibridge_token_usages   DEFAULT;
CREATE TABLE aibridge_user_prompts_other   PARTITION OF aibridge_user_prompts   DEFAULT;
CREATE TABLE aibridge_tool_usages_other    PARTITION OF aibridge_tool_usages    DEFAULT;
CREATE TABLE aibridge_model_thoughts_other PARTITION OF aibridge_model_thoughts DEFAULT;

SELECT aibridge_ensure_partitions(now());
