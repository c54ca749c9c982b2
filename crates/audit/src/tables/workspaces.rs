//! Workspaces, the templates that they are made from, and what agents are told to do in them.

use store::tasks::Task;
use store::templates::Template;
use store::workspaces::Workspace;
use time::OffsetDateTime;

auditable! {
    Workspace as "workspace" {
        id: |workspace| workspace.id.0.uuid(),
        target: |workspace| workspace.name.clone(),
        organization: |workspace| workspace.organization_id.0,
        track: [
            id => id.0, owner_id => owner_id.0, template_id => template_id.0, name => name,
            autostart_schedule => autostart_schedule, ttl => ttl,
            dormant_at => dormant_at.map(OffsetDateTime::unix_timestamp),
            deleting_at => deleting_at.map(OffsetDateTime::unix_timestamp),
            automatic_updates => automatic_updates, favorite => favorite,
            next_start_at => next_start_at.map(OffsetDateTime::unix_timestamp),
            user_acl => user_acl, group_acl => group_acl,
        ],
        secret: [],
        ignore: [created_at, updated_at, organization_id, deleted, last_used_at],
    }
}

auditable! {
    Template as "template" {
        id: |template| template.id.0.uuid(),
        target: |template| template.name.clone(),
        organization: |template| template.organization_id.0,
        track: [
            id => id.0, name => name, display_name => display_name, icon => icon,
            active_version_id => active_version_id.0, created_by => created_by.0,
            user_acl => user_acl, group_acl => group_acl,
            require_active_version => require_active_version, deprecated => deprecated,
            max_port_sharing_level => max_port_sharing_level,
        ],
        secret: [],
        ignore: [organization_id, created_at, updated_at, deleted],
    }
}

auditable! {
    Task as "task" {
        id: |task| task.id.0.uuid(),
        target: |task| task.name.clone(),
        organization: |task| task.organization_id.0,
        track: [
            id => id.0, owner_id => owner_id.0, name => name, display_name => display_name,
            workspace_id => workspace_id.map(|id| id.0.uuid()),
            template_version_id => template_version_id.0, prompt => prompt,
        ],
        secret: [],
        // Parameters of templates may be credentials.
        ignore: [organization_id, template_parameters, created_at, deleted_at],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use stdx::ids::{OrganizationId, TaskId, TemplateId, TemplateVersionId, UserId, WorkspaceId};
    use store::Pk;
    use uuid::Uuid;

    use super::*;
    use crate::diff::{Auditable as _, diff};

    const ORG: OrganizationId = OrganizationId::new(Uuid::from_u128(3));
    const THEN: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn workspace() -> Workspace {
        Workspace {
            id: Pk(WorkspaceId::new(Uuid::from_u128(1))),
            created_at: THEN,
            updated_at: THEN,
            owner_id: Pk(UserId::new(Uuid::from_u128(2))),
            organization_id: Pk(ORG),
            template_id: Pk(TemplateId::new(Uuid::from_u128(4))),
            deleted: false,
            name: "dev".to_owned(),
            autostart_schedule: None,
            ttl: None,
            last_used_at: THEN,
            dormant_at: None,
            deleting_at: None,
            automatic_updates: "never".to_owned(),
            favorite: false,
            next_start_at: None,
            user_acl: json!({}),
            group_acl: json!({}),
        }
    }

    fn template() -> Template {
        Template {
            id: Pk(TemplateId::new(Uuid::from_u128(4))),
            organization_id: Pk(ORG),
            created_at: THEN,
            updated_at: THEN,
            deleted: false,
            name: "rust".to_owned(),
            display_name: String::new(),
            icon: String::new(),
            active_version_id: Pk(TemplateVersionId::new(Uuid::from_u128(5))),
            created_by: Pk(UserId::new(Uuid::from_u128(2))),
            user_acl: json!({}),
            group_acl: json!({}),
            require_active_version: false,
            deprecated: String::new(),
            max_port_sharing_level: "owner".to_owned(),
        }
    }

    fn task() -> Task {
        Task {
            id: Pk(TaskId::new(Uuid::from_u128(6))),
            organization_id: Pk(ORG),
            owner_id: Pk(UserId::new(Uuid::from_u128(2))),
            name: "fix".to_owned(),
            display_name: String::new(),
            workspace_id: None,
            template_version_id: Pk(TemplateVersionId::new(Uuid::from_u128(5))),
            template_parameters: json!({ "token": "s3cr3t" }),
            prompt: "Fix the build".to_owned(),
            created_at: THEN,
            deleted_at: None,
        }
    }

    fn shown(old: &Value, new: &Value) -> Value {
        json!({ "old": old, "new": new, "secret": false })
    }

    #[test]
    fn sharing_is_shown_and_use_is_not() {
        let list = json!({ "7": { "permissions": ["read"] } });
        let new = Workspace { user_acl: list.clone(), group_acl: list.clone(), ..workspace() };
        let lists = json!({
            "user_acl": shown(&json!({}), &list),
            "group_acl": shown(&json!({}), &list),
        });
        assert_eq!(json!(diff(Some(&workspace()), Some(&new))), lists);
        assert_eq!(
            (new.id(), new.organization(), new.target()),
            (new.id.0.uuid(), ORG, "dev".into())
        );
        let later = OffsetDateTime::UNIX_EPOCH + time::Duration::HOUR;
        let used = Workspace { last_used_at: later, updated_at: later, ..workspace() };
        assert!(diff(Some(&workspace()), Some(&used)).is_empty());
        let asleep = Workspace { dormant_at: Some(later), ttl: Some(7), ..workspace() };
        let wanted = json!({
            "dormant_at": shown(&json!(0), &json!(3600)),
            "ttl": shown(&json!(0), &json!(7)),
        });
        assert_eq!(json!(diff(Some(&workspace()), Some(&asleep))), wanted);
    }

    #[test]
    fn who_may_use_a_template_is_shown() {
        let list = json!({ "7": ["use"] });
        let new = Template { user_acl: list.clone(), updated_at: THEN, ..template() };
        let wanted = json!({ "user_acl": shown(&json!({}), &list) });
        assert_eq!(json!(diff(Some(&template()), Some(&new))), wanted);
        assert_eq!(
            (new.id(), new.organization(), new.target()),
            (new.id.0.uuid(), ORG, "rust".into())
        );
    }

    #[test]
    fn what_was_told_is_shown_without_parameters() {
        let seen = diff(Some(&task()), None);
        let names: Vec<&str> = seen.keys().map(String::as_str).collect();
        assert_eq!(names, ["id", "name", "owner_id", "prompt", "template_version_id"]);
        assert!(!json!(seen).to_string().contains("s3cr3t"));
        let there = WorkspaceId::new(Uuid::from_u128(1));
        let new = Task { workspace_id: Some(Pk(there)), ..task() };
        let wanted = json!({ "workspace_id": shown(&json!(""), &json!(there)) });
        assert_eq!(json!(diff(Some(&task()), Some(&new))), wanted);
        assert_eq!(
            (new.id(), new.organization(), new.target()),
            (new.id.0.uuid(), ORG, "fix".into())
        );
    }
}
