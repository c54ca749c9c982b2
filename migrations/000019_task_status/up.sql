-- The latest build of a task's workspace is looked up for the task, not for all workspaces.

CREATE OR REPLACE VIEW tasks_with_status AS
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
         -- There is one at most. This lets the planner look for it rather than make a list of all workspaces' first.
         LIMIT 1
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
