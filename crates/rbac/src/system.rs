//! The parts of the deployment that act on their own behalf: one subject per job, each with the fewest
//! permissions that its queries need.
//!
//! Every subject has the nil id, so it owns nothing, and the scope `coder:all`. They are compiled once, at
//! first use. Requests of users run under the user's subject, also inside these parts.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use stdx::ids::UserId;

use crate::action::Action;
use crate::action::Action::{Assign, Create, Delete, Read, ReadPersonal, Update};
use crate::permission::{Grants, OrgGrants, Permission};
use crate::resource::Resource;
use crate::role::{Role, RoleTable};
use crate::role_name::RoleName;
use crate::scope::Scope;
use crate::subject::{Subject, SubjectKind};

/// A part of the deployment and everything it may do, all of it deployment-wide.
#[derive(Clone, Copy, Debug)]
pub struct SystemRole {
    /// The kind of the subject.
    pub kind: SubjectKind,
    /// The name of its one role, which nobody else can hold.
    pub role: &'static str,
    /// The name in logs.
    pub name: &'static str,
    /// What it may do.
    pub site: &'static [(Resource, &'static [Action])],
}

/// The AI gateway, on its own behalf.
///
/// It records interceptions but cannot remove any: only [`DBPURGE`] forgets.
pub const GATEWAY: SystemRole = SystemRole {
    kind: SubjectKind::Aibridged,
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
    role: "dbpurge",
    name: "DB Purge",
    site: &[
        (Resource::System, &[Delete]),
        (Resource::NotificationMessage, &[Delete]),
        (Resource::ApiKey, &[Delete]),
        (Resource::Interception, &[Delete]),
        (Resource::WorkspaceBuildOrchestration, &[Delete]),
        (Resource::BoundaryLog, &[Delete]),
        (Resource::Chat, &[Read, Update]),
    ],
};

/// Learns hosts of AI providers and whether keys exist, for routing. Use a query without secrets.
pub const AI_PROVIDER_METADATA_READER: SystemRole = SystemRole {
    kind: SubjectKind::AiProviderMetadataReader,
    role: "ai-provider-metadata-reader",
    name: "AI Provider Metadata Reader",
    site: &[(Resource::AiProvider, &[Read])],
};

/// Writes the AI providers that the configuration names, at start. Never changes one that exists.
pub const AI_PROVIDER_SEEDER: SystemRole = SystemRole {
    kind: SubjectKind::AiProviderSeeder,
    role: "ai-provider-seeder",
    name: "AI Provider Seeder",
    site: &[(Resource::AiProvider, &[Create, Read])],
};

/// Turns a credential into a subject, before there is one: finds key and user, notes their last use,
/// loads organizations and groups. The same for the keys of gateway daemons, which have no user.
pub const AUTHENTICATOR: SystemRole = SystemRole {
    kind: SubjectKind::Authenticator,
    role: "authenticator",
    name: "Authenticator",
    site: &[
        (Resource::ApiKey, &[Read, Update]),
        (Resource::User, &[Read, Update]),
        (Resource::Organization, &[Read]),
        (Resource::Group, &[Read]),
        (Resource::AiGatewayKey, &[Read, Update]),
    ],
};

/// Writes the audit log, inside the transaction of whoever changes something.
pub const AUDITOR: SystemRole = SystemRole {
    kind: SubjectKind::Auditor,
    role: "auditor-log",
    name: "Audit Log",
    site: &[(Resource::AuditLog, &[Create])],
};

/// Sets up a deployment: its identifier, its first organization and its first user.
pub const BOOTSTRAP: SystemRole = SystemRole {
    kind: SubjectKind::Bootstrap,
    role: "bootstrap",
    name: "Bootstrap",
    site: &[
        (Resource::User, &[Create]),
        // The first user is an owner; the assignment table limits which roles this can be.
        (Resource::AssignRole, &[Assign]),
        (Resource::AssignOrgRole, &[Assign]),
        (Resource::Organization, &[Create, Read]),
        (Resource::OrganizationMember, &[Create]),
        (Resource::DeploymentConfig, &[Update]),
    ],
};

/// Every part of the deployment.
pub const ALL: &[SystemRole] = &[
    GATEWAY,
    DBPURGE,
    AI_PROVIDER_METADATA_READER,
    AI_PROVIDER_SEEDER,
    AUTHENTICATOR,
    AUDITOR,
    BOOTSTRAP,
];

/// Checked when the crate is compiled: no grant names an action that its kind does not declare.
const _: () = {
    let mut roles = ALL;
    while let [role, more_roles @ ..] = roles {
        let mut grants = role.site;
        while let [(resource, actions), more_grants @ ..] = grants {
            let mut actions = *actions;
            while let [action, more_actions @ ..] = actions {
                assert!(resource.actions().contains(*action), "undeclared action");
                actions = more_actions;
            }
            grants = more_grants;
        }
        roles = more_roles;
    }
};

impl SystemRole {
    pub(crate) fn grants(&self) -> Grants {
        let mut grants = Grants::NONE;
        for (resource, actions) in self.site {
            for action in *actions {
                grants.add(Permission::allow(*resource, *action));
            }
        }
        grants
    }

    fn compile(&self) -> Arc<Subject> {
        let table = RoleTable { site: self.grants(), user: Grants::NONE, in_org: OrgGrants::NONE };
        let role =
            Role::from_table(RoleName::site(self.role), Cow::Borrowed(self.name), Arc::new(table));
        Arc::new(Subject::assemble(
            (self.kind, UserId::nil(), self.name.to_owned(), String::new()),
            vec![role],
            Vec::new(),
            Scope::all(),
        ))
    }
}

macro_rules! subjects {
    ($($(#[$doc:meta])* $name:ident = $role:ident;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name() -> &'static Arc<Subject> {
            static SUBJECT: LazyLock<Arc<Subject>> = LazyLock::new(|| $role.compile());
            &SUBJECT
        }
    )*};
}

subjects! {
    /// The subject of [`GATEWAY`].
    gateway = GATEWAY;
    /// The subject of [`DBPURGE`].
    dbpurge = DBPURGE;
    /// The subject of [`AI_PROVIDER_METADATA_READER`].
    ai_provider_metadata_reader = AI_PROVIDER_METADATA_READER;
    /// The subject of [`AI_PROVIDER_SEEDER`].
    ai_provider_seeder = AI_PROVIDER_SEEDER;
    /// The subject of [`AUTHENTICATOR`].
    authenticator = AUTHENTICATOR;
    /// The subject of [`AUDITOR`].
    auditor = AUDITOR;
    /// The subject of [`BOOTSTRAP`].
    bootstrap = BOOTSTRAP;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Object;

    #[test]
    fn each_subject_may_do_what_is_listed_and_nothing_else() {
        let subjects = [
            (GATEWAY, gateway()),
            (DBPURGE, dbpurge()),
            (AI_PROVIDER_METADATA_READER, ai_provider_metadata_reader()),
            (AI_PROVIDER_SEEDER, ai_provider_seeder()),
            (AUTHENTICATOR, authenticator()),
            (AUDITOR, auditor()),
            (BOOTSTRAP, bootstrap()),
        ];
        assert_eq!(subjects.len(), ALL.len());
        for (role, subject) in subjects {
            assert_eq!((subject.kind(), subject.name()), (role.kind, role.name));
            assert!(subject.id().is_nil() && subject.has_site_role(role.role));
            for resource in Resource::ALL {
                for action in Action::ALL {
                    let listed = role
                        .site
                        .iter()
                        .any(|(r, actions)| *r == resource && actions.contains(&action));
                    let object = Object::new(resource).owner(UserId::nil());
                    let allowed = subject.authorize(action, &object).is_ok();
                    assert_eq!(allowed, listed, "{} {resource}:{action}", role.role);
                }
            }
        }
    }

    /// The gateway once failed each user's first request for want of this, and the quick fix was far too
    /// broad.
    #[test]
    fn the_gateway_takes_a_seat_without_any_power_over_system() {
        let seat = Object::new(Resource::AiSeat);
        let system = Object::new(Resource::System);
        assert!(gateway().authorize(Action::Create, &seat).is_ok());
        assert!(gateway().authorize(Action::Read, &seat).is_err());
        for action in Action::ALL {
            assert!(gateway().authorize(action, &system).is_err());
        }
    }

    #[test]
    fn only_the_first_users_maker_assigns_roles() {
        for (subject, owner) in [(bootstrap(), true), (gateway(), false), (authenticator(), false)]
        {
            assert_eq!(subject.can_assign(&RoleName::site("owner")), owner);
            assert!(!subject.can_assign(&RoleName::site("user-admin")));
        }
    }
}
