use diesel::dsl::not;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::ids::{OrganizationId, UserId};
use time::OffsetDateTime;

use super::{Organization, TERMS, object};
use crate::members;
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::{
    groups, organization_members, organizations, provisioner_keys, templates, users, workspaces,
};
use crate::users::lower;
use crate::{Error, Pk};

/// Most organizations that a list returns.
const LIST_MAX: i64 = 10_000;

/// Organizations that the subject may read, by name; at most 10,000.
#[derive(Debug, Default)]
pub struct ListOrganizations {
    /// Only those that this user is a member of.
    pub of_user: Option<UserId>,
    /// Only the one of this name, ignoring case.
    pub name: Option<String>,
    /// Those that are deleted, instead of those that are not.
    pub deleted: bool,
}

impl Query for ListOrganizations {
    const NAME: &'static str = "organizations.list_organizations";
    type Out = Vec<Organization>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::Organization, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Vec<Organization>> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let mut query = organizations::table
                .filter(organizations::deleted.eq(self.deleted))
                .order((lower(organizations::name), organizations::id))
                .limit(LIST_MAX)
                .select(Organization::as_select())
                .into_boxed();
            if let Some(readable) = rows.condition(&TERMS) {
                query = query.filter(readable);
            }
            if let Some(name) = &self.name {
                query = query.filter(lower(organizations::name).eq(name.to_lowercase()));
            }
            if let Some(user) = self.of_user {
                let joined = organization_members::table
                    .filter(organization_members::user_id.eq(Pk(user)))
                    .select(organization_members::organization_id);
                query = query.filter(organizations::id.eq_any(joined));
            }
            Ok(query.load(db.conn()).await?)
        })
    }
}

/// Which of these users are in which live organizations, as far as the subject may read the memberships; at most
/// 10,000, in the order of (user, organization).
#[derive(Debug)]
pub struct ListIdsOfMembers {
    /// Whose.
    pub user_ids: Vec<UserId>,
}

impl Query for ListIdsOfMembers {
    const NAME: &'static str = "organizations.list_ids_of_members";
    type Out = Vec<(Pk<UserId>, Pk<OrganizationId>)>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::OrganizationMember, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let ids: Vec<Pk<UserId>> = self.user_ids.iter().copied().map(Pk).collect();
            let live =
                organizations::table.filter(not(organizations::deleted)).select(organizations::id);
            let mut query = organization_members::table
                .filter(organization_members::user_id.eq_any(ids))
                .filter(organization_members::organization_id.eq_any(live))
                .order((organization_members::user_id, organization_members::organization_id))
                .limit(LIST_MAX)
                .select((organization_members::user_id, organization_members::organization_id))
                .into_boxed();
            if let Some(readable) = rows.condition(&members::TERMS) {
                query = query.filter(readable);
            }
            Ok(query.load(db.conn()).await?)
        })
    }
}

/// How much an organization holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "one per kind, live ones only")]
pub struct Resources {
    pub workspaces: i64,
    pub templates: i64,
    /// Without the reserved ones.
    pub provisioner_keys: i64,
    /// Without the group of everyone.
    pub groups: i64,
    pub members: i64,
}

/// Counts what an organization holds: all of it but one member must be gone before it can be deleted.
#[derive(Debug)]
pub struct CountResources {
    /// Whose.
    pub id: OrganizationId,
}

impl Query for CountResources {
    const NAME: &'static str = "organizations.count_resources";
    type Out = Resources;

    fn access(&self) -> Access<Self> {
        let members = Object::new(Resource::OrganizationMember).in_org(self.id);
        Access::Before(vec![check(Action::Read, object(self.id)), check(Action::Read, members)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Resources> {
        Box::pin(async move {
            let id = Pk(self.id);
            let workspaces = workspaces::table
                .filter(workspaces::organization_id.eq(id))
                .filter(not(workspaces::deleted))
                .count();
            let templates = templates::table
                .filter(templates::organization_id.eq(id))
                .filter(not(templates::deleted))
                .count();
            let keys = provisioner_keys::table
                .filter(provisioner_keys::organization_id.eq(id))
                .filter(provisioner_keys::id.ne_all(crate::provisioner_keys::reserved()))
                .count();
            let groups = groups::table
                .filter(groups::organization_id.eq(id))
                .filter(groups::id.ne(self.id.uuid()))
                .count();
            let joined = organization_members::table
                .filter(organization_members::organization_id.eq(id))
                .select(organization_members::user_id)
                .into_boxed();
            let members =
                users::table.filter(users::id.eq_any(joined)).filter(not(users::deleted)).count();
            Ok(Resources {
                workspaces: workspaces.get_result(db.conn()).await?,
                templates: templates.get_result(db.conn()).await?,
                provisioner_keys: keys.get_result(db.conn()).await?,
                groups: groups.get_result(db.conn()).await?,
                members: members.get_result(db.conn()).await?,
            })
        })
    }
}

/// Reads a live organization, and keeps others from changing it.
async fn lock(db: &mut Db<'_>, id: OrganizationId) -> Result<Organization, Error> {
    Ok(organizations::table
        .find(Pk(id))
        .filter(organizations::deleted.eq(false))
        .select(Organization::as_select())
        .for_update()
        .first(db.conn())
        .await?)
}

/// Replaces what an organization is called and looks like.
#[derive(Debug)]
pub struct UpdateOrganization {
    /// Which.
    pub id: OrganizationId,
    /// Unique among live organizations, whatever the case.
    pub name: String,
    /// For people.
    pub display_name: String,
    /// For people.
    pub description: String,
    /// Picture.
    pub icon: String,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpdateOrganization {
    const NAME: &'static str = "organizations.update_organization";
    type Out = Change<Organization>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Organization>> {
        Box::pin(async move {
            let old = lock(db, self.id).await?;
            let new = diesel::update(organizations::table.find(Pk(self.id)))
                .set((
                    organizations::name.eq(&self.name),
                    organizations::display_name.eq(&self.display_name),
                    organizations::description.eq(&self.description),
                    organizations::icon.eq(&self.icon),
                    organizations::updated_at.eq(self.now),
                ))
                .returning(Organization::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}

/// Deletes an organization, which stays for history under a name that is free again. One that still holds something
/// is refused by [`Constraint::OrganizationsHasResources`](crate::Constraint::OrganizationsHasResources),
/// `OrganizationsHasGroups` or `OrganizationsHasMembers`; [`CountResources`] says how much.
#[derive(Debug)]
pub struct DeleteOrganization {
    /// Which.
    pub id: OrganizationId,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for DeleteOrganization {
    const NAME: &'static str = "organizations.delete_organization";
    type Out = Change<Organization>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Organization>> {
        Box::pin(async move {
            let old = lock(db, self.id).await?;
            let new = diesel::update(organizations::table.find(Pk(self.id)))
                .set((organizations::deleted.eq(true), organizations::updated_at.eq(self.now)))
                .returning(Organization::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}
