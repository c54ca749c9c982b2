use diesel::prelude::*;
use serde_json::Value;
use stdx::ids::{FactId, InterceptionId, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Pk;
use crate::schema::{
    aibridge_interceptions, aibridge_model_thoughts, aibridge_token_usages, aibridge_tool_usages,
    aibridge_user_prompts,
};

/// An interception as stored.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = aibridge_interceptions, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Interception {
    pub id: Pk<InterceptionId>,
    pub initiator_id: Pk<UserId>,
    pub api_key_id: Option<String>,
    pub provider: String,
    pub provider_name: String,
    pub model: String,
    pub client: String,
    pub started_at: OffsetDateTime,
    pub ended_at: Option<OffsetDateTime>,
    pub metadata: Value,
    pub client_session_id: Option<String>,
    pub thread_parent_id: Option<Uuid>,
    pub thread_root_id: Option<Uuid>,
    pub session_id: String,
    pub credential_kind: String,
    pub credential_hint: String,
    pub error_type: Option<String>,
    pub error_message: Option<String>,
}

/// The start of an interception, to be stored.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Start {
    pub id: InterceptionId,
    pub initiator_id: UserId,
    pub api_key_id: String,
    pub provider: String,
    pub provider_name: String,
    pub model: String,
    pub client: String,
    pub started_at: OffsetDateTime,
    pub metadata: Value,
    pub client_session_id: Option<String>,
    /// Links the interception to the one that recorded this tool call.
    pub correlating_tool_call_id: Option<String>,
    pub credential_kind: &'static str,
    pub credential_hint: String,
}

/// The end of an interception, to be stored. Ends once: a second end changes nothing.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct End {
    pub id: InterceptionId,
    pub ended_at: OffsetDateTime,
    pub credential_hint: String,
    pub error_type: Option<&'static str>,
    pub error_message: Option<String>,
}

macro_rules! fact_rows {
    ($($(#[$doc:meta])* $name:ident in $table:ident { $($field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Queryable, Selectable, Insertable)]
        #[diesel(table_name = $table, check_for_backend(diesel::pg::Pg))]
        #[expect(missing_docs, reason = "columns, documented by the schema")]
        pub struct $name {
            pub id: Pk<FactId>,
            pub interception_id: Pk<InterceptionId>,
            $(pub $field: $type,)*
            pub metadata: Value,
            pub created_at: OffsetDateTime,
        }
    )*};
}

fact_rows! {
    /// Token counts of one upstream answer.
    Tokens in aibridge_token_usages {
        provider_response_id: String,
        input_tokens: i64,
        output_tokens: i64,
        cache_read_input_tokens: i64,
        cache_write_input_tokens: i64,
    }
    /// What a person asked.
    Prompt in aibridge_user_prompts {
        provider_response_id: String,
        prompt: String,
    }
    /// A tool that the model called.
    Tool in aibridge_tool_usages {
        provider_response_id: String,
        provider_tool_call_id: String,
        provider_item_id: Option<String>,
        server_url: Option<String>,
        tool: String,
        input: String,
        injected: bool,
        invocation_error: Option<String>,
    }
    /// What the model said it thought.
    Thought in aibridge_model_thoughts {
        content: String,
    }
}

/// A batch of facts, sorted by kind.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "one list per kind")]
pub struct Facts {
    pub starts: Vec<Start>,
    pub tokens: Vec<Tokens>,
    pub prompts: Vec<Prompt>,
    pub tools: Vec<Tool>,
    pub thoughts: Vec<Thought>,
    pub ends: Vec<End>,
}
