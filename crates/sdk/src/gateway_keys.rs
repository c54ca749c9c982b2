use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Timestamp;

/// `POST /api/v2/ai-gateway/keys`
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct CreateGatewayKeyRequest {
    /// At most 64 lower-case letters, digits and single inner hyphens. No two keys have one name.
    #[serde(default)]
    pub name: String,
}

/// The answer to it. The key is shown this once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CreateGatewayKeyResponse {
    /// What lists will show of it.
    #[serde(flatten)]
    pub shown: GatewayKey,
    /// The key itself, `cgw_…`: what a gateway daemon is configured with.
    pub key: String,
}

/// A key of gateway daemons; never the key itself.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct GatewayKey {
    pub id: Uuid,
    pub name: String,
    /// The first eleven characters.
    pub token_prefix: String,
    /// The same under another name.
    pub key_prefix: String,
    pub created_at: Timestamp,
    /// Up to a minute behind; left out before the first use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}
