//! What follows from the groups that an identity provider tells of a user. Each is one statement for many groups,
//! and none of them touches a group of everyone.

use diesel::prelude::*;
use diesel::sql_types::{Array, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::ids::{GroupId, OrganizationId, UserId};

use super::Group;
use crate::Pk;
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::{group_members, groups};

const fn anywhere_in(organization: OrganizationId) -> Object<'static> {
    Object::new(Resource::Group).in_org(organization)
}

/// Creates those groups that are missing, named by an identity provider.
#[derive(Debug)]
pub struct InsertMissingGroups {
    /// Where.
    pub organization_id: OrganizationId,
    /// An identifier for each group, used if it is missing, and its name. Names of existing groups are told apart
    /// ignoring case.
    pub groups: Vec<(GroupId, String)>,
}

impl Query for InsertMissingGroups {
    const NAME: &'static str = "groups.insert_missing_groups";
    type Out = Vec<Change<Group>>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, anywhere_in(self.organization_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows: Vec<_> = self
                .groups
                .iter()
                .map(|(id, name)| {
                    (
                        groups::id.eq(Pk(*id)),
                        groups::organization_id.eq(Pk(self.organization_id)),
                        groups::name.eq(name),
                        groups::source.eq("oidc"),
                    )
                })
                .collect();
            let inserted: Vec<Group> = diesel::insert_into(groups::table)
                .values(rows)
                .on_conflict_do_nothing()
                .returning(Group::as_returning())
                .get_results(db.conn())
                .await?;
            Ok(inserted.into_iter().map(Change::created).collect())
        })
    }
}

/// Puts a user into groups of one organization, which he must be a member of. Groups that do not exist are passed
/// over. Yields those that the user was not in before.
#[derive(Debug)]
pub struct JoinGroups {
    /// Where.
    pub organization_id: OrganizationId,
    /// Who.
    pub user_id: UserId,
    /// Groups by identifier.
    pub ids: Vec<GroupId>,
    /// Groups by name, ignoring case.
    pub names: Vec<String>,
}

#[derive(QueryableByName)]
struct Joined {
    #[diesel(sql_type = SqlUuid)]
    group_id: Pk<GroupId>,
}

/// The share lock keeps the membership until the end of the transaction.
const JOIN: &str = "
    WITH membership AS (
        SELECT user_id FROM organization_members
         WHERE organization_id = $1 AND user_id = $2 FOR KEY SHARE
    )
    INSERT INTO group_members (group_id, user_id)
    SELECT g.id, m.user_id FROM groups g, membership m
     WHERE g.organization_id = $1 AND g.id <> $1 AND (g.id = ANY ($3) OR lower(g.name) = ANY ($4))
     ORDER BY g.id
    ON CONFLICT DO NOTHING
    RETURNING group_id";

impl Query for JoinGroups {
    const NAME: &'static str = "groups.join_groups";
    type Out = Vec<GroupId>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, anywhere_in(self.organization_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let ids: Vec<Pk<GroupId>> = self.ids.iter().copied().map(Pk).collect();
            let names: Vec<String> = self.names.iter().map(|name| name.to_lowercase()).collect();
            let joined: Vec<Joined> = diesel::sql_query(JOIN)
                .bind::<SqlUuid, _>(Pk(self.organization_id))
                .bind::<SqlUuid, _>(Pk(self.user_id))
                .bind::<Array<SqlUuid>, _>(ids)
                .bind::<Array<Text>, _>(names)
                .get_results(db.conn())
                .await?;
            Ok(joined.into_iter().map(|row| row.group_id.0).collect())
        })
    }
}

/// Takes a user out of groups of one organization. Yields those that the user was in.
#[derive(Debug)]
pub struct LeaveGroups {
    /// Where.
    pub organization_id: OrganizationId,
    /// Who.
    pub user_id: UserId,
    /// Which, or all.
    pub ids: Option<Vec<GroupId>>,
}

impl Query for LeaveGroups {
    const NAME: &'static str = "groups.leave_groups";
    type Out = Vec<GroupId>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, anywhere_in(self.organization_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let mut local = groups::table
                .filter(groups::organization_id.eq(Pk(self.organization_id)))
                .select(groups::id)
                .into_boxed();
            if let Some(ids) = &self.ids {
                let ids: Vec<Pk<GroupId>> = ids.iter().copied().map(Pk).collect();
                local = local.filter(groups::id.eq_any(ids));
            }
            let left: Vec<Pk<GroupId>> = diesel::delete(group_members::table)
                .filter(group_members::user_id.eq(Pk(self.user_id)))
                .filter(group_members::group_id.eq_any(local))
                .returning(group_members::group_id)
                .get_results(db.conn())
                .await?;
            Ok(left.into_iter().map(|id| id.0).collect())
        })
    }
}
