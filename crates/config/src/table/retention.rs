//! How long records are kept.

use std::time::Duration;

use super::options;
use crate::groups::RETENTION;

options! {
    /// How long records are kept. Zero keeps them for ever.
    Retention at "retention" {
        /// How long audit rows are kept. 0 keeps them for ever.
        audit_logs: Duration = "0" {
            name: "Audit Logs Retention", env: "CODER_AUDIT_LOGS_RETENTION",
            flag: "audit-logs-retention", yaml: "audit_logs", group: &RETENTION,
            json: "retention.audit_logs",
        },
        /// How long connection rows are kept. 0 keeps them for ever.
        connection_logs: Duration = "0" {
            name: "Connection Logs Retention", env: "CODER_CONNECTION_LOGS_RETENTION",
            flag: "connection-logs-retention", yaml: "connection_logs", group: &RETENTION,
            json: "retention.connection_logs",
        },
        /// How long expired API keys are kept, so that their use gets a helpful answer.
        api_keys: Duration = "7d" {
            name: "API Keys Retention", env: "CODER_API_KEYS_RETENTION",
            flag: "api-keys-retention", yaml: "api_keys", group: &RETENTION,
            json: "retention.api_keys",
        },
        /// How long logs of workspace agents are kept; those of the latest build stay.
        workspace_agent_logs: Duration = "7d" {
            name: "Workspace Agent Logs Retention", env: "CODER_WORKSPACE_AGENT_LOGS_RETENTION",
            flag: "workspace-agent-logs-retention", yaml: "workspace_agent_logs",
            group: &RETENTION, json: "retention.workspace_agent_logs",
        },
        /// How long boundary logs are kept. 0 keeps them for ever.
        boundary_logs: Duration = "0" {
            name: "Boundary Logs Retention", env: "CODER_BOUNDARY_LOG_RETENTION",
            flag: "boundary-log-retention", yaml: "boundary_logs", group: &RETENTION,
            json: "retention.boundary_logs",
        },
    }
}
