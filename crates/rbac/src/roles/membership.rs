//! The roles that membership in an organization implies, by the organization's sharing mode.

use std::str::FromStr;

use super::cell::Cell;
use super::site::{CREATE_READ, READ, READ_UPDATE};
use crate::UnknownName;
use crate::action::{Action, ActionSet};
use crate::resource::Resource as R;

const CREATE: ActionSet = ActionSet::of(&[Action::Create]);
const CREATE_UPDATE: ActionSet = ActionSet::of(&[Action::Create, Action::Update]);
const SHARE: ActionSet = ActionSet::of(&[Action::Share]);

/// Whose workspaces of an organization may be shared with others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Sharing {
    /// Nobody's; also hides members from each other.
    None,
    /// Only those of service accounts.
    ServiceAccounts,
    /// Everybody's. What an organization has unless it says otherwise.
    Everyone,
}

impl Sharing {
    /// Every mode, narrowest first.
    pub const ALL: [Self; 3] = [Self::None, Self::ServiceAccounts, Self::Everyone];

    /// The name on the wire and in storage.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ServiceAccounts => "service_accounts",
            Self::Everyone => "everyone",
        }
    }
}

impl FromStr for Sharing {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| UnknownName::new("sharing mode", text))
    }
}

/// Which of the two implied roles a member has; never both, since the negative permission of one would
/// take away what the other gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MembershipKind {
    Member,
    ServiceAccount,
}

impl MembershipKind {
    pub(crate) const ALL: [Self; 2] = [Self::Member, Self::ServiceAccount];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "organization-member",
            Self::ServiceAccount => "organization-service-account",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    pub(crate) const fn cell(self, resource: R, sharing: Sharing) -> Cell {
        match self {
            Self::Member => member(resource, sharing),
            Self::ServiceAccount => service_account(resource, sharing),
        }
    }
}

/// A person in an organization.
const fn member(r: R, sharing: Sharing) -> Cell {
    match r {
        R::Organization | R::AssignOrgRole | R::ProvisionerDaemon => Cell::org(READ),
        // Without sharing nobody needs to know who else is there.
        R::OrganizationMember => match sharing {
            Sharing::None => Cell::member(READ),
            Sharing::ServiceAccounts | Sharing::Everyone => Cell::org(READ).and_member(READ),
        },
        R::Group => match sharing {
            Sharing::None | Sharing::ServiceAccounts => Cell::NOTHING,
            Sharing::Everyone => Cell::org(READ),
        },
        R::GroupMember => Cell::member(READ),
        R::Workspace => match sharing {
            Sharing::None => Cell::NOTHING.deny_org(SHARE).deny_member(SHARE),
            Sharing::ServiceAccounts => Cell::NOTHING.deny_member(SHARE),
            Sharing::Everyone => Cell::NOTHING,
        },
        R::Interception => Cell::member(CREATE_UPDATE),
        R::ApiKey => Cell::member(r.actions()),
        R::NotificationMessage | R::NotificationPreference => Cell::member(READ_UPDATE),
        R::InboxNotification => Cell::member(CREATE_READ.union(READ_UPDATE)),
        R::Chat => Cell::member(CREATE_READ.union(READ_UPDATE).union(SHARE)),
        R::ChatProject => Cell::org(CREATE).and_member(ActionSet::of(&[
            Action::Read,
            Action::Update,
            Action::Delete,
            Action::Share,
        ])),
        R::AiGatewayKey
        | R::AiModelPrice
        | R::AiProvider
        | R::AiSeat
        | R::AssignRole
        | R::AuditLog
        | R::BoundaryLog
        | R::BoundaryUsage
        | R::ChatModelConfig
        | R::ConnectionLog
        | R::CryptoKey
        | R::DebugInfo
        | R::DeploymentConfig
        | R::DeploymentStats
        | R::File
        | R::IdpsyncSettings
        | R::License
        | R::McpServerConfig
        | R::NotificationTemplate
        | R::Oauth2App
        | R::Oauth2AppCodeToken
        | R::Oauth2AppSecret
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
        | R::WorkspaceDormant
        | R::WorkspaceProxy => Cell::NOTHING,
    }
}

/// An account of a machine in an organization: no chats, and in the middle mode the only one that shares.
const fn service_account(r: R, sharing: Sharing) -> Cell {
    match r {
        R::Organization | R::AssignOrgRole | R::ProvisionerDaemon => Cell::org(READ),
        R::OrganizationMember => match sharing {
            Sharing::None => Cell::member(READ),
            Sharing::ServiceAccounts | Sharing::Everyone => Cell::org(READ).and_member(READ),
        },
        R::Group => match sharing {
            Sharing::None => Cell::NOTHING,
            Sharing::ServiceAccounts | Sharing::Everyone => Cell::org(READ),
        },
        R::GroupMember => Cell::member(READ),
        R::Workspace => match sharing {
            Sharing::None => Cell::NOTHING.deny_org(SHARE),
            Sharing::ServiceAccounts | Sharing::Everyone => Cell::NOTHING,
        },
        R::Interception => Cell::member(CREATE_UPDATE),
        R::ApiKey => Cell::member(r.actions()),
        R::NotificationMessage | R::NotificationPreference => Cell::member(READ_UPDATE),
        R::InboxNotification => Cell::member(CREATE_READ.union(READ_UPDATE)),
        R::AiGatewayKey
        | R::AiModelPrice
        | R::AiProvider
        | R::AiSeat
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
        | R::IdpsyncSettings
        | R::License
        | R::McpServerConfig
        | R::NotificationTemplate
        | R::Oauth2App
        | R::Oauth2AppCodeToken
        | R::Oauth2AppSecret
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
        | R::WorkspaceDormant
        | R::WorkspaceProxy => Cell::NOTHING,
    }
}
