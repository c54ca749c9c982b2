//! The parts of the deployment, each with the subject that it acts under.

use std::sync::Arc;

use rbac::system::{self, Bundle, PersonalRole, SystemRole};
use rbac::{CompileError, Permission, Subject};
use stdx::ids::{OrganizationId, UserId};

use crate::question::Lists;

/// A part of the deployment.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// Acts for nobody, everywhere.
    Alone(&'static SystemRole, fn() -> &'static Arc<Subject>),
    /// Acts for one user, perhaps in one organization.
    Personal(&'static PersonalRole, fn(OrganizationId, UserId) -> Result<Subject, CompileError>),
}

macro_rules! alone {
    ($($role:ident $subject:ident,)*) => {
        &[$(Part::Alone(&system::$role, system::$subject)),*]
    };
}

/// Those that act for nobody.
#[expect(clippy::disallowed_methods, reason = "the restricted subject is asked as well")]
pub const ALONE: &[Part] = alone! {
    GATEWAY gateway,
    DBPURGE dbpurge,
    AI_PROVIDER_METADATA_READER ai_provider_metadata_reader,
    AI_PROVIDER_SEEDER ai_provider_seeder,
    AUTHENTICATOR authenticator,
    AUDITOR auditor,
    BOOTSTRAP bootstrap,
    PROVISIONERD provisionerd,
    AUTOSTART autostart,
    JOB_REAPER job_reaper,
    KEY_ROTATOR key_rotator,
    KEY_READER key_reader,
    CONNECTION_LOGGER connection_logger,
    NOTIFIER notifier,
    RESOURCE_MONITOR resource_monitor,
    OAUTH2 oauth2,
    PROVISIONER_DAEMON_READER provisioner_daemon_reader,
    PREBUILDS prebuilds,
    FILE_READER file_reader,
    USAGE_PUBLISHER usage_publisher,
    BOUNDARY_USAGE_TRACKER boundary_usage_tracker,
    WORKSPACE_BUILDER workspace_builder,
    CHATD chatd,
    SCIM scim,
    EXTERNAL_AUTH_COORDINATOR external_auth_coordinator,
    ROLE_RECONCILER role_reconciler,
    RESTRICTED restricted,
};

/// Those that act for one user.
pub const PERSONAL: &[Part] = &[
    Part::Personal(&system::SUB_AGENT_API, system::sub_agent_api),
    Part::Personal(&system::API_KEY_REVOKER, |_, user| system::api_key_revoker(user)),
    Part::Personal(&system::CHATD_KEY_MINTER, |_, user| system::chatd_key_minter(user)),
    Part::Personal(&system::CHATD_TOKEN_OWNER, |_, user| system::chatd_token_owner(user)),
];

impl Part {
    /// The name of its one role.
    #[must_use]
    pub const fn role(&self) -> &'static str {
        match self {
            Self::Alone(role, _) => role.role,
            Self::Personal(role, _) => role.role,
        }
    }

    /// Under which id it acts for this user.
    #[must_use]
    pub const fn id(&self, user: UserId) -> UserId {
        match self {
            Self::Alone(role, _) => role.id,
            Self::Personal(..) => user,
        }
    }

    /// Whether its role is one of an organization.
    #[must_use]
    pub const fn is_in_org(&self) -> bool {
        match self {
            Self::Alone(..) => false,
            Self::Personal(role, _) => !(role.org.is_empty() && role.member.is_empty()),
        }
    }

    /// What it may do.
    #[must_use]
    pub fn lists(&self) -> Lists {
        match self {
            Self::Alone(role, _) => Lists { site: permissions(role.site), ..Lists::default() },
            Self::Personal(role, _) => Lists {
                site: vec![],
                user: permissions(role.user),
                org: permissions(role.org),
                member: permissions(role.member),
            },
        }
    }

    /// The subject; those that act alone do not care for whom or where.
    ///
    /// # Errors
    /// A nil user or organization.
    pub fn subject(&self, org: OrganizationId, user: UserId) -> Result<Arc<Subject>, CompileError> {
        match self {
            Self::Alone(_, subject) => Ok(Arc::clone(subject())),
            Self::Personal(_, subject) => subject(org, user).map(Arc::new),
        }
    }
}

fn permissions(bundle: Bundle) -> Vec<Permission> {
    bundle
        .iter()
        .flat_map(|(resource, actions)| {
            actions.iter().map(|action| Permission::allow(*resource, *action))
        })
        .collect()
}
