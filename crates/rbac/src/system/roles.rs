//! What each part of the deployment may do. Every line is a permission that a query of the part needs.

use stdx::ids::UserId;
use uuid::Uuid;

use super::SystemRole;
use crate::action::Action;
use crate::action::Action::{
    Assign, Create, CreateAgent, Delete, DeleteAgent, Read, ReadPersonal, Ssh, Start, Stop,
    Unassign, Update, UpdateAgent, UpdatePersonal, Use, ViewInsights,
};
use crate::resource::Resource;
use crate::subject::SubjectKind;

const CRUD: &[Action] = &[Create, Read, Update, Delete];

/// The user that owns unclaimed workspaces; exists in every deployment.
pub const PREBUILDS_USER: UserId =
    UserId::new(Uuid::from_u128(0xc42f_df75_3097_471c_8c33_fb52_454d_81c0));

/// Tells reads of files apart from those of other parts in logs; no user has it.
pub const FILE_READER_ID: UserId =
    UserId::new(Uuid::from_u128(0x8f3b_51d2_6c07_4e1a_9d44_0b7e_2f65_c913));

/// The AI gateway, on its own behalf.
///
/// It records interceptions but cannot remove any: only [`DBPURGE`] forgets.
pub const GATEWAY: SystemRole = SystemRole {
    kind: SubjectKind::Aibridged,
    id: UserId::nil(),
    role: "aibridged",
    name: "AI Gateway Daemon",
    site: &[
        // Who is calling, and whether the account is active; its external links for tool servers.
        (Resource::ApiKey, &[Read]),
        (Resource::User, &[Read, ReadPersonal]),
        // Which group's budget applies.
        (Resource::Group, &[Read]),
        // Routing snapshot and keys.
        (Resource::AiProvider, &[Read]),
        // What a request costs; prices learned from providers.
        (Resource::AiModelPrice, &[Read, Update]),
        // Open, close, attach usage.
        (Resource::Interception, &[Create, Read, Update]),
        // First use takes a seat: its own type, never `system`.
        (Resource::AiSeat, &[Create]),
    ],
};

/// Removes rows that are past their retention.
pub const DBPURGE: SystemRole = SystemRole {
    kind: SubjectKind::DbPurge,
    id: UserId::nil(),
    role: "dbpurge",
    name: "DB Purge",
    site: &[
        (Resource::System, &[Delete]),
        (Resource::NotificationMessage, &[Delete]),
        (Resource::ApiKey, &[Delete]),
        (Resource::Interception, &[Delete]),
        (Resource::Oauth2AppCodeToken, &[Delete]),
        (Resource::WorkspaceBuildOrchestration, &[Delete]),
        (Resource::BoundaryLog, &[Delete]),
        (Resource::Chat, &[Read, Update]),
    ],
};

/// Learns hosts of AI providers and whether keys exist, for routing. Use a query without secrets.
pub const AI_PROVIDER_METADATA_READER: SystemRole = SystemRole {
    kind: SubjectKind::AiProviderMetadataReader,
    id: UserId::nil(),
    role: "ai-provider-metadata-reader",
    name: "AI Provider Metadata Reader",
    site: &[(Resource::AiProvider, &[Read])],
};

/// Writes the AI providers that the configuration names, at start. Never changes one that exists.
pub const AI_PROVIDER_SEEDER: SystemRole = SystemRole {
    kind: SubjectKind::AiProviderSeeder,
    id: UserId::nil(),
    role: "ai-provider-seeder",
    name: "AI Provider Seeder",
    site: &[(Resource::AiProvider, &[Create, Read])],
};

/// Turns a credential into a subject, before there is one: finds key and user, notes their last use,
/// loads organizations and groups. The same for the keys of gateway daemons, which have no user.
pub const AUTHENTICATOR: SystemRole = SystemRole {
    kind: SubjectKind::Authenticator,
    id: UserId::nil(),
    role: "authenticator",
    name: "Authenticator",
    site: &[
        (Resource::ApiKey, &[Read, Update]),
        (Resource::User, &[Read, Update]),
        (Resource::Organization, &[Read]),
        (Resource::Group, &[Read]),
        // What the roles are that people wrote.
        (Resource::AssignOrgRole, &[Read]),
        (Resource::AiGatewayKey, &[Read, Update]),
    ],
};

/// Writes the audit log, inside the transaction of whoever changes something.
pub const AUDITOR: SystemRole = SystemRole {
    kind: SubjectKind::Auditor,
    id: UserId::nil(),
    role: "auditor-log",
    name: "Audit Log",
    site: &[(Resource::AuditLog, &[Create])],
};

/// Sets up a deployment: its identifier, its first organization and its first user.
pub const BOOTSTRAP: SystemRole = SystemRole {
    kind: SubjectKind::Bootstrap,
    id: UserId::nil(),
    role: "bootstrap",
    name: "Bootstrap",
    site: &[
        (Resource::User, &[Create]),
        // The first user is an owner; the assignment table limits which roles this can be.
        (Resource::AssignRole, &[Assign]),
        (Resource::AssignOrgRole, &[Assign]),
        (Resource::Organization, &[Create, Read]),
        (Resource::OrganizationMember, &[Create]),
        // Rows that stand for the ways in without a key.
        (Resource::ProvisionerDaemon, &[Create]),
        (Resource::DeploymentConfig, &[Update]),
    ],
};

/// Takes jobs from provisioner daemons and writes down what they built.
pub const PROVISIONERD: SystemRole = SystemRole {
    kind: SubjectKind::Provisionerd,
    id: UserId::nil(),
    role: "provisionerd",
    name: "Provisioner Daemon",
    site: &[
        (Resource::ProvisionerJobs, &[Create, Read, Update]),
        (Resource::File, &[Create, Read]),
        // A task in a workspace takes a seat.
        (Resource::AiSeat, &[Create]),
        (Resource::Template, &[Read, Update]),
        // Tokens of the owner's external links go into the build.
        (Resource::User, &[Read, ReadPersonal, UpdatePersonal]),
        (Resource::Workspace, &[Read, Update, Delete, Start, Stop, CreateAgent]),
        (Resource::WorkspaceDormant, &[Read, Update, Delete, Stop, CreateAgent]),
        // A build gets a session key of its workspace's owner.
        (Resource::ApiKey, CRUD),
        (Resource::Organization, &[Read]),
        (Resource::Group, &[Read]),
        (Resource::NotificationMessage, &[Create, Read]),
        (Resource::WorkspaceAgentResourceMonitor, &[Create]),
        (Resource::WorkspaceAgentDevcontainers, &[Create]),
        (Resource::UsageEvent, &[Create]),
    ],
};

/// Starts, stops, suspends and deletes workspaces on schedule.
pub const AUTOSTART: SystemRole = SystemRole {
    kind: SubjectKind::Autostart,
    id: UserId::nil(),
    role: "autostart",
    name: "Autostart",
    site: &[
        (Resource::OrganizationMember, &[Read]),
        (Resource::File, &[Read]),
        (Resource::User, &[Read]),
        (Resource::NotificationMessage, &[Create, Read]),
        (Resource::Template, &[Read, Update]),
        (Resource::Workspace, &[Read, Update, Delete, Start, Stop]),
        (Resource::WorkspaceDormant, &[Read, Update, Delete, Stop]),
    ],
};

/// Ends jobs that hang and notes it where they came from.
pub const JOB_REAPER: SystemRole = SystemRole {
    kind: SubjectKind::JobReaper,
    id: UserId::nil(),
    role: "jobreaper",
    name: "Job Reaper",
    site: &[
        (Resource::Template, &[Read, Update]),
        (Resource::Workspace, &[Read, Update]),
        (Resource::WorkspaceDormant, &[Read, Update]),
        (Resource::ProvisionerJobs, &[Read, Update]),
    ],
};

/// Makes, rotates and removes signing keys.
pub const KEY_ROTATOR: SystemRole = SystemRole {
    kind: SubjectKind::CryptoKeyRotator,
    id: UserId::nil(),
    role: "keyrotator",
    name: "Key Rotator",
    site: &[(Resource::CryptoKey, CRUD)],
};

/// Reads signing keys, and no more.
pub const KEY_READER: SystemRole = SystemRole {
    kind: SubjectKind::CryptoKeyReader,
    id: UserId::nil(),
    role: "keyreader",
    name: "Key Reader",
    site: &[(Resource::CryptoKey, &[Read])],
};

/// Writes the log of connections.
pub const CONNECTION_LOGGER: SystemRole = SystemRole {
    kind: SubjectKind::ConnectionLogger,
    id: UserId::nil(),
    role: "connectionlogger",
    name: "Connection Logger",
    site: &[(Resource::ConnectionLog, &[Read, Update])],
};

/// Sends notifications.
pub const NOTIFIER: SystemRole = SystemRole {
    kind: SubjectKind::Notifier,
    id: UserId::nil(),
    role: "notifier",
    name: "Notifier",
    site: &[
        (Resource::NotificationMessage, CRUD),
        (Resource::InboxNotification, &[Create]),
        (Resource::WebpushSubscription, &[Create, Read, Delete]),
        // The keys that sign messages to browsers.
        (Resource::DeploymentConfig, &[Read, Update]),
    ],
};

/// Notes the state of resource monitors.
pub const RESOURCE_MONITOR: SystemRole = SystemRole {
    kind: SubjectKind::ResourceMonitor,
    id: UserId::nil(),
    role: "resourcemonitor",
    name: "Resource Monitor",
    site: &[(Resource::WorkspaceAgentResourceMonitor, &[Update])],
};

/// The OAuth2 provider: clients, codes and tokens before anybody has signed in.
pub const OAUTH2: SystemRole = SystemRole {
    kind: SubjectKind::SystemOauth,
    id: UserId::nil(),
    role: "system-oauth2",
    name: "System OAuth2",
    site: &[
        (Resource::Oauth2App, CRUD),
        (Resource::Oauth2AppSecret, CRUD),
        (Resource::Oauth2AppCodeToken, &[Create, Read, Delete]),
        // Revoking a token deletes its key.
        (Resource::ApiKey, &[Read, Delete]),
        (Resource::User, &[Read]),
        (Resource::Organization, &[Read]),
        // Whether clients may register themselves.
        (Resource::DeploymentConfig, &[Read]),
    ],
};

/// Looks up provisioner daemons, to say whether a job can run at all.
pub const PROVISIONER_DAEMON_READER: SystemRole = SystemRole {
    kind: SubjectKind::SystemReadProvisionerDaemons,
    id: UserId::nil(),
    role: "system-read-provisioner-daemons",
    name: "Provisioner Daemons Reader",
    site: &[(Resource::ProvisionerDaemon, &[Read])],
};

/// Keeps unclaimed workspaces ready. They belong to its user.
pub const PREBUILDS: SystemRole = SystemRole {
    kind: SubjectKind::PrebuildsOrchestrator,
    id: PREBUILDS_USER,
    role: "prebuilds-orchestrator",
    name: "Prebuilds Orchestrator",
    site: &[
        (Resource::Template, &[Read, Update, Use, ViewInsights]),
        (Resource::Workspace, &[Create, Read, Update, Delete, Start, Stop]),
        (Resource::PrebuiltWorkspace, &[Update, Delete]),
        (Resource::OrganizationMember, &[Read]),
        (Resource::User, &[Read]),
        (Resource::Organization, &[Read]),
        (Resource::File, &[Read]),
        (Resource::GroupMember, &[Read]),
        // A group with a quota for unclaimed workspaces.
        (Resource::Group, &[Create, Read, Update]),
    ],
};

/// Reads files whose template the caller was allowed to see.
pub const FILE_READER: SystemRole = SystemRole {
    kind: SubjectKind::FileReader,
    id: FILE_READER_ID,
    role: "file-reader",
    name: "File Reader",
    site: &[(Resource::File, &[Read])],
};

/// Counts and reports billable usage.
pub const USAGE_PUBLISHER: SystemRole = SystemRole {
    kind: SubjectKind::UsagePublisher,
    id: UserId::nil(),
    role: "usage-publisher",
    name: "Usage Publisher",
    site: &[
        (Resource::License, &[Read]),
        (Resource::AiSeat, &[Read]),
        (Resource::UsageEvent, &[Create, Read, Update]),
    ],
};

/// Counts use of the network boundary of agents.
pub const BOUNDARY_USAGE_TRACKER: SystemRole = SystemRole {
    kind: SubjectKind::BoundaryUsageTracker,
    id: UserId::nil(),
    role: "boundary-usage-tracker",
    name: "Boundary Usage Tracker",
    site: &[(Resource::BoundaryUsage, &[Read, Update, Delete])],
};

/// Builds workspaces for users who may not see daemons and jobs.
pub const WORKSPACE_BUILDER: SystemRole = SystemRole {
    kind: SubjectKind::WorkspaceBuilder,
    id: UserId::nil(),
    role: "workspace-builder",
    name: "Workspace Builder",
    site: &[
        (Resource::ProvisionerDaemon, &[Read]),
        (Resource::ProvisionerJobs, &[Update]),
        (Resource::Template, &[Update]),
    ],
};

/// Runs chats.
pub const CHATD: SystemRole = SystemRole {
    kind: SubjectKind::Chatd,
    id: UserId::nil(),
    role: "chatd",
    name: "Chat Daemon",
    site: &[
        (Resource::AiProvider, &[Read]),
        (Resource::Chat, &[Create, Read, Update, Delete]),
        (Resource::Workspace, &[Read, Update]),
        (Resource::DeploymentConfig, &[Read]),
        (Resource::McpServerConfig, &[Read]),
        (Resource::User, &[ReadPersonal]),
    ],
};

/// Creates and suspends users for an identity provider.
pub const SCIM: SystemRole = SystemRole {
    kind: SubjectKind::ScimProvisioner,
    id: UserId::nil(),
    role: "scim",
    name: "SCIM Provisioner",
    site: &[
        // The assignment table limits which roles these can be.
        (Resource::AssignRole, &[Assign, Unassign, Read]),
        (Resource::AssignOrgRole, &[Assign, Unassign, Create, Read, Update, Delete]),
        (Resource::User, &[Create, Read, Update, UpdatePersonal]),
        (Resource::Organization, &[Read]),
        (Resource::OrganizationMember, &[Create, Read, Update]),
    ],
};

/// Refreshes tokens of external authentication links.
pub const EXTERNAL_AUTH_COORDINATOR: SystemRole = SystemRole {
    kind: SubjectKind::ExternalAuthCoordinator,
    id: UserId::nil(),
    role: "external-auth-coordinator",
    name: "External Auth Coordinator",
    site: &[(Resource::User, &[ReadPersonal, UpdatePersonal])],
};

/// Brings the stored roles that memberships imply in line with the sharing mode of their organization.
pub const ROLE_RECONCILER: SystemRole = SystemRole {
    kind: SubjectKind::RoleReconciler,
    id: UserId::nil(),
    role: "role-reconciler",
    name: "Role Reconciler",
    site: &[(Resource::Organization, &[Read]), (Resource::System, &[Create, Read, Update])],
};

/// What is left without a subject of its own. Reads every kind, secrets too: write a narrow part instead.
pub const RESTRICTED: SystemRole = SystemRole {
    kind: SubjectKind::SystemRestricted,
    id: UserId::nil(),
    role: "system",
    name: "System",
    site: &[
        (Resource::AiGatewayKey, &[Read, Update]),
        (Resource::AiModelPrice, &[Read]),
        (Resource::AiProvider, CRUD),
        (Resource::AiSeat, &[Read]),
        (Resource::Interception, &[Read]),
        (Resource::ApiKey, CRUD),
        (Resource::AssignOrgRole, &[Assign, Unassign, Create, Read, Update, Delete]),
        (Resource::AssignRole, &[Assign, Unassign, Read]),
        (Resource::AuditLog, &[Read]),
        (Resource::BoundaryLog, &[Read]),
        (Resource::BoundaryUsage, &[Read]),
        (Resource::Chat, CRUD),
        (Resource::ChatModelConfig, &[Read]),
        (Resource::ChatProject, &[Read]),
        (Resource::ConnectionLog, &[Read]),
        (Resource::CryptoKey, CRUD),
        (Resource::DebugInfo, &[Read]),
        (Resource::DeploymentConfig, &[Read, Update]),
        (Resource::DeploymentStats, &[Read]),
        (Resource::File, &[Create, Read]),
        (Resource::Group, &[Create, Read, Update]),
        (Resource::GroupMember, &[Read]),
        (Resource::IdpsyncSettings, &[Read]),
        (Resource::InboxNotification, &[Read]),
        (Resource::License, &[Read]),
        (Resource::McpServerConfig, &[Read]),
        (Resource::NotificationMessage, CRUD),
        (Resource::NotificationPreference, &[Read, Update]),
        (Resource::NotificationTemplate, &[Read, Update]),
        (Resource::Oauth2App, CRUD),
        (Resource::Oauth2AppCodeToken, &[Read]),
        (Resource::Oauth2AppSecret, CRUD),
        (Resource::Organization, &[Create, Read]),
        (Resource::OrganizationMember, &[Create, Read, Delete]),
        (Resource::ProvisionerDaemon, &[Create, Read, Update]),
        (Resource::ProvisionerJobs, &[Create, Read, Update]),
        (Resource::Replicas, &[Read]),
        (Resource::System, CRUD),
        (Resource::TailnetCoordinator, &[Read]),
        (Resource::Template, &[Read]),
        (Resource::UsageEvent, &[Read]),
        (Resource::User, &[Create, Read, Update, Delete, ReadPersonal, UpdatePersonal]),
        (Resource::UserSecret, &[Read]),
        (Resource::UserSkill, &[Read]),
        (Resource::WebpushSubscription, &[Read]),
        (
            Resource::Workspace,
            &[Read, Update, Delete, Start, Stop, Ssh, CreateAgent, DeleteAgent, UpdateAgent],
        ),
        (Resource::WorkspaceAgentResourceMonitor, &[Read]),
        (Resource::WorkspaceBuildOrchestration, &[Read, Update]),
        (Resource::WorkspaceDormant, &[Read, Update, Delete, Stop]),
        (Resource::WorkspaceProxy, CRUD),
    ],
};

/// Checked when the crate is compiled: the last resort reads every kind that can be read, so that a new
/// kind is entered on purpose.
const _: () = {
    let mut kinds: &[Resource] = &Resource::ALL;
    while let [kind, more_kinds @ ..] = kinds {
        let mut listed = !kind.actions().contains(Read);
        let mut grants = RESTRICTED.site;
        while let [(resource, _), more_grants @ ..] = grants {
            listed |= *resource as u8 == *kind as u8;
            grants = more_grants;
        }
        assert!(listed, "the last resort has not answered for a kind");
        kinds = more_kinds;
    }
};
