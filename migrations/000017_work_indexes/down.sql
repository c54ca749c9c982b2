DROP INDEX oauth2_provider_apps_unused_idx;
DROP INDEX usage_events_unpublished_idx;
DROP INDEX chats_running_idx;
DROP INDEX provisioner_jobs_worker_idx;
