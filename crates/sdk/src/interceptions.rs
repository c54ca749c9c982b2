use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{MinimalUser, Timestamp};

/// `GET /api/v2/aibridge/interceptions`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Interceptions {
    /// Matches before paging, counted no further than `count_cap` + 1.
    pub count: i64,
    /// Where counting stops. A greater `count` says that there are more.
    pub count_cap: i64,
    /// Newest first.
    pub results: Vec<Interception>,
}

/// One request/response pair that the gateway recorded.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct Interception {
    pub id: Uuid,
    pub api_key_id: Option<String>,
    pub initiator: MinimalUser,
    pub provider: String,
    pub provider_name: String,
    pub model: String,
    pub client: Option<String>,
    pub session_id: String,
    pub metadata: Value,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub credential_kind: String,
    pub credential_hint: String,
    /// Null after success.
    pub error_type: Option<String>,
    pub error_message: Option<String>,
    pub token_usages: Vec<TokenUsage>,
    pub user_prompts: Vec<UserPrompt>,
    pub tool_usages: Vec<ToolUsage>,
}

/// Token counts of one upstream answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct TokenUsage {
    pub id: Uuid,
    pub interception_id: Uuid,
    pub provider_response_id: String,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cache_read_input_tokens: i64,
    pub cache_write_input_tokens: i64,
    pub metadata: Value,
    pub created_at: Timestamp,
}

/// What a person asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct UserPrompt {
    pub id: Uuid,
    pub interception_id: Uuid,
    pub provider_response_id: String,
    pub prompt: String,
    pub metadata: Value,
    pub created_at: Timestamp,
}

/// A tool that the model called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct ToolUsage {
    pub id: Uuid,
    pub interception_id: Uuid,
    pub provider_response_id: String,
    /// The provider's identifier of the call.
    pub provider_tool_call_id: String,
    pub server_url: String,
    pub tool: String,
    pub input: String,
    pub injected: bool,
    pub invocation_error: String,
    pub metadata: Value,
    pub created_at: Timestamp,
}

/// `GET /api/v2/aibridge/sessions`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Sessions {
    /// Matches before paging, counted no further than `count_cap` + 1.
    pub count: i64,
    /// Where counting stops. A greater `count` says that there are more.
    pub count_cap: i64,
    /// Last active first.
    pub sessions: Vec<Session>,
}

/// Sums over several answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct TokenUsageSummary {
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cache_read_input_tokens: i64,
    pub cache_write_input_tokens: i64,
    /// Sums of the numeric details; left out when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

/// Interceptions that a client tied together.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct Session {
    pub id: String,
    pub initiator: MinimalUser,
    pub providers: Vec<String>,
    pub models: Vec<String>,
    pub client: Option<String>,
    pub metadata: Value,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub last_active_at: Timestamp,
    pub threads: i64,
    pub token_usage_summary: TokenUsageSummary,
    pub last_prompt: Option<String>,
}

/// `GET /api/v2/aibridge/sessions/{session_id}`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct SessionThreads {
    pub id: String,
    pub initiator: MinimalUser,
    pub providers: Vec<String>,
    pub models: Vec<String>,
    pub client: Option<String>,
    pub metadata: Value,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub last_active_at: Timestamp,
    pub page_started_at: Option<Timestamp>,
    pub page_ended_at: Option<Timestamp>,
    /// Of the whole session, not of the page.
    pub token_usage_summary: TokenUsageSummary,
    /// Oldest first.
    pub threads: Vec<Thread>,
}

/// A chain of interceptions that began with a person's prompt.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct Thread {
    pub id: Uuid,
    pub prompt: Option<String>,
    pub model: String,
    pub provider: String,
    pub credential_kind: String,
    pub credential_hint: String,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub token_usage: TokenUsageSummary,
    pub agentic_actions: Vec<AgenticAction>,
    pub error_type: Option<String>,
    pub error_message: Option<String>,
}

/// One step of a thread.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct AgenticAction {
    pub model: String,
    pub token_usage: TokenUsageSummary,
    pub tool_calls: Vec<ToolCall>,
    pub thinking: Vec<Thinking>,
}

/// A tool call inside a step.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct ToolCall {
    pub id: Uuid,
    pub interception_id: Uuid,
    pub provider_response_id: String,
    pub server_url: String,
    pub tool: String,
    pub injected: bool,
    pub input: String,
    pub metadata: Value,
    pub created_at: Timestamp,
}

/// What the model said it thought.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct Thinking {
    pub text: String,
}
