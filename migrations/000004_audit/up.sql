-- Who changed what. A row is written in the transaction of the change it describes.
CREATE TABLE audit_logs (
    id                uuid         PRIMARY KEY,
    time              timestamptz  NOT NULL,
    user_id           uuid         NOT NULL, -- nil for system actors; no foreign key, history outlives users
    organization_id   uuid         NOT NULL, -- nil for the site
    ip                inet,
    user_agent        varchar(256),
    resource_type     text         NOT NULL,
    resource_id       uuid         NOT NULL,
    resource_target   text         NOT NULL,
    resource_icon     text         NOT NULL DEFAULT '',
    action            text         NOT NULL,
    diff              jsonb        NOT NULL,
    status_code       integer      NOT NULL,
    additional_fields jsonb        NOT NULL,
    request_id        uuid         NOT NULL,
    CONSTRAINT audit_logs_action_known CHECK (action IN ('create', 'write', 'delete', 'start', 'stop', 'login', 'logout', 'register', 'request_password_reset', 'connect', 'disconnect', 'open', 'close'))
);
CREATE INDEX audit_logs_newest_idx       ON audit_logs (time DESC, id DESC);
CREATE INDEX audit_logs_organization_idx ON audit_logs (organization_id, time DESC);
CREATE INDEX audit_logs_user_idx         ON audit_logs (user_id, time DESC);
CREATE INDEX audit_logs_type_idx         ON audit_logs (resource_type, time DESC);
CREATE INDEX audit_logs_resource_idx     ON audit_logs (resource_id);
