//! The kinds of things that are protected, and which actions each kind knows.
//!
//! This table is the single source: enums, role validity, low-level scope names and the published
//! matrix all follow from it. A new row fails to compile until every built-in role has answered for it.

use std::fmt;
use std::str::FromStr;

use crate::UnknownName;
use crate::action::{Action, ActionSet};

macro_rules! resources {
    ($($(#[$doc:meta])* $name:ident = $text:literal: $($action:ident)+;)*) => {
        /// A kind of protected thing. Ordered by wire name.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Resource {
            $($(#[$doc])* $name,)*
        }

        impl Resource {
            /// How many kinds there are.
            pub const COUNT: usize = [$($text),*].len();

            /// Every kind, sorted by wire name.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$name),*];

            /// The name on the wire, in stored permissions and in scopes.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The actions that this kind knows. Any other action on it is refused to everybody.
            #[must_use]
            pub const fn actions(self) -> ActionSet {
                match self {
                    $(Self::$name => const { ActionSet::of(&[$(Action::$action),+]) },)*
                }
            }
        }

        impl FromStr for Resource {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                match text {
                    $($text => Ok(Self::$name),)*
                    _ => Err(UnknownName::new("resource type", text)),
                }
            }
        }
    };
}

resources! {
    /// Keys with which remote gateway daemons identify themselves; update records the last use.
    AiGatewayKey = "ai_gateway_key": Create Read Update Delete;
    /// Prices of AI models.
    AiModelPrice = "ai_model_price": Read Update;
    /// A configured AI provider with its keys.
    AiProvider = "ai_provider": Create Read Update Delete;
    /// Use of a licensed AI seat: create records it, read counts it.
    AiSeat = "ai_seat": Create Read;
    /// A recorded request of the AI gateway and everything recorded under it.
    Interception = "aibridge_interception": Create Read Update Delete;
    /// An API key; reading never shows the secret, update changes the expiry.
    ApiKey = "api_key": Create Read Update Delete;
    /// Roles within an organization: assigning them, listing them, editing custom ones.
    AssignOrgRole = "assign_org_role": Assign Unassign Create Read Update Delete;
    /// Roles of the deployment: assigning and listing them.
    AssignRole = "assign_role": Assign Unassign Read;
    /// The audit log.
    AuditLog = "audit_log": Create Read;
    /// Logs and sessions of the network boundary of agents.
    BoundaryLog = "boundary_log": Create Read Delete;
    /// Counters of the network boundary of agents.
    BoundaryUsage = "boundary_usage": Read Update Delete;
    /// A chat with its messages.
    Chat = "chat": Create Read Update Delete Share;
    /// A model that chats may use.
    ChatModelConfig = "chat_model_config": Create Read Update Delete Share;
    /// A group of chats.
    ChatProject = "chat_project": Create Read Update Delete Share;
    /// The log of connections to workspaces.
    ConnectionLog = "connection_log": Read Update;
    /// A key that signs or encrypts tokens of the deployment.
    CryptoKey = "crypto_key": Create Read Update Delete;
    /// Debug routes.
    DebugInfo = "debug_info": Read;
    /// Configuration of the deployment.
    DeploymentConfig = "deployment_config": Read Update;
    /// Statistics of the deployment.
    DeploymentStats = "deployment_stats": Read;
    /// An uploaded file.
    File = "file": Create Read;
    /// A group of users of one organization.
    Group = "group": Create Read Update Delete;
    /// Membership in a group.
    GroupMember = "group_member": Read;
    /// Rules that map claims of an identity provider to organizations, groups and roles.
    IdpsyncSettings = "idpsync_settings": Read Update;
    /// A notification in a user's inbox.
    InboxNotification = "inbox_notification": Create Read Update;
    /// A licence; immutable.
    License = "license": Create Read Delete;
    /// An MCP server that chats and gateway users may reach.
    McpServerConfig = "mcp_server_config": Create Read Update Delete Share;
    /// A notification on its way to somebody.
    NotificationMessage = "notification_message": Create Read Update Delete;
    /// Which notifications a user wants.
    NotificationPreference = "notification_preference": Read Update;
    /// The text of a kind of notification.
    NotificationTemplate = "notification_template": Read Update;
    /// A registered OAuth2 client.
    Oauth2App = "oauth2_app": Create Read Update Delete;
    /// An OAuth2 code or token.
    Oauth2AppCodeToken = "oauth2_app_code_token": Create Read Delete;
    /// A secret of an OAuth2 client.
    Oauth2AppSecret = "oauth2_app_secret": Create Read Update Delete;
    /// An organization.
    Organization = "organization": Create Read Update Delete;
    /// Membership in an organization.
    OrganizationMember = "organization_member": Create Read Update Delete;
    /// A workspace that nobody has claimed yet; asked only when `workspace` was refused.
    PrebuiltWorkspace = "prebuilt_workspace": Update Delete;
    /// A provisioner daemon or its key.
    ProvisionerDaemon = "provisioner_daemon": Create Read Update Delete;
    /// A job for a provisioner daemon.
    ProvisionerJobs = "provisioner_jobs": Create Read Update;
    /// The running replicas of the deployment.
    Replicas = "replicas": Read;
    /// Deprecated catch-all for unowned internal state; no new use.
    System = "system": Create Read Update Delete;
    /// Coordination of the mesh network.
    TailnetCoordinator = "tailnet_coordinator": Create Read Update Delete;
    /// A template of workspaces.
    Template = "template": Create Read Use Update Delete ViewInsights;
    /// A billable event.
    UsageEvent = "usage_event": Create Read Update;
    /// A user; the personal actions cover settings and authentication links.
    User = "user": Create Read Update Delete ReadPersonal UpdatePersonal;
    /// A secret of a user, metadata and value.
    UserSecret = "user_secret": Create Read Update Delete;
    /// A personal skill of a user, metadata and content.
    UserSkill = "user_skill": Create Read Update Delete;
    /// A browser's subscription to push messages.
    WebpushSubscription = "webpush_subscription": Create Read Delete;
    /// A workspace.
    Workspace = "workspace": Create Read Update Delete Start Stop Ssh ApplicationConnect
        CreateAgent DeleteAgent UpdateAgent Share;
    /// Development containers inside a workspace.
    WorkspaceAgentDevcontainers = "workspace_agent_devcontainers": Create;
    /// Resource monitors of a workspace.
    WorkspaceAgentResourceMonitor = "workspace_agent_resource_monitor": Create Read Update;
    /// Orchestration of workspace builds.
    WorkspaceBuildOrchestration = "workspace_build_orchestration": Create Read Update Delete;
    /// A dormant workspace. No role grants start, ssh, `application_connect` or share on it.
    WorkspaceDormant = "workspace_dormant": Create Read Update Delete Start Stop Ssh
        ApplicationConnect CreateAgent DeleteAgent UpdateAgent Share;
    /// A regional proxy; reading includes using it.
    WorkspaceProxy = "workspace_proxy": Create Read Update Delete;
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_are_sorted() {
        assert_eq!(Resource::COUNT, 52);
        for (position, resource) in Resource::ALL.into_iter().enumerate() {
            assert_eq!(resource.as_str().parse(), Ok(resource));
            assert_eq!(resource as usize, position);
            assert!(!resource.actions().is_empty(), "{resource}");
        }
        assert!(Resource::ALL.windows(2).all(|w| w[0].as_str() < w[1].as_str()));
        for bad in ["", "*", "Workspace", "workspace ", "task"] {
            assert!(bad.parse::<Resource>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_action_is_declared_by_some_resource() {
        let declared = Resource::ALL.iter().fold(ActionSet::EMPTY, |set, r| set.union(r.actions()));
        assert_eq!(declared, ActionSet::ALL);
    }
}
