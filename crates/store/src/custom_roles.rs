//! Roles that people write for their organization.
//!
//! A role that cannot be expressed cannot be stored: the queries take pairs of a declared action and a kind, so
//! there is neither a forbidding permission nor a wildcard, and each pair is a check of its own, since nobody
//! grants what they do not hold throughout the organization.

use std::collections::BTreeSet;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Jsonb;
use diesel_async::RunQueryDsl;
use rbac::{
    Action, Object, Permission, PermissionError, RawPermission, RawPermissions, Resource, Role,
    RoleError, RoleName,
};
use serde::{Deserialize, Serialize};
use stdx::ids::{CustomRoleId, OrganizationId};
use time::OffsetDateTime;

use crate::query::{Access, Change, Check, Db, Fut, Permit, Query, check};
use crate::schema::custom_roles;
use crate::{Error, Pk};

/// Most roles that an organization may have; no list has more of one.
pub const ROLES_MAX: usize = 1_000;

/// A permission as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StoredPermission {
    /// Forbids instead of allowing.
    pub negate: bool,
    /// The kind of resource or `*`.
    pub resource_type: String,
    /// The action or `*`.
    pub action: String,
}

impl From<Permission> for StoredPermission {
    fn from(permission: Permission) -> Self {
        Self {
            negate: permission.negate,
            resource_type: permission.resource.map_or("*", Resource::as_str).to_owned(),
            action: permission.action.map_or("*", Action::as_str).to_owned(),
        }
    }
}

/// A column of permissions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, AsExpression, FromSqlRow)]
#[diesel(sql_type = Jsonb)]
pub struct Permissions(pub Vec<StoredPermission>);

impl Permissions {
    /// The same whatever the order and however often one is told.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.iter().collect::<BTreeSet<_>>() == other.0.iter().collect::<BTreeSet<_>>()
    }

    fn raw(&self) -> Vec<RawPermission<'_>> {
        let raw = self.0.iter().map(|permission| RawPermission {
            negate: permission.negate,
            resource_type: &permission.resource_type,
            action: &permission.action,
        });
        raw.collect()
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().map(StoredPermission::from).collect())
    }
}

impl FromSql<Jsonb, Pg> for Permissions {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let value = <serde_json::Value as FromSql<Jsonb, Pg>>::from_sql(value)?;
        Ok(Self(serde_json::from_value(value)?))
    }
}

impl ToSql<Jsonb, Pg> for Permissions {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let value = serde_json::to_value(&self.0)?;
        <serde_json::Value as ToSql<Jsonb, Pg>>::to_sql(&value, &mut out.reborrow())
    }
}

/// A row of `custom_roles`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = custom_roles, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct CustomRole {
    pub id: Pk<CustomRoleId>,
    pub organization_id: Pk<OrganizationId>,
    pub name: String,
    pub display_name: String,
    pub org_permissions: Permissions,
    pub member_permissions: Permissions,
    pub is_system: bool,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

impl CustomRole {
    /// The role for decisions. A permission that this release does not know grants nothing and is handed back.
    ///
    /// # Errors
    /// See [`Role::from_stored`]; a role whose name has become a reserved one is no role.
    pub fn role(&self) -> Result<(Role, Vec<PermissionError>), RoleError> {
        let name = RoleName::in_org(self.name.clone(), self.organization_id.0);
        let (org, member) = (self.org_permissions.raw(), self.member_permissions.raw());
        let lists = RawPermissions { org: &org, member: &member, ..RawPermissions::default() };
        Role::from_stored(name, &self.display_name, &lists)
    }
}

const fn object(organization: OrganizationId) -> Object<'static> {
    Object::new(Resource::AssignOrgRole).in_org(organization)
}

/// What may be granted in a role: an action on every object of a kind in the organization.
pub type Grant = (Action, Resource);

/// The subject must hold what it grants.
fn checks(action: Action, organization: OrganizationId, grants: &[Grant]) -> Vec<Check> {
    let held = grants
        .iter()
        .map(|(action, resource)| check(*action, Object::new(*resource).in_org(organization)));
    std::iter::once(check(action, object(organization))).chain(held).collect()
}

fn permissions(grants: &[Grant]) -> Permissions {
    grants.iter().map(|(action, resource)| Permission::allow(*resource, *action)).collect()
}

/// The roles that were written for an organization, by name; at most [`ROLES_MAX`].
#[derive(Debug)]
pub struct ListCustomRoles {
    /// Whose.
    pub organization_id: OrganizationId,
}

impl Query for ListCustomRoles {
    const NAME: &'static str = "custom_roles.list_custom_roles";
    type Out = Vec<CustomRole>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, object(self.organization_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<CustomRole>> {
        Box::pin(async move {
            Ok(custom_roles::table
                .filter(custom_roles::organization_id.eq(Pk(self.organization_id)))
                .filter(custom_roles::is_system.eq(false))
                .order(custom_roles::name)
                .limit(i64::try_from(ROLES_MAX).unwrap_or(i64::MAX))
                .select(CustomRole::as_select())
                .load(db.conn())
                .await?)
        })
    }
}

/// Stores a role.
#[derive(Debug)]
pub struct InsertCustomRole {
    /// Identifier.
    pub id: CustomRoleId,
    /// Where it may be given.
    pub organization_id: OrganizationId,
    /// Name, unique in the organization whatever the case.
    pub name: String,
    /// Display name.
    pub display_name: String,
    /// What its holders may do in the organization.
    pub grants: Vec<Grant>,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for InsertCustomRole {
    const NAME: &'static str = "custom_roles.insert_custom_role";
    type Out = Change<CustomRole>;

    fn access(&self) -> Access<Self> {
        Access::Before(checks(Action::Create, self.organization_id, &self.grants))
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<CustomRole>> {
        Box::pin(async move {
            let row = CustomRole {
                id: Pk(self.id),
                organization_id: Pk(self.organization_id),
                name: self.name.clone(),
                display_name: self.display_name.clone(),
                org_permissions: permissions(&self.grants),
                member_permissions: Permissions::default(),
                is_system: false,
                created_at: self.now,
                updated_at: self.now,
            };
            diesel::insert_into(custom_roles::table).values(&row).execute(db.conn()).await?;
            Ok(Change::created(row))
        })
    }
}

/// Reads a role of people, and keeps others from changing it.
async fn lock(
    db: &mut Db<'_>,
    organization: OrganizationId,
    name: &str,
) -> Result<CustomRole, Error> {
    Ok(custom_roles::table
        .filter(custom_roles::organization_id.eq(Pk(organization)))
        .filter(crate::users::lower(custom_roles::name).eq(name.to_lowercase()))
        .filter(custom_roles::is_system.eq(false))
        .select(CustomRole::as_select())
        .for_update()
        .first(db.conn())
        .await?)
}

/// Replaces what a role is called for people and what it grants.
#[derive(Debug)]
pub struct UpdateCustomRole {
    /// Where it is.
    pub organization_id: OrganizationId,
    /// Which, ignoring case.
    pub name: String,
    /// Display name.
    pub display_name: String,
    /// What its holders may do in the organization.
    pub grants: Vec<Grant>,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpdateCustomRole {
    const NAME: &'static str = "custom_roles.update_custom_role";
    type Out = Change<CustomRole>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(checks(Action::Update, self.organization_id, &self.grants))
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<CustomRole>> {
        Box::pin(async move {
            let old = lock(db, self.organization_id, &self.name).await?;
            let new = diesel::update(custom_roles::table.find(old.id))
                .set((
                    custom_roles::display_name.eq(&self.display_name),
                    custom_roles::org_permissions.eq(permissions(&self.grants)),
                    custom_roles::updated_at.eq(self.now),
                ))
                .returning(CustomRole::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}

/// Deletes a role. Its holders lose it in the same statement.
#[derive(Debug)]
pub struct DeleteCustomRole {
    /// Where it is.
    pub organization_id: OrganizationId,
    /// Which, ignoring case.
    pub name: String,
}

impl Query for DeleteCustomRole {
    const NAME: &'static str = "custom_roles.delete_custom_role";
    type Out = Change<CustomRole>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, object(self.organization_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<CustomRole>> {
        Box::pin(async move {
            let old = lock(db, self.organization_id, &self.name).await?;
            diesel::delete(custom_roles::table.find(old.id)).execute(db.conn()).await?;
            Ok(Change::deleted(old))
        })
    }
}

crate::queries![ListCustomRoles, InsertCustomRole, UpdateCustomRole, DeleteCustomRole];
