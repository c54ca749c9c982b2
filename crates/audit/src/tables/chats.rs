//! Conversations with agents.

use serde_json::json;
use stdx::cut;
use stdx::ids::{McpServerId, OrganizationId, ProviderId, UserId};
use store::chat_models::{ChatModel, UsageLimit};
use store::chats::Chat;
use store::mcp_servers::{McpSecrets, McpServer, McpSettings};
use uuid::Uuid;

use crate::diff::{Auditable, Field, Shown};

/// What there is one of in a deployment has this identifier.
const SINGLETON: Uuid = Uuid::from_u128(0x51a5_1c00_0000_0000_0000_0000_0000_0000);

auditable! {
    Chat as "chat" {
        id: |chat| chat.id.0.uuid(),
        // The title says what the chat is about, which is its owner's: the identifier's beginning has to do.
        target: |chat| cut(&chat.id.0.to_string(), 8).to_owned(),
        organization: |chat| chat.organization_id.0,
        track: [
            id => id.0, owner_id => owner_id.0, archived => archived, labels => labels,
            mcp_server_ids => mcp_server_ids.iter().map(|id| id.0).collect::<Vec<McpServerId>>(),
            mode => mode, pin_order => pin_order, plan_mode => plan_mode,
        ],
        secret: [title => Some(title.as_str())],
        ignore: [
            organization_id, workspace_id, status, worker_id, started_at, heartbeat_at, created_at,
            updated_at, parent_chat_id, root_chat_id, last_model_config_id, last_error,
            last_read_message_id, last_injected_context, dynamic_tools, client_type,
        ],
    }
}

auditable! {
    ChatModel as "chat_model_config" {
        id: |model| model.id.0.uuid(),
        target: |model| model.model.clone(),
        organization: |_| OrganizationId::nil(),
        track: [
            id => id.0, ai_provider_id => ai_provider_id.map(|id| -> ProviderId { id.0 }), provider => provider,
            model => model, display_name => display_name,
            created_by => created_by.map(|id| -> UserId { id.0 }), enabled => enabled, is_default => is_default,
            deleted => deleted, context_limit => context_limit,
            compression_threshold => compression_threshold, options => options,
        ],
        secret: [],
        // The log itself says who and when.
        ignore: [updated_by, deleted_at, created_at, updated_at],
    }
}

auditable! {
    UsageLimit as "chat_usage_limit" {
        id: |_| SINGLETON,
        target: |_| String::new(),
        organization: |_| OrganizationId::nil(),
        track: [enabled => enabled, default_limit_micros => default_limit_micros, period => period],
        secret: [],
        ignore: [created_at, updated_at],
    }
}

impl Auditable for McpServer {
    const RESOURCE_TYPE: &'static str = "mcp_server_config";

    fn id(&self) -> Uuid {
        self.id.uuid()
    }

    fn target(&self) -> String {
        self.settings.slug.clone()
    }

    fn fields(&self) -> Vec<Field<'_>> {
        let Self { id, settings, secrets, fault: _, created_at: _, updated_at: _ } = self;
        let McpSettings {
            display_name,
            slug,
            description,
            url,
            auth_type,
            oauth2_client_id,
            api_key_header,
            enabled,
        } = settings;
        let McpSecrets { oauth2_client_secret, api_key_value, custom_headers } = secrets;
        let shown = [
            ("id", json!(id)),
            ("display_name", json!(display_name)),
            ("slug", json!(slug)),
            ("description", json!(description)),
            ("url", json!(url)),
            ("auth_type", json!(auth_type)),
            ("oauth2_client_id", json!(oauth2_client_id)),
            ("api_key_header", json!(api_key_header)),
            ("enabled", json!(enabled)),
        ];
        let secret = [
            ("oauth2_client_secret", oauth2_client_secret),
            ("api_key_value", api_key_value),
            ("custom_headers", custom_headers),
        ];
        let shown = shown.into_iter().map(|(name, value)| (name, Shown::Tracked(value)));
        let secret = secret.into_iter().map(|(name, secret)| {
            // Empty is none.
            let text = Some(secret.expose().as_str()).filter(|text| !text.is_empty());
            (name, Shown::Secret(text.map(Into::into)))
        });
        shown.chain(secret).map(|(name, shown)| Field { name, shown }).collect()
    }
}

#[cfg(test)]
mod tests {
    use stdx::ids::{ChatId, ChatModelId};
    use store::Pk;
    use time::OffsetDateTime;

    use super::*;
    use crate::diff::diff;

    fn chat() -> Chat {
        Chat {
            id: Pk(ChatId::new(Uuid::from_u128(1))),
            owner_id: Pk(UserId::new(Uuid::from_u128(2))),
            organization_id: Pk(OrganizationId::new(Uuid::from_u128(3))),
            workspace_id: None,
            title: "How to be paid more".to_owned(),
            status: "waiting".to_owned(),
            worker_id: None,
            started_at: None,
            heartbeat_at: None,
            created_at: OffsetDateTime::UNIX_EPOCH,
            updated_at: OffsetDateTime::UNIX_EPOCH,
            parent_chat_id: None,
            root_chat_id: None,
            last_model_config_id: Pk(ChatModelId::new(Uuid::from_u128(4))),
            archived: false,
            last_error: None,
            mode: None,
            plan_mode: None,
            mcp_server_ids: Vec::new(),
            labels: json!({}),
            pin_order: 0,
            last_read_message_id: None,
            last_injected_context: None,
            dynamic_tools: None,
            client_type: "ui".to_owned(),
        }
    }

    #[test]
    fn what_people_change_is_shown_and_what_a_chat_is_about_is_not() {
        let server = McpServerId::new(Uuid::from_u128(5));
        let new = Chat {
            title: "How to leave".to_owned(),
            archived: true,
            labels: json!({ "team": "core" }),
            mcp_server_ids: vec![Pk(server)],
            mode: Some("explore".to_owned()),
            plan_mode: Some("plan".to_owned()),
            pin_order: 2,
            ..chat()
        };
        let shown = |old, new| json!({ "old": old, "new": new, "secret": false });
        let seen = diff(Some(&chat()), Some(&new));
        let wanted = json!({
            "archived": shown(json!(false), json!(true)),
            "labels": shown(json!({}), json!({ "team": "core" })),
            "mcp_server_ids": shown(json!([]), json!([server])),
            "mode": shown(json!(""), json!("explore")),
            "plan_mode": shown(json!(""), json!("plan")),
            "pin_order": shown(json!(0), json!(2)),
            "title": { "old": "", "new": "", "secret": true },
        });
        assert_eq!(json!(seen), wanted);
        assert!(!new.target().contains("leave"), "the target is shown as well");
        assert_eq!((new.id(), new.organization().uuid()), (new.id.0.uuid(), Uuid::from_u128(3)));
    }

    #[test]
    fn work_on_a_chat_is_no_change_of_it() {
        let new = Chat {
            status: "running".to_owned(),
            heartbeat_at: Some(OffsetDateTime::UNIX_EPOCH),
            last_error: Some("late".to_owned()),
            last_read_message_id: Some(7),
            ..chat()
        };
        assert!(diff(Some(&chat()), Some(&new)).is_empty());
    }
}
