use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::ids::{GroupId, OrganizationId, UserId};

use super::{Group, TERMS};
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::{group_members_expanded, groups, organizations};
use crate::users::lower;
use crate::{Error, Pk};

/// Most groups that a list returns.
const LIST_MAX: i64 = 10_000;

/// A group by its name, ignoring case.
#[derive(Debug)]
pub struct GetGroupByName {
    /// Where.
    pub organization_id: OrganizationId,
    /// Its name.
    pub name: String,
}

impl Query for GetGroupByName {
    const NAME: &'static str = "groups.get_group_by_name";
    type Out = Group;

    fn access(&self) -> Access<Self> {
        Access::After(|group: &Group| vec![check(Action::Read, group.object()).shared(group.acl())])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Group> {
        Box::pin(async move {
            Ok(groups::table
                .filter(groups::organization_id.eq(Pk(self.organization_id)))
                .filter(lower(groups::name).eq(self.name.to_lowercase()))
                .select(Group::as_select())
                .first(db.conn())
                .await?)
        })
    }
}

/// A group with what its organization is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// The group.
    pub group: Group,
    /// The name of its organization.
    pub organization_name: String,
    /// The same for people.
    pub organization_display_name: String,
}

/// Groups of live organizations that the subject may read, by name; at most 10,000. Absent fields do not narrow.
#[derive(Debug, Default)]
pub struct ListGroups {
    /// Of this organization.
    pub organization_id: Option<OrganizationId>,
    /// Only those that this user is in, groups of everyone included.
    pub member: Option<UserId>,
    /// Only those of these names, ignoring case.
    pub names: Option<Vec<String>>,
    /// Only these.
    pub ids: Option<Vec<GroupId>>,
}

impl Query for ListGroups {
    const NAME: &'static str = "groups.list_groups";
    type Out = Vec<ListedGroup>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::Group, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let live = organizations::table
                .filter(diesel::dsl::not(organizations::deleted))
                .select(organizations::id)
                .into_boxed();
            let mut query = groups::table
                .filter(groups::organization_id.eq_any(live))
                .order((lower(groups::name), groups::id))
                .limit(LIST_MAX)
                .select(Group::as_select())
                .into_boxed();
            if let Some(readable) = rows.condition(&TERMS) {
                query = query.filter(readable);
            }
            if let Some(organization) = self.organization_id {
                query = query.filter(groups::organization_id.eq(Pk(organization)));
            }
            if let Some(member) = self.member {
                let joined = group_members_expanded::table
                    .filter(group_members_expanded::user_id.eq(Pk(member)))
                    .select(group_members_expanded::group_id.assume_not_null())
                    .into_boxed();
                query = query.filter(groups::id.eq_any(joined));
            }
            if let Some(names) = &self.names {
                let names: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
                query = query.filter(lower(groups::name).eq_any(names));
            }
            if let Some(ids) = &self.ids {
                let ids: Vec<Pk<GroupId>> = ids.iter().copied().map(Pk).collect();
                query = query.filter(groups::id.eq_any(ids));
            }
            let found: Vec<Group> = query.load(db.conn()).await?;
            named(db, found).await
        })
    }
}

/// Puts the names of their organizations beside groups that the subject was allowed to list.
async fn named(db: &mut Db<'_>, found: Vec<Group>) -> Result<Vec<ListedGroup>, Error> {
    let mut ids: Vec<Pk<OrganizationId>> =
        found.iter().map(|group| group.organization_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let names: Vec<(Pk<OrganizationId>, String, String)> = organizations::table
        .filter(organizations::id.eq_any(ids))
        .select((organizations::id, organizations::name, organizations::display_name))
        .load(db.conn())
        .await?;
    let listed = |group: Group| {
        let (_, name, display_name) = names.iter().find(|(id, ..)| *id == group.organization_id)?;
        Some(ListedGroup {
            organization_name: name.clone(),
            organization_display_name: display_name.clone(),
            group,
        })
    };
    Ok(found.into_iter().filter_map(listed).collect())
}

/// A group to be created, without members.
#[derive(Debug)]
pub struct InsertGroup {
    /// Identifier.
    pub id: GroupId,
    /// Where.
    pub organization_id: OrganizationId,
    /// Unique in the organization, whatever the case.
    pub name: String,
    /// For people.
    pub display_name: String,
    /// Picture.
    pub avatar_url: String,
    /// What the workspaces of each member may cost; not negative.
    pub quota_allowance: i32,
}

impl Query for InsertGroup {
    const NAME: &'static str = "groups.insert_group";
    type Out = Change<Group>;

    fn access(&self) -> Access<Self> {
        let group = Object::new(Resource::Group).id(self.id.uuid()).in_org(self.organization_id);
        Access::Before(vec![check(Action::Create, group)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Group>> {
        Box::pin(async move {
            let group = diesel::insert_into(groups::table)
                .values((
                    groups::id.eq(Pk(self.id)),
                    groups::organization_id.eq(Pk(self.organization_id)),
                    groups::name.eq(&self.name),
                    groups::display_name.eq(&self.display_name),
                    groups::avatar_url.eq(&self.avatar_url),
                    groups::quota_allowance.eq(self.quota_allowance),
                ))
                .returning(Group::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(group))
        })
    }
}

/// Reads a group, and keeps others from changing it.
pub(super) async fn lock(db: &mut Db<'_>, id: GroupId) -> Result<Group, Error> {
    Ok(groups::table.find(Pk(id)).select(Group::as_select()).for_update().first(db.conn()).await?)
}

/// The same for one that people may delete and list members of: the group of everyone goes with its organization.
pub(super) async fn lock_listed(db: &mut Db<'_>, id: GroupId) -> Result<Group, Error> {
    let group = lock(db, id).await?;
    if group.is_everyone() { Err(Error::NotFound) } else { Ok(group) }
}

/// Replaces what may change of a group besides its members.
#[derive(Debug)]
pub struct UpdateGroup {
    /// Which.
    pub id: GroupId,
    /// Unique in the organization, whatever the case. Not used for the group of everyone, which keeps its name.
    pub name: String,
    /// For people.
    pub display_name: String,
    /// Picture.
    pub avatar_url: String,
    /// What the workspaces of each member may cost; not negative.
    pub quota_allowance: i32,
    /// How much each member may spend on chats: millionths of the currency, more than 0; `None` = the limit of the
    /// deployment.
    pub chat_spend_limit_micros: Option<i64>,
}

impl Query for UpdateGroup {
    const NAME: &'static str = "groups.update_group";
    type Out = Change<Group>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(
                async move { Ok(vec![check(Action::Update, lock(db, query.id).await?.object())]) },
            )
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Group>> {
        Box::pin(async move {
            let old = lock(db, self.id).await?;
            let name = if old.is_everyone() { &old.name } else { &self.name };
            let new = diesel::update(groups::table.find(Pk(self.id)))
                .set((
                    groups::name.eq(name),
                    groups::display_name.eq(&self.display_name),
                    groups::avatar_url.eq(&self.avatar_url),
                    groups::quota_allowance.eq(self.quota_allowance),
                    groups::chat_spend_limit_micros.eq(self.chat_spend_limit_micros),
                ))
                .returning(Group::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}

/// Deletes a group, and budgets that came with it. Never that of everyone ([`Error::NotFound`]).
#[derive(Debug)]
pub struct DeleteGroup {
    /// Which.
    pub id: GroupId,
}

impl Query for DeleteGroup {
    const NAME: &'static str = "groups.delete_group";
    type Out = Change<Group>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(
                async move { Ok(vec![check(Action::Delete, lock(db, query.id).await?.object())]) },
            )
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Group>> {
        Box::pin(async move {
            let old = lock_listed(db, self.id).await?;
            diesel::delete(groups::table.find(Pk(self.id))).execute(db.conn()).await?;
            Ok(Change::deleted(old))
        })
    }
}

/// Which of these are no groups.
#[derive(Debug)]
pub struct ValidateGroupIds {
    /// To be looked at.
    pub ids: Vec<GroupId>,
}

impl Query for ValidateGroupIds {
    const NAME: &'static str = "groups.validate_group_ids";
    type Out = Vec<GroupId>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, Object::new(Resource::Group))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let ids: Vec<Pk<GroupId>> = self.ids.iter().copied().map(Pk).collect();
            let known: Vec<Pk<GroupId>> = groups::table
                .filter(groups::id.eq_any(&ids))
                .select(groups::id)
                .load(db.conn())
                .await?;
            Ok(self.ids.iter().copied().filter(|id| !known.contains(&Pk(*id))).collect())
        })
    }
}
