//! Organizations and who belongs to them.

mod manage;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource, Sharing};
use stdx::ids::{OrganizationId, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::members::{self, Member};
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::rows::Terms;
use crate::schema::{groups, organization_members, organizations, users, workspaces};
use crate::{Error, Pk};

pub use manage::{
    CountResources, DeleteOrganization, ListIdsOfMembers, ListOrganizations, Resources,
    UpdateOrganization,
};

/// A row of `organizations`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = organizations, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Organization {
    pub id: Pk<OrganizationId>,
    pub name: String,
    pub display_name: String,
    pub description: String,
    pub icon: String,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub is_default: bool,
    pub deleted: bool,
    pub shareable_workspace_owners: String,
}

/// An organization is in itself.
const TERMS: Terms<organizations::table> = Terms {
    id: Some(|ids| Box::new(organizations::id.eq_any(ids))),
    org: Some(|orgs| Box::new(organizations::id.eq_any(orgs))),
    ..Terms::NONE
};

/// The organization that new users join.
#[derive(Debug)]
pub struct GetDefault;

impl Query for GetDefault {
    const NAME: &'static str = "organizations.get_default";
    type Out = Organization;

    fn access(&self) -> Access<Self> {
        Access::After(|org: &Organization| {
            vec![check(
                Action::Read,
                Object::new(Resource::Organization).id(org.id.0.uuid()).in_org(org.id.0),
            )]
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Organization> {
        Box::pin(async move {
            Ok(organizations::table
                .filter(organizations::is_default)
                .filter(organizations::deleted.eq(false))
                .select(Organization::as_select())
                .first(db.conn())
                .await?)
        })
    }
}

/// A live organization by name, ignoring case.
#[derive(Debug)]
pub struct GetByName {
    /// Name.
    pub name: String,
}

impl Query for GetByName {
    const NAME: &'static str = "organizations.get_by_name";
    type Out = Organization;

    fn access(&self) -> Access<Self> {
        Access::After(|org: &Organization| {
            vec![check(
                Action::Read,
                Object::new(Resource::Organization).id(org.id.0.uuid()).in_org(org.id.0),
            )]
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Organization> {
        Box::pin(async move {
            Ok(organizations::table
                .filter(crate::users::lower(organizations::name).eq(self.name.to_lowercase()))
                .filter(organizations::deleted.eq(false))
                .select(Organization::as_select())
                .first(db.conn())
                .await?)
        })
    }
}

/// A live organization.
#[derive(Debug)]
pub struct GetOrganization {
    /// Which.
    pub id: OrganizationId,
}

impl Query for GetOrganization {
    const NAME: &'static str = "organizations.get_organization";
    type Out = Organization;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Organization> {
        Box::pin(async move {
            Ok(organizations::table
                .find(Pk(self.id))
                .filter(organizations::deleted.eq(false))
                .select(Organization::as_select())
                .first(db.conn())
                .await?)
        })
    }
}

const fn object(id: OrganizationId) -> Object<'static> {
    Object::new(Resource::Organization).id(id.uuid()).in_org(id)
}

/// Decides who may share workspaces, and ends what is shared and may not be any longer. The system roles have to follow in the same transaction, see
/// [`ReconcileSystemRoles`](crate::system_roles::ReconcileSystemRoles).
#[derive(Debug)]
pub struct UpdateSharing {
    /// Of which organization.
    pub id: OrganizationId,
    /// Whose workspaces may be shared.
    pub sharing: Sharing,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpdateSharing {
    const NAME: &'static str = "organizations.update_sharing";
    type Out = Change<Organization>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Organization>> {
        Box::pin(async move {
            let old = organizations::table
                .find(Pk(self.id))
                .filter(organizations::deleted.eq(false))
                .select(Organization::as_select())
                .for_update()
                .first(db.conn())
                .await?;
            let new = diesel::update(organizations::table.find(Pk(self.id)))
                .set((
                    organizations::shareable_workspace_owners.eq(self.sharing.as_str()),
                    organizations::updated_at.eq(self.now),
                ))
                .returning(Organization::as_returning())
                .get_result(db.conn())
                .await?;
            unshare(db, self.id, self.sharing).await?;
            Ok(Change::updated(old, new))
        })
    }
}

/// Empties the lists of the workspaces that may not be shared any longer, deleted ones included.
async fn unshare(db: &mut Db<'_>, id: OrganizationId, sharing: Sharing) -> Result<(), Error> {
    if sharing == Sharing::Everyone {
        return Ok(());
    }
    let empty = || serde_json::Value::Object(serde_json::Map::new());
    let mut ending = diesel::update(workspaces::table)
        .filter(workspaces::organization_id.eq(id.uuid()))
        .filter(workspaces::user_acl.ne(empty()).or(workspaces::group_acl.ne(empty())))
        .set((workspaces::user_acl.eq(empty()), workspaces::group_acl.eq(empty())))
        .into_boxed();
    if sharing == Sharing::ServiceAccounts {
        let services = users::table.filter(users::is_service_account).select(users::id);
        ending = ending.filter(workspaces::owner_id.ne_all(services.into_boxed()));
    }
    ending.execute(db.conn()).await?;
    Ok(())
}

/// Organizations by id, deleted ones included, as far as the subject may read them.
#[derive(Debug)]
pub struct ListByIds {
    /// Which.
    pub ids: Vec<OrganizationId>,
}

impl Query for ListByIds {
    const NAME: &'static str = "organizations.list_by_ids";
    type Out = Vec<Organization>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::Organization, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Vec<Organization>> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let ids: Vec<Pk<OrganizationId>> = self.ids.iter().copied().map(Pk).collect();
            let mut query = organizations::table
                .filter(organizations::id.eq_any(ids))
                .order(organizations::id)
                .select(Organization::as_select())
                .into_boxed();
            if let Some(readable) = rows.condition(&TERMS) {
                query = query.filter(readable);
            }
            Ok(query.load(db.conn()).await?)
        })
    }
}

/// An organization to be created, together with its group of everyone.
#[derive(Debug)]
pub struct InsertOrganization {
    /// Identifier, also that of the group of everyone.
    pub id: OrganizationId,
    /// Name.
    pub name: String,
    /// Display name.
    pub display_name: String,
    /// Whether new users join it.
    pub is_default: bool,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for InsertOrganization {
    const NAME: &'static str = "organizations.insert_organization";
    type Out = Change<Organization>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, Object::new(Resource::Organization))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Organization>> {
        Box::pin(async move {
            let organization = diesel::insert_into(organizations::table)
                .values((
                    organizations::id.eq(Pk(self.id)),
                    organizations::name.eq(&self.name),
                    organizations::display_name.eq(&self.display_name),
                    organizations::created_at.eq(self.now),
                    organizations::updated_at.eq(self.now),
                    organizations::is_default.eq(self.is_default),
                ))
                .returning(Organization::as_returning())
                .get_result(db.conn())
                .await?;
            diesel::insert_into(groups::table)
                .values((
                    groups::id.eq(self.id.uuid()),
                    groups::organization_id.eq(Pk(self.id)),
                    groups::name.eq("Everyone"),
                ))
                .execute(db.conn())
                .await?;
            Ok(Change::created(organization))
        })
    }
}

/// Makes a user a member, without roles.
#[derive(Debug)]
pub struct InsertMember {
    /// Of which organization.
    pub organization_id: OrganizationId,
    /// Who.
    pub user_id: UserId,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for InsertMember {
    const NAME: &'static str = "organizations.insert_member";
    type Out = Change<Member>;

    fn access(&self) -> Access<Self> {
        let member = members::object(self.organization_id, self.user_id);
        Access::Before(vec![check(Action::Create, member)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Member>> {
        Box::pin(async move {
            let member = diesel::insert_into(organization_members::table)
                .values((
                    organization_members::organization_id.eq(Pk(self.organization_id)),
                    organization_members::user_id.eq(Pk(self.user_id)),
                    organization_members::created_at.eq(self.now),
                    organization_members::updated_at.eq(self.now),
                ))
                .returning(Member::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(member))
        })
    }
}

/// The organizations of one user, in the order of their identifiers.
#[derive(Debug)]
pub struct ListIdsOfUser {
    /// Whose.
    pub user_id: UserId,
}

impl Query for ListIdsOfUser {
    const NAME: &'static str = "organizations.list_ids_of_user";
    type Out = Vec<Uuid>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, crate::users::object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<Uuid>> {
        Box::pin(async move {
            Ok(organization_members::table
                .inner_join(
                    organizations::table
                        .on(organizations::id.eq(organization_members::organization_id)),
                )
                .filter(organization_members::user_id.eq(Pk(self.user_id)))
                .filter(organizations::deleted.eq(false))
                .order(organizations::id)
                .select(organizations::id)
                .load(db.conn())
                .await?)
        })
    }
}

crate::queries![
    GetDefault,
    GetByName,
    GetOrganization,
    ListByIds,
    InsertOrganization,
    UpdateSharing,
    InsertMember,
    ListIdsOfUser,
    ListOrganizations,
    ListIdsOfMembers,
    CountResources,
    UpdateOrganization,
    DeleteOrganization,
];
