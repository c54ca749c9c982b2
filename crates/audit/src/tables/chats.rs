//! Conversations with agents.

use stdx::cut;
use stdx::ids::McpServerId;
use store::chats::Chat;

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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stdx::ids::{ChatId, ChatModelId, OrganizationId, UserId};
    use store::Pk;
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;
    use crate::diff::{Auditable as _, diff};

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
