-- What the deployment keeps about itself: licences, keys for its own signatures, replicas, provisioners, usage.

CREATE TABLE licenses (
    id          serial      PRIMARY KEY,
    uuid        uuid        NOT NULL,
    uploaded_at timestamptz NOT NULL,
    jwt         text        NOT NULL,
    exp         timestamptz NOT NULL,
    CONSTRAINT licenses_jwt_key  UNIQUE (jwt),
    CONSTRAINT licenses_uuid_key UNIQUE (uuid)
);
CREATE INDEX licenses_exp_idx ON licenses (exp);
COMMENT ON TABLE  licenses     IS 'Signed licences as they were uploaded.';
COMMENT ON COLUMN licenses.exp IS 'The claim of that name, so that expired ones can be skipped.';

CREATE TABLE crypto_keys (
    id            uuid        PRIMARY KEY,
    feature       text        NOT NULL,
    sequence      integer     NOT NULL,
    secret        sealed_text,
    secret_key_id text,
    starts_at     timestamptz NOT NULL,
    deletes_at    timestamptz,
    CONSTRAINT crypto_keys_feature_sequence_key UNIQUE (feature, sequence),
    CONSTRAINT crypto_keys_secret_fk            FOREIGN KEY (secret_key_id) REFERENCES dbcrypt_keys (active_key_digest) ON DELETE RESTRICT,
    CONSTRAINT crypto_keys_feature_known        CHECK (feature IN ('workspace_apps_token', 'workspace_apps_api_key', 'oidc_convert', 'tailnet_resume')),
    CONSTRAINT crypto_keys_sequence_positive    CHECK (sequence > 0),
    CONSTRAINT crypto_keys_secret_with_key      CHECK (secret IS NOT NULL OR secret_key_id IS NULL)
);
CREATE INDEX crypto_keys_secret_idx ON crypto_keys (secret_key_id);
COMMENT ON TABLE  crypto_keys            IS 'Keys by which the deployment signs and seals its own tokens. A deleted one keeps its row without the secret, so that sequences never repeat.';
COMMENT ON COLUMN crypto_keys.deletes_at IS 'NULL = the current key or a coming one.';

CREATE TABLE replicas (
    id               uuid        PRIMARY KEY,
    created_at       timestamptz NOT NULL,
    started_at       timestamptz NOT NULL,
    stopped_at       timestamptz,
    updated_at       timestamptz NOT NULL,
    hostname         text        NOT NULL,
    region_id        integer     NOT NULL DEFAULT 0,
    relay_address    text        NOT NULL DEFAULT '',
    database_latency integer     NOT NULL DEFAULT 0,
    version          text        NOT NULL,
    error            text        NOT NULL DEFAULT '',
    "primary"        boolean     NOT NULL DEFAULT true
);
CREATE INDEX replicas_updated_idx ON replicas (updated_at);
COMMENT ON TABLE  replicas                  IS 'Servers of this deployment, each with the time of its last sign of life.';
COMMENT ON COLUMN replicas.database_latency IS 'Microseconds.';

CREATE TABLE provisioner_keys (
    id              uuid        PRIMARY KEY,
    created_at      timestamptz NOT NULL,
    organization_id uuid        NOT NULL,
    name            varchar(64) NOT NULL,
    hashed_secret   bytea       NOT NULL,
    tags            jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT provisioner_keys_organization_fk FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE,
    CONSTRAINT provisioner_keys_name_check      CHECK (name <> ''),
    CONSTRAINT provisioner_keys_tags_object     CHECK (jsonb_typeof(tags) = 'object')
);
CREATE UNIQUE INDEX provisioner_keys_organization_name_lower_key ON provisioner_keys (organization_id, lower(name));
CREATE        INDEX provisioner_keys_organization_idx            ON provisioner_keys (organization_id);
CREATE        INDEX provisioner_keys_hash_idx                    ON provisioner_keys (hashed_secret);
COMMENT ON TABLE provisioner_keys IS 'By what provisioner daemons prove which organization they work for. SHA-256 of the secret. Three rows with fixed ids stand for the built-in ways.';

CREATE TABLE provisioner_daemons (
    id              uuid        PRIMARY KEY,
    created_at      timestamptz NOT NULL,
    name            varchar(64) NOT NULL,
    provisioners    text[]      NOT NULL,
    replica_id      uuid,
    tags            jsonb       NOT NULL DEFAULT '{}',
    last_seen_at    timestamptz,
    version         text        NOT NULL DEFAULT '',
    api_version     text        NOT NULL DEFAULT '1.0',
    organization_id uuid        NOT NULL,
    key_id          uuid        NOT NULL,
    CONSTRAINT provisioner_daemons_organization_fk    FOREIGN KEY (organization_id) REFERENCES organizations (id)    ON DELETE CASCADE,
    CONSTRAINT provisioner_daemons_key_fk             FOREIGN KEY (key_id)          REFERENCES provisioner_keys (id) ON DELETE CASCADE,
    CONSTRAINT provisioner_daemons_tags_object        CHECK (jsonb_typeof(tags) = 'object'),
    CONSTRAINT provisioner_daemons_provisioners_known CHECK (provisioners <@ ARRAY['echo', 'terraform'])
);
CREATE UNIQUE INDEX provisioner_daemons_organization_name_owner_key ON provisioner_daemons (organization_id, name, lower(coalesce(tags ->> 'owner', '')));
CREATE        INDEX provisioner_daemons_organization_idx            ON provisioner_daemons (organization_id);
CREATE        INDEX provisioner_daemons_key_idx                     ON provisioner_daemons (key_id);
CREATE        INDEX provisioner_daemons_last_seen_idx               ON provisioner_daemons (last_seen_at);
COMMENT ON TABLE provisioner_daemons IS 'Daemons that were seen. They go when they were not seen for a week.';

CREATE TABLE telemetry_items (
    key        text        PRIMARY KEY,
    value      text        NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
COMMENT ON TABLE telemetry_items IS 'What the last report about this deployment said.';

CREATE TABLE telemetry_locks (
    event_type       text        NOT NULL,
    period_ending_at timestamptz NOT NULL,
    PRIMARY KEY (event_type, period_ending_at),
    CONSTRAINT telemetry_locks_event_type_known CHECK (event_type IN ('aibridge_interceptions_summary', 'boundary_usage_summary'))
);
CREATE INDEX telemetry_locks_period_idx ON telemetry_locks (period_ending_at);
COMMENT ON TABLE telemetry_locks IS 'Which replica''s report of a period counts: the one whose row is there.';

CREATE TABLE usage_events (
    id                 text        PRIMARY KEY,
    event_type         text        NOT NULL,
    event_data         jsonb       NOT NULL,
    created_at         timestamptz NOT NULL,
    publish_started_at timestamptz,
    published_at       timestamptz,
    failure_message    text,
    CONSTRAINT usage_events_event_type_check CHECK (event_type IN ('dc_managed_agents_v1', 'hb_ai_seats_v1')),
    CONSTRAINT usage_events_event_data_object CHECK (jsonb_typeof(event_data) = 'object')
);
CREATE INDEX usage_events_created_idx ON usage_events (created_at);
COMMENT ON TABLE usage_events IS 'What counts towards limits of licences: events that add up (dc_) and heartbeats of a level (hb_).';

CREATE TABLE usage_events_daily (
    day        date  NOT NULL,
    event_type text  NOT NULL,
    usage_data jsonb NOT NULL,
    PRIMARY KEY (day, event_type)
);
COMMENT ON TABLE usage_events_daily IS 'usage_events by day in UTC: sums of events, the greatest of heartbeats. Written by a trigger.';

CREATE FUNCTION add_up_usage_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_events_daily AS d (day, event_type, usage_data)
    VALUES ((NEW.created_at AT TIME ZONE 'UTC')::date, NEW.event_type,
            jsonb_build_object('count', coalesce((NEW.event_data ->> 'count')::bigint, 0)))
    ON CONFLICT (day, event_type) DO UPDATE SET usage_data = CASE d.event_type
        WHEN 'hb_ai_seats_v1' THEN jsonb_build_object('count',
            greatest((d.usage_data ->> 'count')::bigint, (excluded.usage_data ->> 'count')::bigint))
        ELSE jsonb_build_object('count',
            (d.usage_data ->> 'count')::bigint + (excluded.usage_data ->> 'count')::bigint)
        END;
    RETURN NULL;
END $$;
CREATE TRIGGER add_up_usage_event AFTER INSERT ON usage_events
    FOR EACH ROW EXECUTE FUNCTION add_up_usage_event();

COMMENT ON TABLE audit_logs IS 'Who changed what. A row is written in the transaction of the change it describes.';
