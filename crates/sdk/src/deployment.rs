use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET /api/v2/buildinfo`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct BuildInfo {
    pub external_url: String,
    pub version: String,
    pub dashboard_url: String,
    pub telemetry: bool,
    pub workspace_proxy: bool,
    pub agent_api_version: String,
    pub provisioner_api_version: String,
    pub upgrade_message: String,
    pub deployment_id: String,
}

/// `GET /readyz`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether every check passed; the status is 503 otherwise.
    pub ready: bool,
    /// What was looked at.
    pub checks: Vec<ReadinessCheck>,
}

/// One thing that must work.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReadinessCheck {
    /// What.
    pub name: String,
    /// Whether it works.
    pub ok: bool,
    /// Figures or the reason.
    pub detail: String,
}
