use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an endpoint answers when it has nothing else to say: every error, and some successes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Response {
    /// For people. Never empty.
    pub message: String,
    /// Technical; left out when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// One per broken rule; left out when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validations: Vec<Validation>,
}

/// A rule that a request broke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Validation {
    /// JSON name of the field, or the query parameter.
    pub field: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl Response {
    /// A message alone.
    pub fn message(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }
}
