use std::collections::BTreeMap;

use diesel::dsl::not;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, ActionSet, Resource, Sharing};
use serde_json::Value;
use stdx::ids::{GroupId, Id, UserId, WorkspaceId};

use super::Workspace;
use crate::error::Denial;
use crate::query::{Access, Change, Db, Fut, Permit, Query};
use crate::rows::{AclShape, nobody};
use crate::schema::{organizations, users, workspaces, workspaces_expanded};
use crate::{Error, Pk};

/// Somebody with whom something is shared, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharer<K> {
    /// Who.
    pub id: K,
    /// For what; never nothing.
    pub actions: ActionSet,
    /// A user's name, or how a group is called; empty for who is gone.
    pub name: String,
    /// Picture; empty for none.
    pub avatar_url: String,
}

/// A workspace and with whom it is shared, by identifier. While it is dormant none of it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "one per kind")]
pub struct SharedWith {
    pub workspace: Workspace,
    pub users: Vec<Sharer<UserId>>,
    pub groups: Vec<Sharer<GroupId>>,
}

fn named<K: Id>(entries: &[(K, ActionSet)], names: &Value) -> Vec<Sharer<K>> {
    let sharer = |(id, actions): &(K, ActionSet)| {
        let shown = |what: &str| {
            let known = names.get(id.to_uuid().to_string()).and_then(|entry| entry.get(what));
            known.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Sharer { id: *id, actions: *actions, name: shown("name"), avatar_url: shown("avatar_url") }
    };
    entries.iter().map(sharer).collect()
}

/// With whom a live workspace is shared. Who may read it may know.
#[derive(Debug)]
pub struct GetWorkspaceAcl {
    /// Which.
    pub id: WorkspaceId,
}

impl Query for GetWorkspaceAcl {
    const NAME: &'static str = "workspaces.get_workspace_acl";
    type Out = SharedWith;

    fn access(&self) -> Access<Self> {
        Access::After(|shared: &SharedWith| vec![shared.workspace.check(Action::Read)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, SharedWith> {
        Box::pin(async move {
            let (workspace, (users, groups)): (Workspace, (Value, Value)) = workspaces::table
                .inner_join(
                    workspaces_expanded::table
                        .on(workspaces_expanded::id.assume_not_null().eq(workspaces::id)),
                )
                .filter(workspaces::id.eq(Pk(self.id)))
                .filter(not(workspaces::deleted))
                .select((
                    Workspace::as_select(),
                    (
                        workspaces_expanded::user_acl_display_info.assume_not_null(),
                        workspaces_expanded::group_acl_display_info.assume_not_null(),
                    ),
                ))
                .first(db.conn())
                .await?;
            let acl = workspace.stored_acl();
            Ok(SharedWith {
                users: named(acl.users(), &users),
                groups: named(acl.groups(), &groups),
                workspace,
            })
        })
    }
}

/// Whose workspaces may be shared where this one is. It stays so until the transaction ends: whoever decides otherwise
/// locks the organization first and empties the lists then, so the organization comes first here, too.
async fn hold_sharing(db: &mut Db<'_>, id: WorkspaceId) -> Result<Sharing, Error> {
    // A workspace stays in its organization.
    let place = workspaces::table
        .find(Pk(id))
        .filter(not(workspaces::deleted))
        .select(workspaces::organization_id)
        .into_boxed();
    let mode: String = organizations::table
        .filter(organizations::id.eq_any(place))
        .select(organizations::shareable_workspace_owners)
        .for_share()
        .first(db.conn())
        .await?;
    mode.parse().map_err(|_| Error::Corrupt {
        table: "organizations",
        column: "shareable_workspace_owners",
        row: format!("of workspace {id}"),
    })
}

/// Reads a live workspace, and keeps others from changing it.
async fn lock(db: &mut Db<'_>, id: WorkspaceId) -> Result<Workspace, Error> {
    Ok(workspaces::table
        .find(Pk(id))
        .filter(not(workspaces::deleted))
        .select(Workspace::as_select())
        .for_update()
        .first(db.conn())
        .await?)
}

async fn may_be_shared(db: &mut Db<'_>, of: &Workspace, sharing: Sharing) -> Result<bool, Error> {
    Ok(match sharing {
        Sharing::Everyone => true,
        Sharing::None => false,
        Sharing::ServiceAccounts => {
            let owner = users::table.find(of.owner_id).select(users::is_service_account);
            owner.first(db.conn()).await?
        }
    })
}

async fn write(
    db: &mut Db<'_>,
    old: Workspace,
    users: Value,
    groups: Value,
) -> Result<Change<Workspace>, Error> {
    let new = diesel::update(workspaces::table.find(old.id))
        .set((workspaces::user_acl.eq(users), workspaces::group_acl.eq(groups)))
        .returning(Workspace::as_returning())
        .get_result(db.conn())
        .await?;
    Ok(Change::updated(old, new))
}

/// Changes with whom a live workspace is shared. Users and groups that are not named here stay as they are, so that two
/// who share at once do not undo each other's work.
///
/// Where the organization does not let the workspace be shared, everybody is refused: [`Error::Denied`] for `share`. In a
/// transaction of several queries this one belongs before those that lock workspaces.
#[derive(Clone, Debug)]
pub struct UpdateWorkspaceAcl {
    /// Which.
    pub id: WorkspaceId,
    /// What users may do from now on; nothing takes a user off the list. At most [`ENTRIES_MAX`](super::ENTRIES_MAX)
    /// are on it then, and only with actions of workspaces, or else [`Error::Unfit`].
    pub users: BTreeMap<UserId, ActionSet>,
    /// The same of groups; that of everyone has the organization's identifier.
    pub groups: BTreeMap<GroupId, ActionSet>,
}

impl Query for UpdateWorkspaceAcl {
    const NAME: &'static str = "workspaces.update_workspace_acl";
    type Out = Change<Workspace>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move {
                hold_sharing(db, query.id).await?;
                Ok(vec![lock(db, query.id).await?.check(Action::Share)])
            })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Workspace>> {
        Box::pin(async move {
            let sharing = hold_sharing(db, self.id).await?;
            let old = lock(db, self.id).await?;
            if !may_be_shared(db, &old, sharing).await? {
                let (action, resource) = (Action::Share, Resource::Workspace);
                return Err(Error::Denied(Denial { action, resource, readable: true }));
            }
            let merge = AclShape::Permissions;
            let users = merge.merge(Resource::Workspace, &old.user_acl, &self.users)?;
            let groups = merge.merge(Resource::Workspace, &old.group_acl, &self.groups)?;
            write(db, old, users, groups).await
        })
    }
}

/// Ends the sharing of a live workspace.
#[derive(Debug)]
pub struct DeleteWorkspaceAcl {
    /// Which.
    pub id: WorkspaceId,
}

impl Query for DeleteWorkspaceAcl {
    const NAME: &'static str = "workspaces.delete_workspace_acl";
    type Out = Change<Workspace>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move { Ok(vec![lock(db, query.id).await?.check(Action::Share)]) })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Workspace>> {
        Box::pin(async move {
            let old = lock(db, self.id).await?;
            write(db, old, nobody(), nobody()).await
        })
    }
}
