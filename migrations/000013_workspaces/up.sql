-- Workspaces as far as agents, tasks and sharing need them: templates, builds, agents. Nothing here provisions.

CREATE TABLE provisioner_jobs (
    id              uuid        PRIMARY KEY,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    started_at      timestamptz,
    canceled_at     timestamptz,
    completed_at    timestamptz,
    error           text,
    error_code      text,
    organization_id uuid        NOT NULL,
    initiator_id    uuid        NOT NULL,
    type            text        NOT NULL,
    worker_id       uuid,
    tags            jsonb       NOT NULL DEFAULT '{}',
    job_status      text        NOT NULL GENERATED ALWAYS AS (
        CASE
            WHEN completed_at IS NOT NULL THEN
                CASE WHEN coalesce(error, '') <> '' THEN 'failed' WHEN canceled_at IS NOT NULL THEN 'canceled' ELSE 'succeeded' END
            WHEN coalesce(error, '') <> '' THEN 'failed'
            WHEN canceled_at IS NOT NULL THEN 'canceling'
            WHEN started_at IS NULL THEN 'pending'
            ELSE 'running'
        END) STORED,
    CONSTRAINT provisioner_jobs_organization_fk FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE,
    CONSTRAINT provisioner_jobs_type_known      CHECK (type IN ('template_version_import', 'workspace_build', 'template_version_dry_run'))
);
CREATE INDEX provisioner_jobs_organization_idx ON provisioner_jobs (organization_id);
COMMENT ON TABLE  provisioner_jobs            IS 'Work for provisioner daemons.';
COMMENT ON COLUMN provisioner_jobs.job_status IS 'What the times and the error amount to.';

CREATE TABLE templates (
    id                     uuid        PRIMARY KEY,
    organization_id        uuid        NOT NULL,
    created_at             timestamptz NOT NULL,
    updated_at             timestamptz NOT NULL,
    deleted                boolean     NOT NULL DEFAULT false,
    name                   varchar(64) NOT NULL,
    display_name           varchar(64) NOT NULL DEFAULT '',
    icon                   varchar(256) NOT NULL DEFAULT '',
    active_version_id      uuid        NOT NULL,
    created_by             uuid        NOT NULL,
    user_acl               jsonb       NOT NULL DEFAULT '{}',
    group_acl              jsonb       NOT NULL DEFAULT '{}',
    require_active_version boolean     NOT NULL DEFAULT false,
    deprecated             text        NOT NULL DEFAULT '',
    max_port_sharing_level text        NOT NULL DEFAULT 'owner',
    CONSTRAINT templates_organization_fk    FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE,
    CONSTRAINT templates_created_by_fk      FOREIGN KEY (created_by)      REFERENCES users (id)         ON DELETE RESTRICT,
    CONSTRAINT templates_name_check         CHECK (name <> ''),
    CONSTRAINT templates_user_acl_object    CHECK (jsonb_typeof(user_acl) = 'object'),
    CONSTRAINT templates_group_acl_object   CHECK (jsonb_typeof(group_acl) = 'object'),
    CONSTRAINT templates_port_sharing_known CHECK (max_port_sharing_level IN ('owner', 'authenticated', 'organization', 'public'))
);
CREATE UNIQUE INDEX templates_organization_name_lower_key ON templates (organization_id, lower(name)) WHERE NOT deleted;
CREATE        INDEX templates_organization_idx            ON templates (organization_id);
CREATE        INDEX templates_created_by_idx              ON templates (created_by);
COMMENT ON TABLE  templates          IS 'What workspaces are made from.';
COMMENT ON COLUMN templates.user_acl IS 'Actions by id of a user: {"<id>": ["read", ..]}.';

CREATE TABLE template_versions (
    id                 uuid        PRIMARY KEY,
    template_id        uuid,
    organization_id    uuid        NOT NULL,
    created_at         timestamptz NOT NULL,
    job_id             uuid        NOT NULL,
    created_by         uuid        NOT NULL,
    name               varchar(64) NOT NULL,
    has_ai_task        boolean,
    has_external_agent boolean,
    CONSTRAINT template_versions_template_fk     FOREIGN KEY (template_id)     REFERENCES templates (id)        ON DELETE CASCADE,
    CONSTRAINT template_versions_organization_fk FOREIGN KEY (organization_id) REFERENCES organizations (id)    ON DELETE CASCADE,
    CONSTRAINT template_versions_job_fk          FOREIGN KEY (job_id)          REFERENCES provisioner_jobs (id) ON DELETE CASCADE,
    CONSTRAINT template_versions_created_by_fk   FOREIGN KEY (created_by)      REFERENCES users (id)            ON DELETE RESTRICT
);
CREATE INDEX template_versions_template_idx     ON template_versions (template_id);
CREATE INDEX template_versions_organization_idx ON template_versions (organization_id);
CREATE INDEX template_versions_job_idx          ON template_versions (job_id);
CREATE INDEX template_versions_created_by_idx   ON template_versions (created_by);
COMMENT ON TABLE template_versions IS 'Versions of templates.';

CREATE TABLE workspaces (
    id                uuid        PRIMARY KEY,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    owner_id          uuid        NOT NULL,
    organization_id   uuid        NOT NULL,
    template_id       uuid        NOT NULL,
    deleted           boolean     NOT NULL DEFAULT false,
    name              varchar(64) NOT NULL,
    autostart_schedule text,
    ttl               bigint,
    last_used_at      timestamptz NOT NULL,
    dormant_at        timestamptz,
    deleting_at       timestamptz,
    automatic_updates text        NOT NULL DEFAULT 'never',
    favorite          boolean     NOT NULL DEFAULT false,
    next_start_at     timestamptz,
    user_acl          jsonb       NOT NULL DEFAULT '{}',
    group_acl         jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT workspaces_owner_fk                FOREIGN KEY (owner_id)        REFERENCES users (id)         ON DELETE RESTRICT,
    CONSTRAINT workspaces_organization_fk         FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE RESTRICT,
    CONSTRAINT workspaces_template_fk             FOREIGN KEY (template_id)     REFERENCES templates (id)     ON DELETE RESTRICT,
    CONSTRAINT workspaces_name_check              CHECK (name <> ''),
    CONSTRAINT workspaces_automatic_updates_known CHECK (automatic_updates IN ('always', 'never')),
    CONSTRAINT user_acl_is_object                 CHECK (jsonb_typeof(user_acl) = 'object'),
    CONSTRAINT group_acl_is_object                CHECK (jsonb_typeof(group_acl) = 'object')
);
CREATE UNIQUE INDEX workspaces_owner_name_lower_key ON workspaces (owner_id, lower(name)) WHERE NOT deleted;
CREATE        INDEX workspaces_owner_idx            ON workspaces (owner_id);
CREATE        INDEX workspaces_organization_idx     ON workspaces (organization_id);
CREATE        INDEX workspaces_template_idx         ON workspaces (template_id);
COMMENT ON TABLE  workspaces          IS 'Workspaces. Deleted ones stay for history.';
COMMENT ON COLUMN workspaces.user_acl IS 'Permissions by id of a user: {"<id>": {"permissions": ["read", ..]}}.';

CREATE TABLE workspace_builds (
    id                  uuid        PRIMARY KEY,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    workspace_id        uuid        NOT NULL,
    template_version_id uuid        NOT NULL,
    build_number        integer     NOT NULL,
    transition          text        NOT NULL,
    initiator_id        uuid        NOT NULL,
    job_id              uuid        NOT NULL,
    deadline            timestamptz,
    max_deadline        timestamptz,
    reason              text        NOT NULL DEFAULT 'initiator',
    has_ai_task         boolean,
    has_external_agent  boolean,
    provisioner_state   bytea,
    CONSTRAINT workspace_builds_workspace_number_key UNIQUE (workspace_id, build_number),
    CONSTRAINT workspace_builds_job_key              UNIQUE (job_id),
    CONSTRAINT workspace_builds_workspace_fk         FOREIGN KEY (workspace_id)        REFERENCES workspaces (id)        ON DELETE CASCADE,
    CONSTRAINT workspace_builds_template_version_fk  FOREIGN KEY (template_version_id) REFERENCES template_versions (id) ON DELETE CASCADE,
    CONSTRAINT workspace_builds_job_fk               FOREIGN KEY (job_id)              REFERENCES provisioner_jobs (id)  ON DELETE CASCADE,
    CONSTRAINT workspace_builds_initiator_fk         FOREIGN KEY (initiator_id)        REFERENCES users (id)             ON DELETE RESTRICT,
    CONSTRAINT workspace_builds_transition_known     CHECK (transition IN ('start', 'stop', 'delete')),
    CONSTRAINT workspace_builds_deadlines_in_order   CHECK (deadline <= max_deadline)
);
CREATE INDEX workspace_builds_template_version_idx ON workspace_builds (template_version_id);
CREATE INDEX workspace_builds_initiator_idx        ON workspace_builds (initiator_id);
CREATE INDEX workspace_builds_ai_task_idx          ON workspace_builds (workspace_id) WHERE has_ai_task;
COMMENT ON TABLE workspace_builds IS 'Starts, stops and deletions of workspaces.';

CREATE TABLE workspace_resources (
    id         uuid        PRIMARY KEY,
    created_at timestamptz NOT NULL,
    job_id     uuid        NOT NULL,
    transition text        NOT NULL,
    type       text        NOT NULL,
    name       text        NOT NULL,
    CONSTRAINT workspace_resources_job_fk           FOREIGN KEY (job_id) REFERENCES provisioner_jobs (id) ON DELETE CASCADE,
    CONSTRAINT workspace_resources_transition_known CHECK (transition IN ('start', 'stop', 'delete'))
);
CREATE INDEX workspace_resources_job_idx ON workspace_resources (job_id);
COMMENT ON TABLE workspace_resources IS 'What a build made.';

CREATE TABLE workspace_agents (
    id                 uuid        PRIMARY KEY,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    resource_id        uuid        NOT NULL,
    name               varchar(64) NOT NULL,
    auth_token         uuid        NOT NULL,
    auth_instance_id   text,
    parent_id          uuid,
    api_key_scope      text        NOT NULL DEFAULT 'all',
    deleted            boolean     NOT NULL DEFAULT false,
    lifecycle_state    text        NOT NULL DEFAULT 'created',
    first_connected_at timestamptz,
    last_connected_at  timestamptz,
    disconnected_at    timestamptz,
    started_at         timestamptz,
    ready_at           timestamptz,
    version            text        NOT NULL DEFAULT '',
    logs_length        integer     NOT NULL DEFAULT 0,
    CONSTRAINT workspace_agents_resource_fk     FOREIGN KEY (resource_id) REFERENCES workspace_resources (id) ON DELETE CASCADE,
    CONSTRAINT workspace_agents_parent_fk       FOREIGN KEY (parent_id)   REFERENCES workspace_agents (id)    ON DELETE CASCADE,
    CONSTRAINT workspace_agents_scope_known     CHECK (api_key_scope IN ('all', 'no_user_data')),
    CONSTRAINT workspace_agents_lifecycle_known CHECK (lifecycle_state IN ('created', 'starting', 'start_timeout', 'start_error', 'ready', 'shutting_down', 'shutdown_timeout', 'shutdown_error', 'off')),
    CONSTRAINT max_logs_length                  CHECK (logs_length <= 1048576)
);
CREATE INDEX workspace_agents_resource_idx ON workspace_agents (resource_id);
CREATE INDEX workspace_agents_parent_idx   ON workspace_agents (parent_id);
CREATE INDEX workspace_agents_token_idx    ON workspace_agents (auth_token);
COMMENT ON TABLE  workspace_agents           IS 'Agents that run in workspaces, and agents of those agents.';
COMMENT ON COLUMN workspace_agents.parent_id IS 'Of a sub-agent.';

-- Within one build, live agents are told apart by name.
CREATE FUNCTION refuse_second_agent_of_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT NEW.deleted AND EXISTS (
        SELECT 1 FROM workspace_resources mine
          JOIN workspace_resources other ON other.job_id = mine.job_id
          JOIN workspace_agents agent ON agent.resource_id = other.id
         WHERE mine.id = NEW.resource_id AND agent.id <> NEW.id AND agent.name = NEW.name AND NOT agent.deleted
    ) THEN
        RAISE EXCEPTION 'the workspace build has an agent of this name already'
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'workspace_agents_name_of_build';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_second_agent_of_name BEFORE INSERT OR UPDATE OF name, resource_id ON workspace_agents
    FOR EACH ROW EXECUTE FUNCTION refuse_second_agent_of_name();

CREATE UNLOGGED TABLE workspace_agent_metadata (
    workspace_agent_id uuid           NOT NULL,
    key                varchar(128)   NOT NULL,
    display_name       varchar(127)   NOT NULL,
    script             varchar(65535) NOT NULL,
    value              varchar(65535) NOT NULL DEFAULT '',
    error              varchar(65535) NOT NULL DEFAULT '',
    timeout            bigint         NOT NULL,
    "interval"         bigint         NOT NULL,
    collected_at       timestamptz,
    display_order      integer        NOT NULL DEFAULT 0,
    PRIMARY KEY (workspace_agent_id, key),
    CONSTRAINT workspace_agent_metadata_agent_fk FOREIGN KEY (workspace_agent_id) REFERENCES workspace_agents (id) ON DELETE CASCADE
);
COMMENT ON TABLE workspace_agent_metadata IS 'What agents last said of themselves. Not logged: a crash of the server loses it, and agents say it again.';

CREATE TABLE tasks (
    id                  uuid        PRIMARY KEY,
    organization_id     uuid        NOT NULL,
    owner_id            uuid        NOT NULL,
    name                text        NOT NULL,
    display_name        varchar(127) NOT NULL DEFAULT '',
    workspace_id        uuid,
    template_version_id uuid        NOT NULL,
    template_parameters jsonb       NOT NULL DEFAULT '{}',
    prompt              text        NOT NULL,
    created_at          timestamptz NOT NULL,
    deleted_at          timestamptz,
    CONSTRAINT tasks_organization_fk     FOREIGN KEY (organization_id)     REFERENCES organizations (id)     ON DELETE CASCADE,
    CONSTRAINT tasks_owner_fk            FOREIGN KEY (owner_id)            REFERENCES users (id)             ON DELETE CASCADE,
    CONSTRAINT tasks_workspace_fk        FOREIGN KEY (workspace_id)        REFERENCES workspaces (id)        ON DELETE CASCADE,
    CONSTRAINT tasks_template_version_fk FOREIGN KEY (template_version_id) REFERENCES template_versions (id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX tasks_owner_name_lower_key    ON tasks (owner_id, lower(name)) WHERE deleted_at IS NULL;
CREATE        INDEX tasks_organization_idx        ON tasks (organization_id);
CREATE        INDEX tasks_owner_idx               ON tasks (owner_id);
CREATE        INDEX tasks_workspace_idx           ON tasks (workspace_id);
CREATE        INDEX tasks_template_version_idx    ON tasks (template_version_id);
COMMENT ON TABLE tasks IS 'What agents were told to do, each in a workspace of its own.';

CREATE TABLE boundary_usage_stats (
    replica_id              uuid        PRIMARY KEY,
    unique_workspaces_count bigint      NOT NULL DEFAULT 0,
    unique_users_count      bigint      NOT NULL DEFAULT 0,
    allowed_requests        bigint      NOT NULL DEFAULT 0,
    denied_requests         bigint      NOT NULL DEFAULT 0,
    window_start            timestamptz NOT NULL,
    updated_at              timestamptz NOT NULL
);
COMMENT ON TABLE boundary_usage_stats IS 'Counters of each replica since the start of its window.';

CREATE VIEW workspaces_expanded AS
    SELECT w.*, u.avatar_url AS owner_avatar_url, u.username AS owner_username, u.name AS owner_name,
           o.name AS organization_name, o.display_name AS organization_display_name, o.icon AS organization_icon,
           t.name AS template_name, t.display_name AS template_display_name, t.icon AS template_icon,
           (SELECT k.id FROM tasks k WHERE k.workspace_id = w.id AND k.deleted_at IS NULL
             ORDER BY k.created_at DESC, k.id DESC LIMIT 1) AS task_id,
           coalesce((SELECT jsonb_object_agg(acl.id, jsonb_build_object(
                        'name', coalesce(nullif(g.display_name, ''), g.name, ''), 'avatar_url', coalesce(g.avatar_url, '')))
                       FROM jsonb_object_keys(w.group_acl) acl (id) LEFT JOIN groups g ON g.id::text = acl.id), '{}')
               AS group_acl_display_info,
           coalesce((SELECT jsonb_object_agg(acl.id, jsonb_build_object(
                        'name', coalesce(v.username, ''), 'avatar_url', coalesce(v.avatar_url, '')))
                       FROM jsonb_object_keys(w.user_acl) acl (id) LEFT JOIN visible_users v ON v.id::text = acl.id), '{}')
               AS user_acl_display_info
      FROM workspaces w
      JOIN visible_users u ON u.id = w.owner_id
      JOIN organizations o ON o.id = w.organization_id
      JOIN templates t ON t.id = w.template_id;
COMMENT ON VIEW workspaces_expanded IS 'Workspaces with the names of what they refer to.';

CREATE VIEW workspace_build_with_user AS
    SELECT b.id, b.created_at, b.updated_at, b.workspace_id, b.template_version_id, b.build_number, b.transition,
           b.initiator_id, b.job_id, b.deadline, b.max_deadline, b.reason, b.has_ai_task, b.has_external_agent,
           coalesce(u.avatar_url, '') AS initiator_by_avatar_url, coalesce(u.username, '') AS initiator_by_username,
           coalesce(u.name, '') AS initiator_by_name
      FROM workspace_builds b LEFT JOIN visible_users u ON u.id = b.initiator_id;
COMMENT ON VIEW workspace_build_with_user IS 'Builds with their initiator''s name, and without the provisioner''s state.';

CREATE VIEW workspace_latest_builds AS
    SELECT DISTINCT ON (b.workspace_id)
           b.id, b.workspace_id, b.template_version_id, b.job_id, b.transition, b.build_number, j.job_status
      FROM workspace_builds b
      JOIN workspaces w ON w.id = b.workspace_id AND NOT w.deleted
      JOIN provisioner_jobs j ON j.id = b.job_id
     ORDER BY b.workspace_id, b.build_number DESC;
COMMENT ON VIEW workspace_latest_builds IS 'The last build of each live workspace.';

CREATE VIEW tasks_with_status AS
    SELECT t.*, CASE
               WHEN t.workspace_id IS NULL THEN 'pending'
               WHEN build.status <> 'active' THEN build.status
               ELSE coalesce(agent.status, 'initializing')
           END AS status
      FROM tasks t
      LEFT JOIN LATERAL (
        SELECT b.job_id, CASE
                   WHEN b.job_status IN ('failed', 'canceling', 'canceled') THEN 'error'
                   WHEN b.transition IN ('stop', 'delete') AND b.job_status = 'succeeded' THEN 'paused'
                   WHEN b.transition = 'start' AND b.job_status = 'pending' THEN 'pending'
                   WHEN b.transition = 'start' AND b.job_status IN ('running', 'succeeded') THEN 'active'
                   ELSE 'unknown'
               END AS status
          FROM workspace_latest_builds b WHERE b.workspace_id = t.workspace_id
      ) build ON true
      LEFT JOIN LATERAL (
        SELECT CASE
                   WHEN a.lifecycle_state IN ('created', 'starting') THEN 'initializing'
                   WHEN a.lifecycle_state IN ('ready', 'start_timeout', 'start_error') THEN 'active'
                   ELSE 'unknown'
               END AS status
          FROM workspace_resources r JOIN workspace_agents a ON a.resource_id = r.id AND NOT a.deleted AND a.parent_id IS NULL
         WHERE r.job_id = build.job_id ORDER BY a.created_at, a.id LIMIT 1
      ) agent ON true
     WHERE t.deleted_at IS NULL;
COMMENT ON VIEW tasks_with_status IS 'Live tasks, with what their workspace''s build and agent amount to.';

CREATE OR REPLACE FUNCTION protect_deleting_organizations() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    workspace_count bigint := (SELECT count(*) FROM workspaces       WHERE organization_id = OLD.id AND NOT deleted);
    template_count  bigint := (SELECT count(*) FROM templates        WHERE organization_id = OLD.id AND NOT deleted);
    key_count       bigint := (SELECT count(*) FROM provisioner_keys WHERE organization_id = OLD.id);
    group_count     bigint := (SELECT count(*) FROM groups           WHERE organization_id = OLD.id AND id <> OLD.id);
    member_count    bigint := (
        SELECT count(*) FROM organization_members m JOIN users u ON u.id = m.user_id AND NOT u.deleted
         WHERE m.organization_id = OLD.id);
BEGIN
    IF workspace_count + template_count + key_count > 0 THEN
        RAISE EXCEPTION 'cannot delete organization: organization has % that must be deleted first', concat_ws(', ',
                CASE WHEN workspace_count > 0 THEN workspace_count || ' workspaces' END,
                CASE WHEN template_count > 0 THEN template_count || ' templates' END,
                CASE WHEN key_count > 0 THEN key_count || ' provisioner keys' END)
            USING ERRCODE = 'check_violation', CONSTRAINT = 'organizations_has_resources';
    END IF;
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
