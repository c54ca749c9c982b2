use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Timestamp;

/// A session or token; never its secret.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct ApiKey {
    pub id: String,
    pub user_id: Uuid,
    pub last_used: Timestamp,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub login_type: String,
    /// Deprecated: `all`, `application_connect` or empty.
    pub scope: String,
    pub scopes: Vec<String>,
    pub token_name: String,
    pub lifetime_seconds: i64,
    pub allow_list: Vec<String>,
}

/// A token in a list, with its owner's name.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ApiKeyWithOwner {
    /// The key.
    #[serde(flatten)]
    pub key: ApiKey,
    /// Whose.
    pub username: String,
}

/// `POST /api/v2/users/{user}/keys/tokens`
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct CreateTokenRequest {
    /// Nanoseconds; 0 or absent = the deployment's default.
    #[serde(default)]
    pub lifetime: i64,
    /// Deprecated single scope, ignored when `scopes` is given.
    #[serde(default)]
    pub scope: String,
    /// Names of public scopes; empty = `coder:all`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Unique per user, at most 64 characters; empty = made up.
    #[serde(default)]
    pub token_name: String,
    /// Entries `type:id`, either may be `*`; empty = `*:*`.
    #[serde(default)]
    pub allow_list: Vec<String>,
}

/// A fresh credential, shown this once.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GenerateApiKeyResponse {
    /// `{id}-{secret}`
    pub key: String,
}

/// `GET /api/v2/users/{user}/keys/tokens/tokenconfig`
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct TokenConfig {
    /// Nanoseconds.
    pub max_token_lifetime: i64,
}

/// `GET /api/v2/auth/scopes`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Scopes {
    /// Names that tokens may be given.
    pub external: Vec<String>,
}
