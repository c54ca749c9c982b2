use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Resource};
use stdx::ids::OrganizationId;

use super::{Member, TERMS, object};
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::rows::Rows;
use crate::schema::{organization_members, users};
use crate::users::{self as people, Filter, User, Window};
use crate::{Error, Pk};

/// The users whose membership in an organization the subject may read.
fn readable(rows: &Rows, organization: OrganizationId) -> people::Condition {
    let mut members = organization_members::table
        .filter(organization_members::organization_id.eq(Pk(organization)))
        .select(organization_members::user_id)
        .into_boxed();
    if let Some(readable) = rows.condition(&TERMS) {
        members = members.filter(readable);
    }
    Box::new(users::id.eq_any(members))
}

/// A page of an organization's members, by username, each with the user.
#[derive(Debug)]
pub struct ListMembers {
    /// Of which organization.
    pub organization_id: OrganizationId,
    /// Which of its members.
    pub filter: Filter,
    /// Which part of the list.
    pub window: Window,
}

impl Query for ListMembers {
    const NAME: &'static str = "members.list_members";
    /// `None`: the user named by the window is no member that the subject may read.
    type Out = Option<Vec<(Member, User)>>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::OrganizationMember, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let access = || vec![readable(&rows, self.organization_id)];
            let page = people::page(db, self.window, &self.filter, access).await?;
            let Some(people) = page else { return Ok(None) };
            let ids: Vec<_> = people.iter().map(|user| user.id).collect();
            let members: Vec<Member> = organization_members::table
                .filter(organization_members::organization_id.eq(Pk(self.organization_id)))
                .filter(organization_members::user_id.eq_any(ids))
                .select(Member::as_select())
                .load(db.conn())
                .await?;
            let with_member = |user: User| {
                let member = members.iter().find(|member| member.user_id == user.id)?.clone();
                Some((member, user))
            };
            Ok(Some(people.into_iter().filter_map(with_member).collect()))
        })
    }
}

/// How many members of an organization the subject may read.
#[derive(Debug)]
pub struct CountMembers {
    /// Of which organization.
    pub organization_id: OrganizationId,
    /// Which of its members.
    pub filter: Filter,
}

impl Query for CountMembers {
    const NAME: &'static str = "members.count_members";
    type Out = i64;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::OrganizationMember, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, i64> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let access = vec![readable(&rows, self.organization_id)];
            people::count(db, &self.filter, access).await
        })
    }
}

/// Ends a membership. The member leaves the groups of the organization, and budgets that came with it end.
#[derive(Debug)]
pub struct DeleteMember {
    /// Where.
    pub organization_id: OrganizationId,
    /// Whose.
    pub user_id: stdx::ids::UserId,
}

impl Query for DeleteMember {
    const NAME: &'static str = "members.delete_member";
    type Out = Change<Member>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, object(self.organization_id, self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Member>> {
        Box::pin(async move {
            let key = (Pk(self.organization_id), Pk(self.user_id));
            let old = diesel::delete(organization_members::table.find(key))
                .returning(Member::as_returning())
                .get_result(db.conn())
                .await?;
            Ok::<_, Error>(Change::deleted(old))
        })
    }
}
