use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{MinimalOrganization, Timestamp, User};

/// `GET /api/v2/connectionlog`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConnectionLogResponse {
    /// Newest first.
    pub connection_logs: Vec<ConnectionLog>,
    /// Matches, counted no further than `count_cap` + 1.
    pub count: i64,
    /// Where counting stopped.
    pub count_cap: i64,
}

/// A connection to a workspace: with `web_info` one in a browser, with `ssh_info` one of another kind.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct ConnectionLog {
    pub id: Uuid,
    pub connect_time: Timestamp,
    pub organization: MinimalOrganization,
    pub workspace_owner_id: Uuid,
    pub workspace_owner_username: String,
    pub workspace_id: Uuid,
    pub workspace_name: String,
    pub agent_name: String,
    /// Left out when it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    #[serde(rename = "type")]
    pub kind: ConnectionType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_info: Option<ConnectionLogWebInfo>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_info: Option<ConnectionLogSshInfo>,
}

/// A kind of connection; the last two are of browsers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "named by the wire")]
pub enum ConnectionType {
    Ssh,
    Vscode,
    Jetbrains,
    ReconnectingPty,
    WorkspaceApp,
    PortForwarding,
}

/// Of a connection in a browser, whose end is not known.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct ConnectionLogWebInfo {
    pub user_agent: String,
    /// Null for somebody who was not signed in.
    pub user: Option<User>,
    pub slug_or_port: String,
    pub status_code: i32,
}

/// Of another connection. What is known once it has ended is left out before.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct ConnectionLogSshInfo {
    pub connection_id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnect_time: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disconnect_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}
