use serde::{Deserialize, Serialize};
use stdx::Secret;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Timestamp;

/// A user as administrators and the user see it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct User {
    pub id: Uuid,
    pub username: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub avatar_url: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    pub email: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub last_seen_at: Timestamp,
    pub status: String,
    pub login_type: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_service_account: bool,
    /// Deprecated, always empty.
    #[serde(default)]
    pub theme_preference: String,
    pub organization_ids: Vec<Uuid>,
    pub roles: Vec<SlimRole>,
    /// Whether the user takes an AI seat.
    pub has_ai_seat: bool,
}

/// A role by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct SlimRole {
    pub name: String,
    pub display_name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub organization_id: String,
}

/// A user as shown beside what they did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct MinimalUser {
    pub id: Uuid,
    pub username: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub avatar_url: String,
}

/// `POST /api/v2/users/first`
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct CreateFirstUserRequest {
    /// Address to sign in with.
    #[serde(default)]
    pub email: String,
    /// Letters, digits and single inner hyphens, at most 32.
    #[serde(default)]
    pub username: String,
    /// Display name, at most 128.
    #[serde(default)]
    pub name: String,
    /// Checked for strength.
    #[serde(default)]
    #[schema(value_type = String)]
    pub password: Secret<String>,
}

/// Answer of `POST /api/v2/users/first`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct CreateFirstUserResponse {
    pub user_id: Uuid,
    pub organization_id: Uuid,
}

/// `POST /api/v2/users/login`
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct LoginRequest {
    /// Address.
    #[serde(default)]
    pub email: String,
    /// Password.
    #[serde(default)]
    #[schema(value_type = String)]
    pub password: Secret<String>,
}

/// Answer of `POST /api/v2/users/login`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LoginResponse {
    /// Shown once; also set as a cookie.
    pub session_token: String,
}

/// `GET /api/v2/users/authmethods`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct AuthMethods {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub terms_of_service_url: String,
    pub password: AuthMethod,
    pub github: GithubAuthMethod,
    pub oidc: OidcAuthMethod,
}

/// A way to sign in.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct AuthMethod {
    pub enabled: bool,
}

/// Signing in with GitHub.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct GithubAuthMethod {
    pub enabled: bool,
    pub default_provider_configured: bool,
}

/// Signing in with an `OpenID` provider.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct OidcAuthMethod {
    pub enabled: bool,
    #[serde(rename = "signInText")]
    pub sign_in_text: String,
    #[serde(rename = "iconUrl")]
    pub icon_url: String,
}
