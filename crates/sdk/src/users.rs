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

/// `GET /api/v2/users`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GetUsersResponse {
    /// By username.
    pub users: Vec<User>,
    /// Matches, on whatever page.
    pub count: i64,
}

/// `POST /api/v2/users`
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct CreateUserRequest {
    /// Address to sign in with; service accounts have none.
    #[serde(default, deserialize_with = "crate::null_is_default")]
    pub email: String,
    /// Letters, digits and single inner hyphens, at most 32.
    #[serde(default, deserialize_with = "crate::null_is_default")]
    pub username: String,
    /// Display name, at most 128.
    #[serde(default, deserialize_with = "crate::null_is_default")]
    pub name: String,
    /// Checked for strength; only for those who sign in by it.
    #[serde(default)]
    #[schema(value_type = String)]
    pub password: Secret<String>,
    /// `password` when left out; also `oidc`, `github` and `none`.
    #[serde(default, deserialize_with = "crate::null_is_default")]
    pub login_type: String,
    /// `active`, `dormant` or `suspended`; `dormant` when left out.
    #[serde(default)]
    pub user_status: Option<String>,
    /// At least one; the nil UUID is the default organization.
    #[serde(default, deserialize_with = "crate::null_is_default")]
    pub organization_ids: Vec<Uuid>,
    /// Deprecated: joins `organization_ids`.
    #[serde(default)]
    pub organization_id: Option<Uuid>,
    /// An account of a program: without address, without login.
    #[serde(default)]
    pub service_account: bool,
    /// Roles of the deployment, as far as the caller may give them.
    #[serde(default, deserialize_with = "crate::null_is_default")]
    pub roles: Vec<String>,
}

/// `PUT /api/v2/users/{user}/profile`
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct UpdateUserProfileRequest {
    /// Letters, digits and single inner hyphens, at most 32.
    #[serde(default)]
    pub username: String,
    /// Display name, at most 128.
    #[serde(default)]
    pub name: String,
}

/// `PUT /api/v2/users/{user}/password`
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct UpdateUserPasswordRequest {
    /// Needed of those who change their own.
    #[serde(default)]
    #[schema(value_type = String)]
    pub old_password: Secret<String>,
    /// Checked for strength.
    #[serde(default)]
    #[schema(value_type = String)]
    pub password: Secret<String>,
}

/// `GET /api/v2/users/{user}/login-type`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct UserLoginType {
    pub login_type: String,
}

/// How pages look to a user: `GET` and `PUT /api/v2/users/{user}/appearance`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserAppearance {
    /// Name of a theme; empty for the default.
    #[serde(default)]
    pub theme_preference: String,
    /// One of the known fonts; empty for the default.
    #[serde(default)]
    pub terminal_font: String,
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
