use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{Timestamp, User};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "named by the wire")]
pub enum AuditAction {
    Create,
    Write,
    Delete,
    Start,
    Stop,
    Login,
    Logout,
    Register,
    RequestPasswordReset,
    Connect,
    Disconnect,
    Open,
    Close,
}

/// `GET /api/v2/audit`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditLogResponse {
    /// Newest first.
    pub audit_logs: Vec<AuditLog>,
    /// Matches, counted no further than `count_cap` + 1.
    pub count: i64,
    /// Where counting stopped.
    pub count_cap: i64,
}

/// A row of the audit log.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct AuditLog {
    pub id: Uuid,
    pub request_id: Uuid,
    pub time: Timestamp,
    pub ip: String,
    pub user_agent: String,
    pub resource_type: String,
    pub resource_id: Uuid,
    pub resource_target: String,
    pub resource_icon: String,
    pub action: AuditAction,
    pub diff: BTreeMap<String, AuditDiffField>,
    pub status_code: i32,
    pub additional_fields: serde_json::Value,
    /// With the placeholders `{user}` and `{target}`.
    pub description: String,
    pub resource_link: String,
    pub is_deleted: bool,
    /// Deprecated.
    pub organization_id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<MinimalOrganization>,
    /// Null for system actors.
    pub user: Option<User>,
}

/// How one field changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditDiffField {
    /// Before; left out when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<serde_json::Value>,
    /// After; left out when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<serde_json::Value>,
    /// Whether the values were replaced by empty ones.
    pub secret: bool,
}

/// An organization by name.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct MinimalOrganization {
    pub id: Uuid,
    pub name: String,
    pub display_name: String,
    pub icon: String,
}
