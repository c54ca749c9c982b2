//! Groups of an organization's members.

mod manage;
mod membership;
mod sync;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Acl, Action, Object, Resource};
use stdx::ids::{GroupId, OrganizationId};

use crate::Pk;
use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::rows::Terms;
use crate::schema::groups;

pub use manage::{
    DeleteGroup, GetGroupByName, InsertGroup, ListGroups, ListedGroup, UpdateGroup,
    ValidateGroupIds,
};
pub use membership::{
    CountGroupMembers, GroupWithMembers, ListGroupMembers, MEMBERS_MAX, UpdateGroupMembers,
};
pub use sync::{InsertMissingGroups, JoinGroups, LeaveGroups};

/// A row of `groups`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = groups, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Group {
    pub id: Pk<GroupId>,
    pub organization_id: Pk<OrganizationId>,
    pub name: String,
    pub display_name: String,
    pub avatar_url: String,
    pub quota_allowance: i32,
    pub source: String,
    pub chat_spend_limit_micros: Option<i64>,
}

/// Members may read their group, without a list that says so.
const TERMS: Terms<groups::table> = Terms {
    id: Some(|ids| Box::new(groups::id.eq_any(ids))),
    org: Some(|orgs| Box::new(groups::organization_id.eq_any(orgs))),
    acl: Some(|sharing| Box::new(groups::id.eq_any(sharing.groups()))),
    ..Terms::NONE
};

impl Group {
    /// The object that rules speak of, without its access control list.
    #[must_use]
    pub const fn object(&self) -> Object<'static> {
        Object::new(Resource::Group).id(self.id.0.uuid()).in_org(self.organization_id.0)
    }

    /// Whether this is the group of everyone, which has the identifier of its organization.
    #[must_use]
    pub fn is_everyone(&self) -> bool {
        self.id.0.uuid() == self.organization_id.0.uuid()
    }

    /// Members may read their group.
    #[must_use]
    pub fn acl(&self) -> Acl {
        Acl::new([], [(self.id.0, Action::Read.into())])
    }
}

/// A group by its identifier.
#[derive(Debug)]
pub struct GetGroup {
    /// Which.
    pub id: GroupId,
}

impl Query for GetGroup {
    const NAME: &'static str = "groups.get_group";
    type Out = Group;

    fn access(&self) -> Access<Self> {
        Access::After(|group: &Group| vec![check(Action::Read, group.object()).shared(group.acl())])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Group> {
        Box::pin(async move {
            Ok(groups::table
                .find(self.id.uuid())
                .select(Group::as_select())
                .first(db.conn())
                .await?)
        })
    }
}

crate::queries![
    GetGroup,
    GetGroupByName,
    ListGroups,
    InsertGroup,
    UpdateGroup,
    DeleteGroup,
    ValidateGroupIds,
    ListGroupMembers,
    CountGroupMembers,
    UpdateGroupMembers,
    InsertMissingGroups,
    JoinGroups,
    LeaveGroups,
];
