-- Who uses which app of a workspace right now: a page makes hundreds of requests, of which the log of connections tells
-- the first.

CREATE UNLOGGED TABLE workspace_app_audit_sessions (
    id           uuid         PRIMARY KEY,
    agent_id     uuid         NOT NULL,
    app_id       uuid,
    user_id      uuid,
    ip           inet,
    user_agent   varchar(256) NOT NULL,
    slug_or_port varchar(256) NOT NULL,
    status_code  integer      NOT NULL,
    started_at   timestamptz  NOT NULL,
    updated_at   timestamptz  NOT NULL,
    CONSTRAINT workspace_app_audit_sessions_agent_fk FOREIGN KEY (agent_id) REFERENCES workspace_agents (id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX workspace_app_audit_sessions_key ON workspace_app_audit_sessions (
    agent_id,
    coalesce(app_id, '00000000-0000-0000-0000-000000000000'),
    coalesce(user_id, '00000000-0000-0000-0000-000000000000'),
    coalesce(ip, '0.0.0.0'),
    user_agent, slug_or_port, status_code);
CREATE        INDEX workspace_app_audit_sessions_updated_idx ON workspace_app_audit_sessions (updated_at);
COMMENT ON TABLE  workspace_app_audit_sessions         IS 'Uses of apps that go on, each told once in the log of connections. Not logged: a crash of the server loses it, and some are told twice.';
COMMENT ON COLUMN workspace_app_audit_sessions.app_id  IS 'NULL for a port.';
COMMENT ON COLUMN workspace_app_audit_sessions.user_id IS 'NULL for somebody who is not signed in.';
