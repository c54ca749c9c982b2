//! The parts of the deployment that act on their own behalf: one subject per job, each with the fewest
//! permissions that its queries need.
//!
//! Those of the [`ALL`] table act for nobody: they have the nil id unless their row names another, so they
//! own nothing, and the scope `coder:all`. They are compiled once, at first use. Those of [`PERSONAL`] act
//! for one user, under that user's id and with permissions on that user's things only. Requests of users
//! run under the user's subject, also inside these parts.
//!
//! No part but [`RESTRICTED`], [`DBPURGE`] and [`ROLE_RECONCILER`] has a permission on the catch-all
//! [`Resource::System`]: what a part needs has a type of its own.

mod personal;
mod roles;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use stdx::ids::UserId;

use crate::action::Action;
use crate::permission::{Grants, OrgGrants, Permission};
use crate::resource::Resource;
use crate::role::{Role, RoleTable};
use crate::role_name::RoleName;
use crate::scope::Scope;
use crate::subject::{Subject, SubjectKind};

pub use personal::*;
pub use roles::*;

/// Actions by kind of resource.
pub type Bundle = &'static [(Resource, &'static [Action])];

/// A part of the deployment and everything it may do, all of it deployment-wide.
#[derive(Clone, Copy, Debug)]
pub struct SystemRole {
    /// The kind of the subject.
    pub kind: SubjectKind,
    /// The id of the subject: nil, but for the owner of unclaimed workspaces and the reader of files.
    pub id: UserId,
    /// The name of its one role, which nobody else can hold.
    pub role: &'static str,
    /// The name in logs.
    pub name: &'static str,
    /// What it may do.
    pub site: Bundle,
}

/// Whether every action is declared for its kind.
const fn is_declared(mut grants: Bundle) -> bool {
    while let [(resource, actions), more_grants @ ..] = grants {
        let mut actions = *actions;
        while let [action, more_actions @ ..] = actions {
            if !resource.actions().contains(*action) {
                return false;
            }
            actions = more_actions;
        }
        grants = more_grants;
    }
    true
}

/// Checked when the crate is compiled: no grant names an action that its kind does not declare.
const _: () = {
    let mut roles = ALL;
    while let [role, more_roles @ ..] = roles {
        assert!(is_declared(role.site), "undeclared action");
        roles = more_roles;
    }
    let mut roles = PERSONAL;
    while let [role, more_roles @ ..] = roles {
        assert!(
            is_declared(role.user) && is_declared(role.org) && is_declared(role.member),
            "undeclared action"
        );
        roles = more_roles;
    }
};

fn table(bundle: Bundle) -> Grants {
    let mut grants = Grants::NONE;
    for (resource, actions) in bundle {
        for action in *actions {
            grants.add(Permission::allow(*resource, *action));
        }
    }
    grants
}

impl SystemRole {
    pub(crate) fn table(&self) -> RoleTable {
        RoleTable { site: table(self.site), user: Grants::NONE, in_org: OrgGrants::NONE }
    }

    fn compile(&self) -> Arc<Subject> {
        let table = Arc::new(self.table());
        let role = Role::from_table(RoleName::site(self.role), Cow::Borrowed(self.name), table);
        Arc::new(Subject::assemble(
            (self.kind, self.id, self.name.to_owned(), String::new()),
            vec![role],
            Vec::new(),
            Scope::all(),
        ))
    }
}

macro_rules! subjects {
    ($($(#[$doc:meta])* $name:ident = $role:ident;)*) => {
        /// Every part of the deployment that acts for nobody.
        pub const ALL: &[SystemRole] = &[$($role),*];

        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name() -> &'static Arc<Subject> {
                static SUBJECT: LazyLock<Arc<Subject>> = LazyLock::new(|| $role.compile());
                &SUBJECT
            }
        )*

        #[cfg(test)]
        #[expect(clippy::disallowed_methods, reason = "the restricted subject is tested as well")]
        fn subjects() -> Vec<&'static Arc<Subject>> {
            vec![$($name()),*]
        }
    };
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
    /// The subject of [`PROVISIONERD`].
    provisionerd = PROVISIONERD;
    /// The subject of [`AUTOSTART`].
    autostart = AUTOSTART;
    /// The subject of [`JOB_REAPER`].
    job_reaper = JOB_REAPER;
    /// The subject of [`KEY_ROTATOR`].
    key_rotator = KEY_ROTATOR;
    /// The subject of [`KEY_READER`].
    key_reader = KEY_READER;
    /// The subject of [`CONNECTION_LOGGER`].
    connection_logger = CONNECTION_LOGGER;
    /// The subject of [`NOTIFIER`].
    notifier = NOTIFIER;
    /// The subject of [`RESOURCE_MONITOR`].
    resource_monitor = RESOURCE_MONITOR;
    /// The subject of [`OAUTH2`].
    oauth2 = OAUTH2;
    /// The subject of [`PROVISIONER_DAEMON_READER`].
    provisioner_daemon_reader = PROVISIONER_DAEMON_READER;
    /// The subject of [`PREBUILDS`].
    prebuilds = PREBUILDS;
    /// The subject of [`FILE_READER`].
    file_reader = FILE_READER;
    /// The subject of [`USAGE_PUBLISHER`].
    usage_publisher = USAGE_PUBLISHER;
    /// The subject of [`BOUNDARY_USAGE_TRACKER`].
    boundary_usage_tracker = BOUNDARY_USAGE_TRACKER;
    /// The subject of [`WORKSPACE_BUILDER`].
    workspace_builder = WORKSPACE_BUILDER;
    /// The subject of [`CHATD`].
    chatd = CHATD;
    /// The subject of [`SCIM`].
    scim = SCIM;
    /// The subject of [`EXTERNAL_AUTH_COORDINATOR`].
    external_auth_coordinator = EXTERNAL_AUTH_COORDINATOR;
    /// The subject of [`ROLE_RECONCILER`].
    role_reconciler = ROLE_RECONCILER;
    /// The subject of [`RESTRICTED`]: the last resort. Each use is listed as an exception to a lint.
    restricted = RESTRICTED;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Object;
    use std::collections::HashSet;

    #[test]
    fn each_subject_may_do_what_is_listed_and_nothing_else() {
        let subjects = subjects();
        assert_eq!(subjects.len(), ALL.len());
        for (role, subject) in ALL.iter().zip(subjects) {
            assert_eq!((subject.kind(), subject.name()), (role.kind, role.name));
            assert!(subject.id() == role.id && subject.has_site_role(role.role));
            for resource in Resource::ALL {
                for action in Action::ALL {
                    let listed = role
                        .site
                        .iter()
                        .any(|(r, actions)| *r == resource && actions.contains(&action));
                    let object = Object::new(resource).owner(role.id);
                    let allowed = subject.authorize(action, &object).is_ok();
                    assert_eq!(allowed, listed, "{} {resource}:{action}", role.role);
                }
            }
        }
    }

    #[test]
    fn kinds_and_role_names_are_nobody_elses() {
        let parts = ALL.len() + PERSONAL.len();
        let kinds = ALL.iter().map(|part| part.kind).chain(PERSONAL.iter().map(|part| part.kind));
        let roles = ALL.iter().map(|part| part.role).chain(PERSONAL.iter().map(|part| part.role));
        assert_eq!(kinds.clone().collect::<HashSet<_>>().len(), parts);
        assert!(kinds.clone().all(|kind| kind != SubjectKind::User));
        assert_eq!(SubjectKind::ALL.len(), parts + 1, "a kind without a part");
        assert_eq!(roles.clone().collect::<HashSet<_>>().len(), parts);
        for role in roles {
            assert!(!crate::is_built_in(role), "{role}");
        }
    }

    #[test]
    fn the_catch_all_and_the_seats_are_for_the_few() {
        let holders = |resource: Resource, action: Action| -> Vec<&str> {
            let grants = |part: &&SystemRole| {
                part.site.iter().any(|(r, actions)| *r == resource && actions.contains(&action))
            };
            ALL.iter().filter(grants).map(|part| part.role).collect()
        };
        assert_eq!(holders(Resource::System, Action::Create), ["role-reconciler", "system"]);
        assert_eq!(holders(Resource::System, Action::Read), ["role-reconciler", "system"]);
        assert_eq!(holders(Resource::System, Action::Update), ["role-reconciler", "system"]);
        assert_eq!(holders(Resource::System, Action::Delete), ["dbpurge", "system"]);
        assert_eq!(holders(Resource::AiSeat, Action::Create), ["aibridged", "provisionerd"]);
        assert_eq!(holders(Resource::AiSeat, Action::Read), ["usage-publisher", "system"]);
        let keys = ["keyrotator", "system"];
        assert_eq!(holders(Resource::CryptoKey, Action::Update), keys);
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
    fn only_who_makes_users_assigns_roles() {
        for (subject, owner, member) in [
            (bootstrap(), true, true),
            (scim(), false, true),
            (gateway(), false, false),
            (authenticator(), false, false),
        ] {
            assert_eq!(subject.can_assign(&RoleName::site("owner")), owner);
            assert_eq!(subject.can_assign(&RoleName::site("member")), member);
            assert!(!subject.can_assign(&RoleName::site("user-admin")));
        }
    }
}
