//! Memberships and the roles that come with them.

mod list;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource, RoleName};
use stdx::ids::{OrganizationId, UserId};
use time::OffsetDateTime;

use crate::query::{Access, Change, Check, Db, Fut, Permit, Query, check, check_role};
use crate::rows::Terms;
use crate::schema::organization_members;
use crate::{Error, Pk};

pub use list::{CountMembers, DeleteMember, ListMembers};

/// A row of `organization_members`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = organization_members, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Member {
    pub organization_id: Pk<OrganizationId>,
    pub user_id: Pk<UserId>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub roles: Vec<String>,
}

/// A membership has the identifier of its member and belongs to him.
pub(crate) const TERMS: Terms<organization_members::table> = Terms {
    id: Some(|ids| Box::new(organization_members::user_id.eq_any(ids))),
    org: Some(|orgs| Box::new(organization_members::organization_id.eq_any(orgs))),
    owner: Some(|user| Box::new(organization_members::user_id.eq(user))),
    ..Terms::NONE
};

pub(crate) fn object(organization: OrganizationId, user: UserId) -> Object<'static> {
    Object::new(Resource::OrganizationMember).id(user.uuid()).owner(user).in_org(organization)
}

/// What a change from one list of roles to another has to be allowed: to give each that is new and to take each
/// that goes. A retired one may go without being in anybody's table.
pub(crate) fn changes(
    old: &[String],
    new: &[String],
    organization: Option<OrganizationId>,
) -> Vec<Check> {
    let name = |role: &String| match organization {
        None => RoleName::site(role.clone()),
        Some(organization) => RoleName::in_org(role.clone(), organization),
    };
    let added = new.iter().filter(|role| !old.contains(role));
    let removed = old.iter().filter(|role| !new.contains(role));
    let taken = removed.map(|role| {
        let rule = check_role(Action::Unassign, name(role));
        if rbac::RETIRED_ROLES.contains(&role.as_str()) {
            check(rule.action, rule.object)
        } else {
            rule
        }
    });
    added.map(|role| check_role(Action::Assign, name(role))).chain(taken).collect()
}

/// A membership.
#[derive(Debug)]
pub struct GetMember {
    /// Where.
    pub organization_id: OrganizationId,
    /// Whose.
    pub user_id: UserId,
}

impl Query for GetMember {
    const NAME: &'static str = "members.get_member";
    type Out = Member;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, object(self.organization_id, self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Member> {
        Box::pin(async move {
            Ok(organization_members::table
                .find((Pk(self.organization_id), Pk(self.user_id)))
                .select(Member::as_select())
                .first(db.conn())
                .await?)
        })
    }
}

/// The memberships of a user in organizations that are not deleted, in the order of their identifiers. Whoever may
/// read what is personal to the user reads all of them.
#[derive(Debug)]
pub struct ListMemberships {
    /// Whose.
    pub user_id: UserId,
}

impl Query for ListMemberships {
    const NAME: &'static str = "members.list_memberships";
    type Out = Vec<Member>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::ReadPersonal, crate::users::object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<Member>> {
        Box::pin(async move {
            use crate::schema::organizations;
            Ok(organization_members::table
                .inner_join(
                    organizations::table
                        .on(organizations::id.eq(organization_members::organization_id)),
                )
                .filter(organization_members::user_id.eq(Pk(self.user_id)))
                .filter(organizations::deleted.eq(false))
                .order(organization_members::organization_id)
                .select(Member::as_select())
                .load(db.conn())
                .await?)
        })
    }
}

/// Replaces the roles of a membership. Whether custom ones exist is the caller's question; one that does not grants
/// nothing.
#[derive(Debug)]
pub struct UpdateMemberRoles {
    /// Where.
    pub organization_id: OrganizationId,
    /// Whose.
    pub user_id: UserId,
    /// All that the member holds from now on, without the organization's suffix.
    pub roles: Vec<String>,
    /// When.
    pub now: OffsetDateTime,
}

impl UpdateMemberRoles {
    async fn lock(&self, db: &mut Db<'_>) -> Result<Member, Error> {
        Ok(organization_members::table
            .find((Pk(self.organization_id), Pk(self.user_id)))
            .select(Member::as_select())
            .for_update()
            .first(db.conn())
            .await?)
    }
}

impl Query for UpdateMemberRoles {
    const NAME: &'static str = "members.update_member_roles";
    type Out = Change<Member>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move {
                let organization = query.organization_id;
                let member = query.lock(db).await?;
                let mut checks = changes(&member.roles, &query.roles, Some(organization));
                // Who changes nothing must still be one who might.
                if checks.is_empty() {
                    let roles = Object::new(Resource::AssignOrgRole).in_org(organization);
                    checks.push(check(Action::Assign, roles));
                }
                Ok(checks)
            })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Member>> {
        Box::pin(async move {
            let old = self.lock(db).await?;
            let new = diesel::update(
                organization_members::table.find((Pk(self.organization_id), Pk(self.user_id))),
            )
            .set((
                organization_members::roles.eq(&self.roles),
                organization_members::updated_at.eq(self.now),
            ))
            .returning(Member::as_returning())
            .get_result(db.conn())
            .await?;
            Ok(Change::updated(old, new))
        })
    }
}

crate::queries![
    GetMember,
    ListMemberships,
    UpdateMemberRoles,
    ListMembers,
    CountMembers,
    DeleteMember,
];
