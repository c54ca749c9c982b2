//! Built-in roles of an organization. Each answers for every kind of resource, by addition, without a
//! catch-all arm.

use super::cell::Cell;
use super::site::{CREATE_READ, DORMANT, READ, READ_INSIGHTS};
use crate::action::{Action, ActionSet};
use crate::resource::Resource as R;

/// A built-in role of an organization.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OrgRole {
    Admin,
    Auditor,
    UserAdmin,
    TemplateAdmin,
    WorkspaceCreationBan,
    WorkspaceAccess,
}

impl OrgRole {
    pub(crate) const ALL: [Self; 6] = [
        Self::Admin,
        Self::Auditor,
        Self::UserAdmin,
        Self::TemplateAdmin,
        Self::WorkspaceCreationBan,
        Self::WorkspaceAccess,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "organization-admin",
            Self::Auditor => "organization-auditor",
            Self::UserAdmin => "organization-user-admin",
            Self::TemplateAdmin => "organization-template-admin",
            Self::WorkspaceCreationBan => "organization-workspace-creation-ban",
            Self::WorkspaceAccess => "organization-workspace-access",
        }
    }

    pub(crate) const fn display_name(self) -> &'static str {
        match self {
            Self::Admin => "Organization Admin",
            Self::Auditor => "Organization Auditor",
            Self::UserAdmin => "Organization User Admin",
            Self::TemplateAdmin => "Organization Template Admin",
            Self::WorkspaceCreationBan => "Organization Workspace Creation Ban",
            Self::WorkspaceAccess => "Organization Workspace Access",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    pub(crate) const fn cell(self, resource: R) -> Cell {
        match self {
            Self::Admin => admin(resource),
            Self::Auditor => auditor(resource),
            Self::UserAdmin => user_admin(resource),
            Self::TemplateAdmin => template_admin(resource),
            Self::WorkspaceCreationBan => workspace_creation_ban(resource),
            Self::WorkspaceAccess => workspace_access(resource),
        }
    }
}

/// Everything in the organization but entering other people's workspaces.
const fn admin(r: R) -> Cell {
    match r {
        R::AssignRole
        | R::AiSeat
        | R::BoundaryLog
        | R::BoundaryUsage
        | R::UserSecret
        | R::WorkspaceBuildOrchestration => Cell::NOTHING,
        // Users are outside organizations: members are found by looking at all.
        R::User => Cell::org(r.actions()).and_site(READ),
        R::Workspace => Cell::org(ActionSet::of(&[
            Action::Create,
            Action::Read,
            Action::Update,
            Action::Delete,
            Action::Start,
            Action::Stop,
            Action::CreateAgent,
            Action::DeleteAgent,
            Action::UpdateAgent,
            Action::Share,
        ])),
        R::WorkspaceDormant => Cell::org(DORMANT),
        R::AiGatewayKey
        | R::AiModelPrice
        | R::AiProvider
        | R::Interception
        | R::ApiKey
        | R::AssignOrgRole
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
        | R::UsageEvent
        | R::UserSkill
        | R::WebpushSubscription
        | R::WorkspaceAgentDevcontainers
        | R::WorkspaceAgentResourceMonitor
        | R::WorkspaceProxy => Cell::org(r.actions()),
    }
}

/// Reads what an audit of the organization needs.
const fn auditor(r: R) -> Cell {
    match r {
        R::Template => Cell::org(READ_INSIGHTS),
        R::AuditLog
        | R::ChatModelConfig
        | R::ConnectionLog
        | R::Group
        | R::GroupMember
        | R::Organization
        | R::OrganizationMember => Cell::org(READ),
        R::AiGatewayKey
        | R::AiModelPrice
        | R::AiProvider
        | R::AiSeat
        | R::Interception
        | R::ApiKey
        | R::AssignOrgRole
        | R::AssignRole
        | R::BoundaryLog
        | R::BoundaryUsage
        | R::Chat
        | R::ChatProject
        | R::CryptoKey
        | R::DebugInfo
        | R::DeploymentConfig
        | R::DeploymentStats
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
        | R::User
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

/// Members and groups of the organization.
const fn user_admin(r: R) -> Cell {
    match r {
        R::Group | R::IdpsyncSettings | R::OrganizationMember => Cell::org(r.actions()),
        R::AssignOrgRole => {
            Cell::org(ActionSet::of(&[Action::Assign, Action::Unassign, Action::Read]))
        }
        R::GroupMember | R::Organization => Cell::org(READ),
        // Users are outside organizations: members are found by looking at all.
        R::User => Cell::site(READ),
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

/// Templates of the organization and what building them takes.
const fn template_admin(r: R) -> Cell {
    match r {
        R::PrebuiltWorkspace | R::ProvisionerDaemon | R::ProvisionerJobs | R::Template => {
            Cell::org(r.actions())
        }
        R::File => Cell::org(CREATE_READ),
        R::Group
        | R::GroupMember
        | R::Organization
        | R::OrganizationMember
        | R::Workspace
        | R::WorkspaceDormant => Cell::org(READ),
        R::AiGatewayKey
        | R::AiModelPrice
        | R::AiProvider
        | R::AiSeat
        | R::Interception
        | R::ApiKey
        | R::AssignOrgRole
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
        | R::Replicas
        | R::System
        | R::TailnetCoordinator
        | R::UsageEvent
        | R::User
        | R::UserSecret
        | R::UserSkill
        | R::WebpushSubscription
        | R::WorkspaceAgentDevcontainers
        | R::WorkspaceAgentResourceMonitor
        | R::WorkspaceBuildOrchestration
        | R::WorkspaceProxy => Cell::NOTHING,
    }
}

/// Takes away what others of the holder's roles would allow: making and removing workspaces.
const fn workspace_creation_ban(r: R) -> Cell {
    match r {
        R::Workspace => Cell::NOTHING.deny_org(ActionSet::of(&[
            Action::Create,
            Action::Delete,
            Action::CreateAgent,
            Action::DeleteAgent,
        ])),
        R::AiGatewayKey
        | R::AiModelPrice
        | R::AiProvider
        | R::AiSeat
        | R::Interception
        | R::ApiKey
        | R::AssignOrgRole
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
        | R::UsageEvent
        | R::User
        | R::UserSecret
        | R::UserSkill
        | R::WebpushSubscription
        | R::WorkspaceAgentDevcontainers
        | R::WorkspaceAgentResourceMonitor
        | R::WorkspaceBuildOrchestration
        | R::WorkspaceDormant
        | R::WorkspaceProxy => Cell::NOTHING,
    }
}

/// Workspaces of one's own. Members without it use the AI gateway only.
const fn workspace_access(r: R) -> Cell {
    match r {
        R::Workspace => Cell::member(r.actions()),
        R::WorkspaceDormant => Cell::member(DORMANT),
        R::File | R::ProvisionerDaemon => Cell::member(CREATE_READ),
        R::AiGatewayKey
        | R::AiModelPrice
        | R::AiProvider
        | R::AiSeat
        | R::Interception
        | R::ApiKey
        | R::AssignOrgRole
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
        | R::ProvisionerJobs
        | R::Replicas
        | R::System
        | R::TailnetCoordinator
        | R::Template
        | R::UsageEvent
        | R::User
        | R::UserSecret
        | R::UserSkill
        | R::WebpushSubscription
        | R::WorkspaceAgentDevcontainers
        | R::WorkspaceAgentResourceMonitor
        | R::WorkspaceBuildOrchestration
        | R::WorkspaceProxy => Cell::NOTHING,
    }
}
