-- What is looked for again and again while it is a small part of its table: work in hand and work to do.

CREATE INDEX provisioner_jobs_worker_idx    ON provisioner_jobs (worker_id)  WHERE completed_at IS NULL;
CREATE INDEX chats_running_idx              ON chats (heartbeat_at)          WHERE status = 'running';
CREATE INDEX usage_events_unpublished_idx   ON usage_events (created_at, id) WHERE published_at IS NULL;
CREATE INDEX oauth2_provider_apps_unused_idx ON oauth2_provider_apps (created_at) WHERE dynamically_registered AND last_used_at IS NULL;
