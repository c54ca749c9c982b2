use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST /api/v2/authcheck`
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct AuthorizationRequest {
    /// Questions by names of the caller's choice, which the answers repeat; at most 100.
    #[serde(default)]
    pub checks: BTreeMap<String, AuthorizationCheck>,
}

/// Whether the caller may do something to an object.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct AuthorizationCheck {
    /// To what.
    pub object: AuthorizationObject,
    /// What, such as `read`.
    pub action: String,
}

/// An object that exists or could exist. What is left out is unknown.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct AuthorizationObject {
    /// Kind of the object, such as `workspace`; required.
    #[serde(default)]
    #[schema(required = true)]
    pub resource_type: String,
    /// Whose it is: a UUID, or `me` for the caller.
    #[serde(default)]
    pub owner_id: String,
    /// The organization that it is in: a UUID.
    #[serde(default)]
    pub organization_id: String,
    /// One object that exists: a UUID. Only for workspaces, templates, users and groups, and at most 10 times in
    /// a request. Replaces owner and organization by those of the object; false if the caller cannot see it.
    #[serde(default)]
    pub resource_id: String,
    /// In any of the caller's organizations; not together with `organization_id`.
    #[serde(default)]
    pub any_org: bool,
}

/// What `POST /api/v2/authcheck` answers: plain, or with reasons for `explain=true`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum AuthorizationAnswers {
    /// Yes or no.
    Plain(AuthorizationResponse),
    /// With reasons.
    Explained(ExplainedAuthorizationResponse),
}

/// The answers, by the names of the questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct AuthorizationResponse(pub BTreeMap<String, bool>);

/// The answers with their reasons, by the names of the questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct ExplainedAuthorizationResponse(pub BTreeMap<String, AuthorizationExplanation>);

/// An answer of [`AuthorizationResponse`] with what decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuthorizationExplanation {
    /// The answer.
    pub allowed: bool,
    /// Level of the permission that decided: `site`, `user`, `org` or `member`. Empty if it was not a permission.
    pub level: String,
    /// Role that holds the permission: `name`, or `name:<organization id>`. Empty as above.
    pub role: String,
    /// The permission: `type:action`, with `!` before it if it forbids. Empty as above.
    pub permission: String,
    /// One line for people.
    pub reason: String,
}
