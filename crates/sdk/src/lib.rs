//! Wire types of API v2, field by field as clients know them.
//!
//! Serde and nothing else: no IO, no rules, no rows. Requests tolerate unknown fields; answers hold every
//! field always, unless its documentation says that it is left out. Times are RFC 3339 in UTC with
//! microseconds, durations are integers in nanoseconds, absent lists are empty lists.

mod ai_providers;
mod api_keys;
mod audit;
mod authcheck;
mod connection_logs;
mod deployment;
mod gateway_keys;
mod interceptions;
mod response;
mod roles;
mod timestamp;
mod users;

pub use ai_providers::{
    AiProvider, AiProviderKey, AiProviderKeyMutation, CreateAiProviderRequest,
    UpdateAiProviderRequest,
};
pub use api_keys::{
    ApiKey, ApiKeyWithOwner, CreateTokenRequest, GenerateApiKeyResponse, Scopes, TokenConfig,
};
pub use audit::{AuditAction, AuditDiffField, AuditLog, AuditLogResponse, MinimalOrganization};
pub use authcheck::{
    AuthorizationAnswers, AuthorizationCheck, AuthorizationExplanation, AuthorizationObject,
    AuthorizationRequest, AuthorizationResponse, ExplainedAuthorizationResponse,
};
pub use connection_logs::{
    ConnectionLog, ConnectionLogResponse, ConnectionLogSshInfo, ConnectionLogWebInfo,
    ConnectionType,
};
pub use deployment::{BuildInfo, Readiness, ReadinessCheck};
pub use gateway_keys::{CreateGatewayKeyRequest, CreateGatewayKeyResponse, GatewayKey};
pub use interceptions::{
    AgenticAction, Interception, Interceptions, Session, SessionThreads, Sessions, Thinking,
    Thread, TokenUsage, TokenUsageSummary, ToolCall, ToolUsage, UserPrompt,
};
pub use response::{Response, Validation};
pub use roles::{
    AssignableRole, CustomRoleRequest, OrganizationMember, Permission, Role, UpdateRoles,
    UpdateWorkspaceSharingSettings, UserRoles, WorkspaceSharingSettings,
};
pub use timestamp::Timestamp;
pub use users::{
    AuthMethod, AuthMethods, CreateFirstUserRequest, CreateFirstUserResponse, CreateUserRequest,
    GetUsersResponse, GithubAuthMethod, LoginRequest, LoginResponse, MinimalUser, OidcAuthMethod,
    SlimRole, UpdateUserPasswordRequest, UpdateUserProfileRequest, User, UserAppearance,
    UserLoginType,
};

/// Clients send `null` for a list or a text that they have none of.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de> + Default,
{
    <Option<T> as serde::Deserialize>::deserialize(deserializer).map(Option::unwrap_or_default)
}
