use std::collections::HashMap;

use serde_json::{Map, Value};
use stdx::ids::{InterceptionId, UserId};
use store::interceptions::{Interception, Page, Prompt, Thought, Tokens, Tool};
use store::users::UserName;
use uuid::Uuid;

/// An interception and all that was recorded about it, in order of time.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) row: Interception,
    pub(crate) initiator: sdk::MinimalUser,
    pub(crate) tokens: Vec<Tokens>,
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) thoughts: Vec<Thought>,
}

/// Hands every interception of a page what belongs to it, in the page's order.
pub(crate) fn records(page: Page) -> Vec<Record> {
    let mut tokens = grouped(page.tokens, |row| row.interception_id.0);
    let mut prompts = grouped(page.prompts, |row| row.interception_id.0);
    let mut tools = grouped(page.tools, |row| row.interception_id.0);
    let mut thoughts = grouped(page.thoughts, |row| row.interception_id.0);
    let users = page.users;
    page.interceptions
        .into_iter()
        .map(|row| {
            let id = row.id.0;
            Record {
                initiator: initiator(&users, row.initiator_id.0),
                tokens: tokens.remove(&id).unwrap_or_default(),
                prompts: prompts.remove(&id).unwrap_or_default(),
                tools: tools.remove(&id).unwrap_or_default(),
                thoughts: thoughts.remove(&id).unwrap_or_default(),
                row,
            }
        })
        .collect()
}

fn grouped<T>(rows: Vec<T>, of: fn(&T) -> InterceptionId) -> HashMap<InterceptionId, Vec<T>> {
    let mut groups: HashMap<InterceptionId, Vec<T>> = HashMap::new();
    for row in rows {
        groups.entry(of(&row)).or_default().push(row);
    }
    groups
}

/// A user by identifier. One who is gone keeps the identifier and has no name.
pub(crate) fn initiator(users: &[UserName], id: UserId) -> sdk::MinimalUser {
    let found = users.iter().find(|user| user.id.0 == id);
    sdk::MinimalUser {
        id: id.uuid(),
        username: found.map(|user| user.username.clone()).unwrap_or_default(),
        name: found.map(|user| user.name.clone()).unwrap_or_default(),
        avatar_url: found.map(|user| user.avatar_url.clone()).unwrap_or_default(),
    }
}

/// Clients expect an object.
pub(crate) fn object(metadata: Value) -> Value {
    if metadata.is_object() { metadata } else { Value::Object(Map::new()) }
}

/// An empty text is none.
pub(crate) fn or_none(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl Record {
    pub(crate) const fn id(&self) -> Uuid {
        self.row.id.0.uuid()
    }

    pub(crate) fn into_wire(self) -> sdk::Interception {
        let row = self.row;
        sdk::Interception {
            id: row.id.0.uuid(),
            api_key_id: row.api_key_id,
            initiator: self.initiator,
            provider: row.provider,
            provider_name: row.provider_name,
            model: row.model,
            client: or_none(row.client),
            session_id: row.session_id,
            metadata: object(row.metadata),
            started_at: row.started_at.into(),
            ended_at: row.ended_at.map(Into::into),
            credential_kind: row.credential_kind,
            credential_hint: row.credential_hint,
            error_type: row.error_type,
            error_message: row.error_message,
            token_usages: self.tokens.into_iter().map(token_usage).collect(),
            user_prompts: self.prompts.into_iter().map(user_prompt).collect(),
            tool_usages: self.tools.into_iter().map(tool_usage).collect(),
        }
    }
}

fn token_usage(row: Tokens) -> sdk::TokenUsage {
    sdk::TokenUsage {
        id: row.id.0.uuid(),
        interception_id: row.interception_id.0.uuid(),
        provider_response_id: row.provider_response_id,
        input_tokens: row.input_tokens,
        output_tokens: row.output_tokens,
        cache_read_input_tokens: row.cache_read_input_tokens,
        cache_write_input_tokens: row.cache_write_input_tokens,
        metadata: object(row.metadata),
        created_at: row.created_at.into(),
    }
}

fn user_prompt(row: Prompt) -> sdk::UserPrompt {
    sdk::UserPrompt {
        id: row.id.0.uuid(),
        interception_id: row.interception_id.0.uuid(),
        provider_response_id: row.provider_response_id,
        prompt: row.prompt,
        metadata: object(row.metadata),
        created_at: row.created_at.into(),
    }
}

fn tool_usage(row: Tool) -> sdk::ToolUsage {
    sdk::ToolUsage {
        id: row.id.0.uuid(),
        interception_id: row.interception_id.0.uuid(),
        provider_response_id: row.provider_response_id,
        provider_tool_call_id: row.provider_tool_call_id,
        server_url: row.server_url.unwrap_or_default(),
        tool: row.tool,
        input: row.input,
        injected: row.injected,
        invocation_error: row.invocation_error.unwrap_or_default(),
        metadata: object(row.metadata),
        created_at: row.created_at.into(),
    }
}
