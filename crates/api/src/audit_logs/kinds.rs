//! The words of the audit log.

use sdk::AuditAction;

/// A kind of thing that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// In rows and searches.
    pub(super) name: &'static str,
    /// In sentences; the name with spaces when empty.
    pub(super) label: &'static str,
}

const fn kind(name: &'static str) -> Kind {
    Kind { name, label: "" }
}

const fn called(name: &'static str, label: &'static str) -> Kind {
    Kind { name, label }
}

/// All kinds, also those that only older rows have.
pub(super) const KINDS: &[Kind] = &[
    kind("ai_gateway_key"),
    kind("ai_provider"),
    kind("ai_provider_key"),
    kind("ai_seat"),
    called("api_key", "token"),
    kind("chat"),
    called("chat_model_config", "chat model"),
    kind("chat_usage_limit"),
    called("convert_login", "login type conversion"),
    kind("custom_role"),
    kind("encryption_key"),
    kind("git_ssh_key"),
    kind("group"),
    kind("group_ai_budget"),
    kind("health_settings"),
    called("idp_sync_settings_group", "settings"),
    called("idp_sync_settings_organization", "settings"),
    called("idp_sync_settings_role", "settings"),
    kind("license"),
    called("mcp_server_config", "mcp server"),
    kind("notification_template"),
    kind("notifications_settings"),
    kind("oauth2_grant"),
    kind("oauth2_provider_app"),
    kind("oauth2_provider_app_secret"),
    kind("organization"),
    kind("organization_member"),
    kind("prebuilds_settings"),
    kind("provisioner_key"),
    kind("task"),
    kind("template"),
    kind("template_version"),
    kind("user"),
    kind("user_ai_budget_override"),
    kind("user_ai_provider_key"),
    kind("user_secret"),
    kind("user_skill"),
    kind("workspace"),
    kind("workspace_agent"),
    kind("workspace_app"),
    called("workspace_build", "workspace"),
    kind("workspace_proxy"),
];

/// What a kind is called in a sentence. One that this version does not know goes by its name.
pub(super) fn label(name: &str) -> String {
    match KINDS.iter().find(|kind| kind.name == name) {
        Some(kind) if !kind.label.is_empty() => kind.label.to_owned(),
        _ => name.replace('_', " "),
    }
}

/// Something that is done to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verb {
    /// In rows and searches.
    pub(super) name: &'static str,
    /// On the wire.
    pub(super) action: AuditAction,
    /// In sentences about what was done.
    pub(super) past: &'static str,
}

const fn verb(name: &'static str, action: AuditAction, past: &'static str) -> Verb {
    Verb { name, action, past }
}

/// All verbs, also those that only older rows have.
pub(super) const VERBS: &[Verb] = &[
    verb("create", AuditAction::Create, "created"),
    verb("write", AuditAction::Write, "updated"),
    verb("delete", AuditAction::Delete, "deleted"),
    verb("start", AuditAction::Start, "started"),
    verb("stop", AuditAction::Stop, "stopped"),
    verb("login", AuditAction::Login, "logged in"),
    verb("logout", AuditAction::Logout, "logged out"),
    verb("register", AuditAction::Register, "registered"),
    verb("request_password_reset", AuditAction::RequestPasswordReset, "password reset requested"),
    verb("connect", AuditAction::Connect, "connected"),
    verb("disconnect", AuditAction::Disconnect, "disconnected"),
    verb("open", AuditAction::Open, "opened"),
    verb("close", AuditAction::Close, "closed"),
];

/// Why a workspace was built, as builds say it.
pub(super) const BUILD_REASONS: &[&str] = &[
    "autodelete",
    "autostart",
    "autostop",
    "cli",
    "dashboard",
    "dormancy",
    "initiator",
    "jetbrains_connection",
    "ssh_connection",
    "task_auto_pause",
    "task_manual_pause",
    "task_resume",
    "vscode_connection",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn verbs_are_those_of_the_wire() {
        for verb in VERBS {
            assert_eq!(json!(verb.action), json!(verb.name));
        }
    }

    #[test]
    fn everything_that_is_audited_can_be_searched_for() {
        for (name, ..) in audit::tables::TABLES {
            assert!(KINDS.iter().any(|kind| kind.name == *name), "{name}");
        }
        let mut names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KINDS.len());
    }

    #[test]
    fn labels_read_well() {
        for (name, expected) in [
            ("ai_provider", "ai provider"),
            ("ai_provider_key", "ai provider key"),
            ("api_key", "token"),
            ("workspace_build", "workspace"),
            ("idp_sync_settings_role", "settings"),
            ("of_the_future", "of the future"),
        ] {
            assert_eq!(label(name), expected);
        }
    }
}
