use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Resource};
use stdx::ids::{GroupId, UserId};

use super::Group;
use super::manage::lock_listed;
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::rows::Terms;
use crate::schema::{group_members, group_members_expanded, groups, organization_members, users};
use crate::users::{self as people, Filter, User, Window};
use crate::{Constraint, Error, Pk};

/// Most members of one group that are read for the audit log.
pub const MEMBERS_MAX: i64 = 10_000;

/// A membership has the identifier of its member and belongs to him.
const TERMS: Terms<group_members_expanded::table> = Terms {
    id: Some(|ids| Box::new(group_members_expanded::user_id.assume_not_null().eq_any(ids))),
    org: Some(|orgs| {
        Box::new(group_members_expanded::organization_id.assume_not_null().eq_any(orgs))
    }),
    owner: Some(|user| Box::new(group_members_expanded::user_id.assume_not_null().eq(user))),
    ..Terms::NONE
};

/// A page of a group's members whom the subject may read, by username. In the group of everyone are all members of
/// the organization.
#[derive(Debug)]
pub struct ListGroupMembers {
    /// Of which group.
    pub group_id: GroupId,
    /// Which of its members.
    pub filter: Filter,
    /// Which part of the list.
    pub window: Window,
}

impl Query for ListGroupMembers {
    const NAME: &'static str = "groups.list_group_members";
    /// `None`: the user named by the window is no member that the subject may read.
    type Out = Option<Vec<User>>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::GroupMember, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let access = || {
                let mut members = group_members_expanded::table
                    .filter(
                        group_members_expanded::group_id.assume_not_null().eq(Pk(self.group_id)),
                    )
                    .select(group_members_expanded::user_id.assume_not_null())
                    .into_boxed();
                if let Some(readable) = rows.condition(&TERMS) {
                    members = members.filter(readable);
                }
                let members: people::Condition = Box::new(users::id.eq_any(members));
                vec![members]
            };
            people::page(db, self.window, &self.filter, access).await
        })
    }
}

/// How many live users are in a group, with the group. Who may read the group may know.
#[derive(Debug)]
pub struct CountGroupMembers {
    /// Of which group.
    pub group_id: GroupId,
    /// Users that act for the deployment, too.
    pub include_system: bool,
}

impl Query for CountGroupMembers {
    const NAME: &'static str = "groups.count_group_members";
    type Out = (Group, i64);

    fn access(&self) -> Access<Self> {
        Access::After(|(group, _): &(Group, i64)| {
            vec![check(Action::Read, group.object()).shared(group.acl())]
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let group = groups::table
                .find(Pk(self.group_id))
                .select(Group::as_select())
                .first(db.conn())
                .await?;
            let members = group_members_expanded::table
                .filter(group_members_expanded::group_id.assume_not_null().eq(Pk(self.group_id)))
                .select(group_members_expanded::user_id.assume_not_null())
                .into_boxed();
            let members: Vec<people::Condition> = vec![Box::new(users::id.eq_any(members))];
            let filter = Filter { include_system: self.include_system, ..Filter::default() };
            Ok((group, people::count(db, &filter, members).await?))
        })
    }
}

/// A group with who is in it: what the audit log shows of a change of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupWithMembers {
    /// The group.
    pub group: Group,
    /// Its members in the order of their identifiers; at most [`MEMBERS_MAX`].
    pub members: Vec<Pk<UserId>>,
}

/// Adds members to a group and takes members away. Who is in it already, or is not, stays so. Who is no member of the
/// organization cannot be added ([`Constraint::GroupMembersUserFk`]), and the group of everyone has no list
/// ([`Error::NotFound`]).
#[derive(Debug)]
pub struct UpdateGroupMembers {
    /// Which group.
    pub id: GroupId,
    /// To be members from now on.
    pub add: Vec<UserId>,
    /// To be members no longer.
    pub remove: Vec<UserId>,
}

impl UpdateGroupMembers {
    async fn add(&self, db: &mut Db<'_>, group: &Group) -> Result<(), Error> {
        let mut ids: Vec<Pk<UserId>> = self.add.iter().copied().map(Pk).collect();
        ids.sort_unstable();
        ids.dedup();
        // Held to the end: nobody leaves the organization meanwhile.
        let able: Vec<Pk<UserId>> = organization_members::table
            .filter(organization_members::organization_id.eq(group.organization_id))
            .filter(organization_members::user_id.eq_any(&ids))
            .order(organization_members::user_id)
            .select(organization_members::user_id)
            .for_key_share()
            .load(db.conn())
            .await?;
        if able.len() != ids.len() {
            return Err(Error::Missing(Constraint::GroupMembersUserFk));
        }
        let rows: Vec<_> = ids
            .into_iter()
            .map(|user| (group_members::group_id.eq(group.id), group_members::user_id.eq(user)))
            .collect();
        diesel::insert_into(group_members::table)
            .values(rows)
            .on_conflict_do_nothing()
            .execute(db.conn())
            .await?;
        Ok(())
    }
}

impl Query for UpdateGroupMembers {
    const NAME: &'static str = "groups.update_group_members";
    type Out = Change<GroupWithMembers>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move {
                Ok(vec![check(Action::Update, super::manage::lock(db, query.id).await?.object())])
            })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let group = lock_listed(db, self.id).await?;
            let old = members(db, self.id).await?;
            let leaving: Vec<Pk<UserId>> = self.remove.iter().copied().map(Pk).collect();
            diesel::delete(group_members::table)
                .filter(group_members::group_id.eq(Pk(self.id)))
                .filter(group_members::user_id.eq_any(leaving))
                .execute(db.conn())
                .await?;
            self.add(db, &group).await?;
            let new = members(db, self.id).await?;
            let old = GroupWithMembers { group: group.clone(), members: old };
            Ok(Change::updated(old, GroupWithMembers { group, members: new }))
        })
    }
}

async fn members(db: &mut Db<'_>, id: GroupId) -> Result<Vec<Pk<UserId>>, Error> {
    Ok(group_members::table
        .filter(group_members::group_id.eq(Pk(id)))
        .order(group_members::user_id)
        .limit(MEMBERS_MAX)
        .select(group_members::user_id)
        .load(db.conn())
        .await?)
}
