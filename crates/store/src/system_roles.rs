//! The stored copy of the roles that memberships imply.
//!
//! Decisions never read it: they are made by the tables in the program, by the sharing mode of the organization. It
//! is kept for those who read the database, and [`ReconcileSystemRoles`] says where it was different.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Catalog, Object, Resource, RoleOptions, Sharing};
use stdx::ids::OrganizationId;
use time::OffsetDateTime;

use crate::custom_roles::{CustomRole, Permissions};
use crate::locks::Lock;
use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::schema::{custom_roles, organizations};
use crate::{Error, Pk};

diesel::define_sql_function! {
    /// As the trigger does it that makes these rows.
    fn gen_random_uuid() -> diesel::sql_types::Uuid;
}

/// What was wrong with a stored role, and is not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciled {
    /// Whose role.
    pub organization_id: OrganizationId,
    /// Its name.
    pub name: String,
    /// It was not there at all, although a trigger makes it together with its organization.
    pub was_missing: bool,
}

/// Brings the system roles of one organization, or of all that are not deleted, in line with the sharing mode.
/// Servers wait for each other until the transaction ends. Yields what was different.
#[derive(Debug)]
pub struct ReconcileSystemRoles {
    /// Which; all without.
    pub organization_id: Option<OrganizationId>,
    /// The switches by which decisions are made.
    pub options: RoleOptions,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for ReconcileSystemRoles {
    const NAME: &'static str = "system_roles.reconcile_system_roles";
    type Out = Vec<Reconciled>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, Object::new(Resource::System))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<Reconciled>> {
        Box::pin(async move {
            crate::locks::take(db, Lock::SystemRoles).await?;
            let mut query = organizations::table
                .filter(organizations::deleted.eq(false))
                .order(organizations::id)
                .select((organizations::id, organizations::shareable_workspace_owners))
                .into_boxed();
            if let Some(id) = self.organization_id {
                query = query.filter(organizations::id.eq(Pk(id)));
            }
            let organizations: Vec<(Pk<OrganizationId>, String)> = query.load(db.conn()).await?;
            let ids: Vec<Pk<OrganizationId>> = organizations.iter().map(|(id, _)| *id).collect();
            let stored: Vec<CustomRole> = custom_roles::table
                .filter(custom_roles::organization_id.eq_any(&ids))
                .filter(custom_roles::is_system)
                .select(CustomRole::as_select())
                .load(db.conn())
                .await?;
            let mut stored: HashMap<(OrganizationId, String), CustomRole> = stored
                .into_iter()
                .map(|role| ((role.organization_id.0, role.name.clone()), role))
                .collect();
            let catalog = Catalog::new(self.options);
            let mut reconciled = Vec::new();
            for (id, mode) in organizations {
                let sharing = mode.parse().unwrap_or(Sharing::None);
                for service_account in [false, true] {
                    let role = catalog.membership(id.0, sharing, service_account);
                    let wanted = Wanted {
                        organization_id: id,
                        name: role.name().name().to_owned(),
                        org: role.org_permissions().into_iter().collect(),
                        member: role.member_permissions().into_iter().collect(),
                    };
                    let have = stored.remove(&(id.0, wanted.name.clone()));
                    if wanted.write(db, have.as_ref(), self.now).await? {
                        reconciled.push(Reconciled {
                            organization_id: id.0,
                            name: wanted.name,
                            was_missing: have.is_none(),
                        });
                    }
                }
            }
            Ok(reconciled)
        })
    }
}

/// What is to be stored.
struct Wanted {
    organization_id: Pk<OrganizationId>,
    name: String,
    org: Permissions,
    member: Permissions,
}

impl Wanted {
    /// Writes it unless it is there. Tells whether it was different.
    async fn write(
        &self,
        db: &mut Db<'_>,
        have: Option<&CustomRole>,
        now: OffsetDateTime,
    ) -> Result<bool, Error> {
        let Some(have) = have else {
            diesel::insert_into(custom_roles::table)
                .values((
                    custom_roles::id.eq(gen_random_uuid()),
                    custom_roles::organization_id.eq(self.organization_id),
                    custom_roles::name.eq(&self.name),
                    custom_roles::org_permissions.eq(&self.org),
                    custom_roles::member_permissions.eq(&self.member),
                    custom_roles::is_system.eq(true),
                    custom_roles::created_at.eq(now),
                    custom_roles::updated_at.eq(now),
                ))
                .execute(db.conn())
                .await?;
            return Ok(true);
        };
        let same = have.org_permissions.is_same(&self.org)
            && have.member_permissions.is_same(&self.member)
            && have.display_name.is_empty();
        if !same {
            diesel::update(custom_roles::table.find(have.id))
                .set((
                    custom_roles::display_name.eq(""),
                    custom_roles::org_permissions.eq(&self.org),
                    custom_roles::member_permissions.eq(&self.member),
                    custom_roles::updated_at.eq(now),
                ))
                .execute(db.conn())
                .await?;
        }
        Ok(!same)
    }
}

crate::queries![ReconcileSystemRoles];
