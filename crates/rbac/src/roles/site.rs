//! Built-in roles of the deployment. Each answers for every kind of resource, by addition, without a
//! catch-all arm: a new kind does not compile until every role has said what it gets.

use super::RoleOptions;
use super::cell::Cell;
use crate::action::{Action, ActionSet};
use crate::resource::Resource as R;

/// The actions that any role has on a dormant workspace: enough to see, wake, stop and remove it.
pub(super) const DORMANT: ActionSet = ActionSet::of(&[
    Action::Create,
    Action::Read,
    Action::Update,
    Action::Delete,
    Action::Stop,
    Action::CreateAgent,
    Action::DeleteAgent,
    Action::UpdateAgent,
]);

pub(super) const READ: ActionSet = ActionSet::of(&[Action::Read]);
pub(super) const READ_UPDATE: ActionSet = ActionSet::of(&[Action::Read, Action::Update]);
pub(super) const CREATE_READ: ActionSet = ActionSet::of(&[Action::Create, Action::Read]);
pub(super) const READ_INSIGHTS: ActionSet = ActionSet::of(&[Action::Read, Action::ViewInsights]);
const CREATE: ActionSet = ActionSet::of(&[Action::Create]);
const CREATE_UPDATE: ActionSet = ActionSet::of(&[Action::Create, Action::Update]);
const SHARE: ActionSet = ActionSet::of(&[Action::Share]);
const INTERACTIVE: ActionSet = ActionSet::of(&[Action::Ssh, Action::ApplicationConnect]);

/// A built-in role of the deployment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SiteRole {
    Owner,
    Member,
    Auditor,
    TemplateAdmin,
    UserAdmin,
}

impl SiteRole {
    pub(crate) const ALL: [Self; 5] =
        [Self::Owner, Self::Member, Self::Auditor, Self::TemplateAdmin, Self::UserAdmin];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Member => "member",
            Self::Auditor => "auditor",
            Self::TemplateAdmin => "template-admin",
            Self::UserAdmin => "user-admin",
        }
    }

    pub(crate) const fn display_name(self) -> &'static str {
        match self {
            Self::Owner => "Owner",
            Self::Member => "Member",
            Self::Auditor => "Auditor",
            Self::TemplateAdmin => "Template Admin",
            Self::UserAdmin => "User Admin",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    pub(crate) const fn cell(self, resource: R, options: RoleOptions) -> Cell {
        match self {
            Self::Owner => owner(resource, options),
            Self::Member => member(resource, options),
            Self::Auditor => auditor(resource),
            Self::TemplateAdmin => template_admin(resource),
            Self::UserAdmin => user_admin(resource),
        }
    }
}

/// Everything that administration needs; nothing that belongs to one person or one daemon.
const fn owner(r: R, options: RoleOptions) -> Cell {
    match r {
        // Secrets are their owner's alone; usage and seats are written and counted by daemons.
        R::AiSeat | R::BoundaryUsage | R::UsageEvent | R::UserSecret => Cell::NOTHING,
        R::AiGatewayKey => {
            Cell::site(ActionSet::of(&[Action::Create, Action::Read, Action::Delete]))
        }
        R::BoundaryLog => Cell::site(READ),
        // Moderation: look and remove, never write under another's name.
        R::UserSkill => Cell::site(ActionSet::of(&[Action::Read, Action::Delete])),
        R::Workspace if options.disable_owner_workspace_access => {
            Cell::site(r.actions().difference(INTERACTIVE))
        }
        R::WorkspaceDormant => Cell::site(DORMANT),
        R::AiModelPrice
        | R::AiProvider
        | R::Interception
        | R::ApiKey
        | R::AssignOrgRole
        | R::AssignRole
        | R::AuditLog
        | R::Chat
        | R::ChatModelConfig
        | R::ChatProject
        | R::ConnectionLog
        | R::CryptoKey
        | R::DebugInfo
        | R::DeploymentConfig
        | R::DeploymentStats
        | R::File
        | R::Group
        | R::GroupMember
        | R::IdpsyncSettings
        | R::InboxNotification
        | R::License
        | R::McpServerConfig
        | R::NotificationMessage
        | R::NotificationPreference
        | R::NotificationTemplate
        | R::Oauth2App
        | R::Oauth2AppCodeToken
        | R::Oauth2AppSecret
        | R::Organization
        | R::OrganizationMember
        | R::PrebuiltWorkspace
        | R::ProvisionerDaemon
        | R::ProvisionerJobs
        | R::Replicas
        | R::System
        | R::TailnetCoordinator
        | R::Template
        | R::User
        | R::WebpushSubscription
        | R::Workspace
        | R::WorkspaceAgentDevcontainers
        | R::WorkspaceAgentResourceMonitor
        | R::WorkspaceBuildOrchestration
        | R::WorkspaceProxy => Cell::site(r.actions()),
    }
}

/// Implied for every user: one's own things outside organizations, and what everybody may look up.
const fn member(r: R, options: RoleOptions) -> Cell {
    match r {
        R::Workspace if options.disable_workspace_sharing => Cell::NOTHING.deny_site(SHARE),
        R::Chat if options.disable_chat_sharing => Cell::NOTHING.deny_site(SHARE),
        R::ChatProject if options.disable_chat_sharing => Cell::user(r.actions()).deny_site(SHARE),
        R::AiSeat
        | R::BoundaryUsage
        | R::Chat
        | R::OrganizationMember
        | R::PrebuiltWorkspace
        | R::Workspace
        | R::WorkspaceDormant => Cell::NOTHING,
        // Recorded on one's behalf, not for oneself to read back.
        R::Interception => Cell::user(CREATE_UPDATE),
        R::BoundaryLog => Cell::user(CREATE),
        R::User => {
            Cell::user(ActionSet::of(&[Action::Read, Action::ReadPersonal, Action::UpdatePersonal]))
        }
        R::AssignRole | R::Oauth2App | R::WorkspaceProxy => Cell::user(r.actions()).and_site(READ),
        R::AiGatewayKey
        | R::AiModelPrice
        | R::AiProvider
        | R::ApiKey
        | R::AssignOrgRole
        | R::AuditLog
        | R::ChatModelConfig
        | R::ChatProject
        | R::ConnectionLog
        | R::CryptoKey
        | R::DebugInfo
        | R::DeploymentConfig
        | R::DeploymentStats
        | R::File
        | R::Group
        | R::GroupMember
        | R::IdpsyncSettings
        | R::InboxNotification
        | R::License
        | R::McpServerConfig
        | R::NotificationMessage
        | R::NotificationPreference
        | R::NotificationTemplate
        | R::Oauth2AppCodeToken
        | R::Oauth2AppSecret
        | R::Organization
        | R::ProvisionerDaemon
        | R::ProvisionerJobs
        | R::Replicas
        | R::System
        | R::TailnetCoordinator
        | R::Template
        | R::UsageEvent
        | R::UserSecret
        | R::UserSkill
        | R::WebpushSubscription
        | R::WorkspaceAgentDevcontainers
        | R::WorkspaceAgentResourceMonitor
        | R::WorkspaceBuildOrchestration => Cell::user(r.actions()),
    }
}

/// Reads what an audit needs; changes nothing.
const fn auditor(r: R) -> Cell {
    match r {
        R::Template => Cell::site(READ_INSIGHTS),
        R::AssignOrgRole
        | R::AuditLog
        | R::BoundaryLog
        | R::ChatModelConfig
        | R::ConnectionLog
        | R::DeploymentConfig
        | R::DeploymentStats
        | R::Group
        | R::GroupMember
        | R::Interception
        | R::Organization
        | R::OrganizationMember
        | R::User => Cell::site(READ),
        R::AiGatewayKey
        | R::AiModelPrice
        | R::AiProvider
        | R::AiSeat
        | R::ApiKey
        | R::AssignRole
        | R::BoundaryUsage
        | R::Chat
        | R::ChatProject
        | R::CryptoKey
        | R::DebugInfo
        | R::File
        | R::IdpsyncSettings
        | R::InboxNotification
        | R::License
        | R::McpServerConfig
        | R::NotificationMessage
        | R::NotificationPreference
        | R::NotificationTemplate
        | R::Oauth2App
        | R::Oauth2AppCodeToken
        | R::Oauth2AppSecret
        | R::PrebuiltWorkspace
        | R::ProvisionerDaemon
        | R::ProvisionerJobs
        | R::Replicas
        | R::System
        | R::TailnetCoordinator
        | R::UsageEvent
        | R::UserSecret
        | R::UserSkill
        | R::WebpushSubscription
        | R::Workspace
        | R::WorkspaceAgentDevcontainers
        | R::WorkspaceAgentResourceMonitor
        | R::WorkspaceBuildOrchestration
        | R::WorkspaceDormant
        | R::WorkspaceProxy => Cell::NOTHING,
    }
}

/// Templates of every organization and what building them takes.
const fn template_admin(r: R) -> Cell {
    match r {
        R::Template | R::PrebuiltWorkspace | R::ProvisionerDaemon => Cell::site(r.actions()),
        R::File => Cell::site(CREATE_READ),
        R::AssignOrgRole
        | R::Group
        | R::GroupMember
        | R::Organization
        | R::OrganizationMember
        | R::User
        | R::Workspace
        | R::WorkspaceDormant => Cell::site(READ),
        R::AiGatewayKey
        | R::AiModelPrice
        | R::AiProvider
        | R::AiSeat
        | R::Interception
        | R::ApiKey
        | R::AssignRole
        | R::AuditLog
        | R::BoundaryLog
        | R::BoundaryUsage
        | R::Chat
        | R::ChatModelConfig
        | R::ChatProject
        | R::ConnectionLog
        | R::CryptoKey
        | R::DebugInfo
        | R::DeploymentConfig
        | R::DeploymentStats
        | R::IdpsyncSettings
        | R::InboxNotification
        | R::License
        | R::McpServerConfig
        | R::NotificationMessage
        | R::NotificationPreference
        | R::NotificationTemplate
        | R::Oauth2App
        | R::Oauth2AppCodeToken
        | R::Oauth2AppSecret
        | R::ProvisionerJobs
        | R::Replicas
        | R::System
        | R::TailnetCoordinator
        | R::UsageEvent
        | R::UserSecret
        | R::UserSkill
        | R::WebpushSubscription
        | R::WorkspaceAgentDevcontainers
        | R::WorkspaceAgentResourceMonitor
        | R::WorkspaceBuildOrchestration
        | R::WorkspaceProxy => Cell::NOTHING,
    }
}

/// Users, groups and memberships of every organization; none of the users' own things.
const fn user_admin(r: R) -> Cell {
    match r {
        R::AssignRole | R::Group | R::IdpsyncSettings | R::OrganizationMember | R::User => {
            Cell::site(r.actions())
        }
        R::AssignOrgRole => {
            Cell::site(ActionSet::of(&[Action::Assign, Action::Unassign, Action::Read]))
        }
        R::GroupMember | R::Organization => Cell::site(READ),
        R::AiGatewayKey
        | R::AiModelPrice
        | R::AiProvider
        | R::AiSeat
        | R::Interception
        | R::ApiKey
        | R::AuditLog
        | R::BoundaryLog
        | R::BoundaryUsage
        | R::Chat
        | R::ChatModelConfig
        | R::ChatProject
        | R::ConnectionLog
        | R::CryptoKey
        | R::DebugInfo
        | R::DeploymentConfig
        | R::DeploymentStats
        | R::File
        | R::InboxNotification
        | R::License
        | R::McpServerConfig
        | R::NotificationMessage
        | R::NotificationPreference
        | R::NotificationTemplate
        | R::Oauth2App
        | R::Oauth2AppCodeToken
        | R::Oauth2AppSecret
        | R::PrebuiltWorkspace
        | R::ProvisionerDaemon
        | R::ProvisionerJobs
        | R::Replicas
        | R::System
        | R::TailnetCoordinator
        | R::Template
        | R::UsageEvent
        | R::UserSecret
        | R::UserSkill
        | R::WebpushSubscription
        | R::Workspace
        | R::WorkspaceAgentDevcontainers
        | R::WorkspaceAgentResourceMonitor
        | R::WorkspaceBuildOrchestration
        | R::WorkspaceDormant
        | R::WorkspaceProxy => Cell::NOTHING,
    }
}
