//! What the gateway records: facts about one interception, made once, never changed.
//!
//! Every fact carries an identifier made by the gateway (UUIDv7), so that storing one twice is the same
//! as storing it once. Text is valid UTF-8: what came in broken was replaced before it got here. Instants
//! have the precision of the database and are written as microseconds since 1970.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stdx::ids::{FactId, InterceptionId, UserId};
use time::OffsetDateTime;

/// Free-form details stored beside a fact.
pub type Metadata = BTreeMap<String, Value>;

/// One recorded fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fact {
    /// A request was accepted and is about to be sent upstream.
    Start(Start),
    /// The exchange is over, well or badly.
    End(End),
    /// What a person asked.
    Prompt(Prompt),
    /// What one upstream answer cost in tokens.
    Tokens(Tokens),
    /// A tool that the model called.
    Tool(Tool),
    /// What the model said it thought.
    Thought(Thought),
}

impl Fact {
    /// The interception that the fact is about.
    #[must_use]
    pub const fn interception(&self) -> InterceptionId {
        match self {
            Self::Start(f) => f.id,
            Self::End(f) => f.interception,
            Self::Prompt(f) => f.interception,
            Self::Tokens(f) => f.interception,
            Self::Tool(f) => f.interception,
            Self::Thought(f) => f.interception,
        }
    }
}

/// Whose credential was used upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// A key of the provider's pool.
    Centralized,
    /// The caller's own ("bring your own key").
    Byok,
}

impl CredentialKind {
    /// The name used in tables and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Centralized => "centralized",
            Self::Byok => "byok",
        }
    }
}

/// Written before the upstream call begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Of the interception; every other fact refers to it.
    pub id: InterceptionId,
    /// Who asked.
    pub initiator: UserId,
    /// The API key (its public identifier) that authenticated the caller.
    pub api_key_id: String,
    /// Provider type, e.g. `anthropic`.
    pub provider: String,
    /// Name of the provider instance, e.g. `anthropic-eu`.
    pub provider_name: String,
    /// As the client asked for it; `coder-aibridge-unknown` when unreadable.
    pub model: String,
    /// Name of the detected client program.
    pub client: String,
    /// Session key that the client sent, at most 256 bytes.
    pub client_session_id: Option<String>,
    /// Identifier of the tool call whose result this request carries; links it to its parent.
    pub correlating_tool_call_id: Option<String>,
    /// Whose credential is used.
    pub credential_kind: CredentialKind,
    /// Mask of the caller's own credential; empty for a pool key, which is known only at the end.
    pub credential_hint: String,
    /// When the request was accepted.
    #[serde(with = "micros")]
    pub started_at: OffsetDateTime,
    /// Details, among them `request_user_agent`.
    pub metadata: Metadata,
}

/// How an interception ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// The provider, or the gateway on its behalf, refused the request as malformed.
    BadRequest,
    /// The provider refused the credential.
    Unauthorized,
    /// The provider or all keys of the pool are rate limited.
    RateLimited,
    /// The provider has no capacity.
    Overloaded,
    /// The provider failed, could not be reached or broke off.
    ServerError,
    /// The provider did not answer in time.
    Timeout,
    /// The client left before the answer was complete.
    ClientGone,
    /// None of the above.
    Unknown,
}

impl ErrorType {
    /// The name used in tables and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::ClientGone => "client_gone",
            Self::Unknown => "unknown",
        }
    }
}

/// Written when the exchange is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// Idempotency key.
    pub id: FactId,
    /// Which interception.
    pub interception: InterceptionId,
    /// When the last byte was sent, or the exchange was given up.
    #[serde(with = "micros")]
    pub ended_at: OffsetDateTime,
    /// Mask of the credential that was used last.
    pub credential_hint: String,
    /// Absent after success.
    pub error_type: Option<ErrorType>,
    /// For people, at most 1,024 bytes; never a key or a body.
    pub error_message: Option<String>,
}

/// What a person asked, without the wrappers that client programs add.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// Idempotency key.
    pub id: FactId,
    /// Which interception.
    pub interception: InterceptionId,
    /// The provider's identifier of its answer; empty if none came.
    pub response_id: String,
    /// The text.
    pub prompt: String,
    /// When it was recorded.
    #[serde(with = "micros")]
    pub created_at: OffsetDateTime,
    /// Details.
    pub metadata: Metadata,
}

/// Token counts of one upstream answer. The five kinds never overlap, except that reasoning tokens are
/// part of `output` (they are billed as output) and listed again in `extra`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tokens {
    /// Idempotency key.
    pub id: FactId,
    /// Which interception.
    pub interception: InterceptionId,
    /// The provider's identifier of its answer.
    pub response_id: String,
    /// Input tokens that were neither read from nor written to a cache.
    pub input: i64,
    /// Output tokens, reasoning included.
    pub output: i64,
    /// Input tokens read from the provider's cache.
    pub cache_read: i64,
    /// Input tokens written to the provider's cache.
    pub cache_write: i64,
    /// Further counts by the names of aibridge's records, e.g. `completion_reasoning`.
    pub extra: BTreeMap<String, i64>,
    /// When it was recorded.
    #[serde(with = "micros")]
    pub created_at: OffsetDateTime,
    /// Details; `partial: true` when the stream broke before its final count.
    pub metadata: Metadata,
}

/// A tool that the model called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Idempotency key.
    pub id: FactId,
    /// Which interception.
    pub interception: InterceptionId,
    /// The provider's identifier of its answer.
    pub response_id: String,
    /// The provider's identifier of this call; a later request that carries its result refers to it.
    pub tool_call_id: String,
    /// The provider's identifier of the output item (Responses only).
    pub item_id: Option<String>,
    /// Name of the tool.
    pub tool: String,
    /// Arguments as JSON text, or as given when they are not JSON.
    pub input: String,
    /// MCP server of an injected tool.
    pub server_url: Option<String>,
    /// Whether the gateway added the tool.
    pub injected: bool,
    /// Why calling an injected tool failed.
    pub invocation_error: Option<String>,
    /// When it was recorded.
    #[serde(with = "micros")]
    pub created_at: OffsetDateTime,
    /// Details.
    pub metadata: Metadata,
}

/// What the model said it thought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thought {
    /// Idempotency key.
    pub id: FactId,
    /// Which interception.
    pub interception: InterceptionId,
    /// The text.
    pub content: String,
    /// When it was recorded.
    #[serde(with = "micros")]
    pub created_at: OffsetDateTime,
    /// Details: `source` is `thinking`, `reasoning_summary` or `commentary`.
    pub metadata: Metadata,
}

/// Instants as microseconds since 1970.
mod micros {
    use serde::{Deserialize as _, Deserializer, Serializer, de};
    use time::{Duration, OffsetDateTime};

    pub(super) fn serialize<S: Serializer>(at: &OffsetDateTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(at.unix_timestamp() * 1_000_000 + i64::from(at.microsecond()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<OffsetDateTime, D::Error> {
        let since = Duration::microseconds(i64::deserialize(from)?);
        let at = OffsetDateTime::UNIX_EPOCH.checked_add(since);
        at.ok_or_else(|| de::Error::custom("an instant is beyond the years that exist"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn end(ended_at: &Value) -> Value {
        json!({
            "kind": "end", "id": FactId::nil(), "interception": InterceptionId::nil(), "ended_at": ended_at,
            "credential_hint": "", "error_type": "client_gone", "error_message": null,
        })
    }

    #[test]
    fn instants_are_microseconds_also_before_1970() {
        for micros in [0_i64, 1_700_000_000_123_456, -1, -1_500_000] {
            let fact: Fact = serde_json::from_value(end(&json!(micros))).unwrap();
            let Fact::End(seen) = &fact else { panic!("{fact:?}") };
            assert_eq!(seen.ended_at.unix_timestamp_nanos(), i128::from(micros) * 1_000);
            assert_eq!(serde_json::to_value(&fact).unwrap(), end(&json!(micros)));
        }
    }

    #[test]
    fn an_instant_that_does_not_exist_is_refused() {
        for bad in [json!(i64::MAX), json!("2026-01-01T00:00:00Z"), json!(1.5)] {
            assert!(serde_json::from_value::<Fact>(end(&bad)).is_err(), "{bad}");
        }
    }
}
