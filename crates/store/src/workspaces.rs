//! Workspaces: whose they are, what they are called, and with whom they are shared.

mod sharing;

use diesel::dsl::not;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use rbac::{Acl, Action, Object, Resource};
use serde_json::Value;
use stdx::ids::{OrganizationId, TaskId, TemplateId, UserId, WorkspaceId};
use time::OffsetDateTime;

use crate::query::{Access, Check, Db, Fut, Permit, Query, check};
use crate::rows::{AclShape, Condition, Terms};
use crate::schema::{workspaces, workspaces_expanded};
use crate::users::{containing, lower};
use crate::{Error, Pk};

pub use crate::rows::ENTRIES_MAX;
pub use sharing::{DeleteWorkspaceAcl, GetWorkspaceAcl, SharedWith, Sharer, UpdateWorkspaceAcl};

/// Most workspaces of a page, and what a limit of 0 stands for.
pub const PAGE_MAX: i64 = 1_000;

/// A row of `workspaces`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = workspaces, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Workspace {
    pub id: Pk<WorkspaceId>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub owner_id: Pk<UserId>,
    pub organization_id: Pk<OrganizationId>,
    pub template_id: Pk<TemplateId>,
    pub deleted: bool,
    pub name: String,
    pub autostart_schedule: Option<String>,
    /// Nanoseconds.
    pub ttl: Option<i64>,
    pub last_used_at: OffsetDateTime,
    pub dormant_at: Option<OffsetDateTime>,
    pub deleting_at: Option<OffsetDateTime>,
    pub automatic_updates: String,
    pub favorite: bool,
    pub next_start_at: Option<OffsetDateTime>,
    /// As it is stored; see [`Self::acl`].
    pub user_acl: Value,
    /// As it is stored; see [`Self::acl`].
    pub group_acl: Value,
}

/// What rules call a workspace: of one that is dormant they allow less.
pub(crate) const fn resource(dormant: bool) -> Resource {
    if dormant { Resource::WorkspaceDormant } else { Resource::Workspace }
}

impl Workspace {
    /// The object that rules speak of, without [`Self::acl`].
    #[must_use]
    pub const fn object(&self) -> Object<'static> {
        Object::new(resource(self.dormant_at.is_some()))
            .id(self.id.0.uuid())
            .owner(self.owner_id.0)
            .in_org(self.organization_id.0)
    }

    /// With whom it is shared. Dormancy suspends sharing.
    #[must_use]
    pub fn acl(&self) -> Acl {
        if self.dormant_at.is_some() { Acl::default() } else { self.stored_acl() }
    }

    fn stored_acl(&self) -> Acl {
        AclShape::Permissions.read(&self.user_acl, &self.group_acl)
    }

    /// Asks whether the subject may do `action` to it, or to what is decided about like it.
    pub(crate) fn check(&self, action: Action) -> Check {
        check(action, self.object()).shared(self.acl())
    }
}

/// What a workspace's row refers to is called.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct WorkspaceNames {
    pub owner_username: String,
    pub owner_name: String,
    pub owner_avatar_url: String,
    pub organization_name: String,
    pub organization_display_name: String,
    pub organization_icon: String,
    pub template_name: String,
    pub template_display_name: String,
    pub template_icon: String,
    /// What was last told to be done in it, if that was not deleted.
    pub task_id: Option<Pk<TaskId>>,
}

/// Workspaces beside the view that names what they refer to.
macro_rules! named {
    () => {
        workspaces::table
            .inner_join(
                workspaces_expanded::table
                    .on(workspaces_expanded::id.assume_not_null().eq(workspaces::id)),
            )
            .select((
                Workspace::as_select(),
                (
                    workspaces_expanded::owner_username.assume_not_null(),
                    workspaces_expanded::owner_name.assume_not_null(),
                    workspaces_expanded::owner_avatar_url.assume_not_null(),
                    workspaces_expanded::organization_name.assume_not_null(),
                    workspaces_expanded::organization_display_name.assume_not_null(),
                    workspaces_expanded::organization_icon.assume_not_null(),
                    workspaces_expanded::template_name.assume_not_null(),
                    workspaces_expanded::template_display_name.assume_not_null(),
                    workspaces_expanded::template_icon.assume_not_null(),
                    workspaces_expanded::task_id,
                ),
            ))
    };
}

/// Which workspaces. Absent fields do not narrow. Deleted ones are never listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "one per column")]
pub struct Filter {
    /// Those that are dormant, instead of those that are not: the two are different things to rules.
    pub dormant: bool,
    pub owner_id: Option<UserId>,
    pub organization_id: Option<OrganizationId>,
    pub template_id: Option<TemplateId>,
    /// A part of the name, ignoring case.
    pub name: Option<String>,
}

const TERMS: Terms<workspaces::table> = Terms {
    id: Some(|ids| Box::new(workspaces::id.eq_any(ids))),
    org: Some(|orgs| Box::new(workspaces::organization_id.eq_any(orgs))),
    owner: Some(|user| Box::new(workspaces::owner_id.eq(user))),
    acl: Some(|with| {
        let (users, groups) = (workspaces::user_acl, workspaces::group_acl);
        with.by(AclShape::Permissions, users, groups, workspaces::organization_id)
    }),
    ..Terms::NONE
};

const DORMANT_TERMS: Terms<workspaces::table> = Terms { acl: None, ..TERMS };

impl Filter {
    fn access<Q: Query>(&self) -> Access<Q> {
        Access::Rows(resource(self.dormant), Action::Read)
    }

    /// What rows must satisfy, the subject's rights included.
    fn conditions<Q>(&self, permit: Permit<Q>) -> Vec<Condition<workspaces::table>> {
        let terms = if self.dormant { &DORMANT_TERMS } else { &TERMS };
        let mut all: Vec<_> = permit.into_rows().condition(terms).into_iter().collect();
        all.push(Box::new(not(workspaces::deleted)));
        if self.dormant {
            all.push(Box::new(workspaces::dormant_at.is_not_null()));
        } else {
            all.push(Box::new(workspaces::dormant_at.is_null()));
        }
        if let Some(owner) = self.owner_id {
            all.push(Box::new(workspaces::owner_id.eq(Pk(owner))));
        }
        if let Some(organization) = self.organization_id {
            all.push(Box::new(workspaces::organization_id.eq(Pk(organization))));
        }
        if let Some(template) = self.template_id {
            all.push(Box::new(workspaces::template_id.eq(Pk(template))));
        }
        if let Some(name) = &self.name {
            all.push(Box::new(workspaces::name.ilike(containing(name))));
        }
        all
    }
}

/// A page of the workspaces that the subject may read, by name.
#[derive(Debug)]
pub struct ListWorkspaces {
    /// Which.
    pub filter: Filter,
    /// Rows to skip.
    pub offset: i64,
    /// 0 = [`PAGE_MAX`], which is also the most.
    pub limit: i64,
}

impl Query for ListWorkspaces {
    const NAME: &'static str = "workspaces.list_workspaces";
    type Out = Vec<(Workspace, WorkspaceNames)>;

    fn access(&self) -> Access<Self> {
        self.filter.access()
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let by_name = || (lower(workspaces::name), workspaces::id);
            let mut page = workspaces::table
                .order(by_name())
                .offset(self.offset.max(0))
                .limit(if self.limit <= 0 { PAGE_MAX } else { self.limit.min(PAGE_MAX) })
                .select(workspaces::id)
                .into_boxed();
            for condition in self.filter.conditions(permit) {
                page = page.filter(condition);
            }
            // Names are looked up for the page only.
            Ok(named!()
                .filter(workspaces::id.eq_any(page))
                .order(by_name())
                .load(db.conn())
                .await?)
        })
    }
}

/// How many workspaces match and may be read by the subject, counted no further than `cap + 1`.
#[derive(Debug)]
pub struct CountWorkspaces {
    /// Which.
    pub filter: Filter,
    /// Where counting stops.
    pub cap: i64,
}

impl Query for CountWorkspaces {
    const NAME: &'static str = "workspaces.count_workspaces";
    type Out = i64;

    fn access(&self) -> Access<Self> {
        self.filter.access()
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, i64> {
        Box::pin(async move {
            let mut query = workspaces::table
                .limit(self.cap.max(0).saturating_add(1))
                .select(1.into_sql::<BigInt>())
                .into_boxed();
            for condition in self.filter.conditions(permit) {
                query = query.filter(condition);
            }
            let seen: Vec<i64> = query.load(db.conn()).await?;
            Ok(i64::try_from(seen.len()).unwrap_or(i64::MAX))
        })
    }
}

/// A workspace by its identifier, deleted ones included, and what its row refers to is called.
#[derive(Debug)]
pub struct GetWorkspace {
    /// Which.
    pub id: WorkspaceId,
}

impl Query for GetWorkspace {
    const NAME: &'static str = "workspaces.get_workspace";
    type Out = (Workspace, WorkspaceNames);

    fn access(&self) -> Access<Self> {
        Access::After(|(workspace, _): &Self::Out| vec![workspace.check(Action::Read)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            Ok(named!().filter(workspaces::id.eq(Pk(self.id))).first(db.conn()).await?)
        })
    }
}

/// Live workspaces in the order of their identifiers. Until the transaction ends nobody changes what rules go by.
pub(crate) async fn hold(
    db: &mut Db<'_>,
    ids: Vec<Pk<WorkspaceId>>,
) -> Result<Vec<Workspace>, Error> {
    Ok(workspaces::table
        .filter(workspaces::id.eq_any(ids))
        .filter(not(workspaces::deleted))
        .order(workspaces::id)
        .select(Workspace::as_select())
        .for_share()
        .load(db.conn())
        .await?)
}

crate::queries![
    ListWorkspaces,
    CountWorkspaces,
    GetWorkspace,
    GetWorkspaceAcl,
    UpdateWorkspaceAcl,
    DeleteWorkspaceAcl,
];
