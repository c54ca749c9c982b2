//! What agents were told to do, each in a workspace of its own. A task is decided about like its workspace, and before
//! it has one like a workspace of its owner.

use diesel::dsl::not;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object};
use serde_json::Value;
use stdx::ids::{OrganizationId, TaskId, TemplateVersionId, UserId, WorkspaceId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::query::{Access, Change, Check, Db, Fut, Permit, Query, check};
use crate::rows::{AclShape, Terms};
use crate::schema::{tasks, tasks_with_status, template_versions, workspaces};
use crate::users::lower;
use crate::workspaces::{Workspace, hold, resource};
use crate::{Constraint, Error, Pk};

/// Most tasks of a page, and what a limit of 0 stands for.
pub const PAGE_MAX: i64 = 1_000;

/// A row of `tasks`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = tasks, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Task {
    pub id: Pk<TaskId>,
    pub organization_id: Pk<OrganizationId>,
    pub owner_id: Pk<UserId>,
    pub name: String,
    pub display_name: String,
    pub workspace_id: Option<Pk<WorkspaceId>>,
    pub template_version_id: Pk<TemplateVersionId>,
    /// An object.
    pub template_parameters: Value,
    pub prompt: String,
    pub created_at: OffsetDateTime,
    pub deleted_at: Option<OffsetDateTime>,
}

impl Task {
    fn check(&self, workspace: Option<&Workspace>, action: Action) -> Check {
        workspace.map_or_else(
            || check(action, object(self.owner_id.0, self.organization_id.0)),
            |workspace| workspace.check(action),
        )
    }
}

const fn object(owner: UserId, organization: OrganizationId) -> Object<'static> {
    Object::new(resource(false)).owner(owner).in_org(organization)
}

/// A live task, how it goes, and where.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct TaskWithStatus {
    /// What is to be done.
    pub task: Task,
    /// `pending`, `initializing`, `active`, `paused`, `error` or `unknown`.
    pub status: String,
    /// Where.
    pub workspace: Option<Workspace>,
}

/// Live tasks beside their workspaces.
macro_rules! told {
    () => {
        tasks_with_status::table
            .left_join(
                workspaces::table.on(workspaces::id.nullable().eq(tasks_with_status::workspace_id)),
            )
            .select((
                (
                    tasks_with_status::id.assume_not_null(),
                    tasks_with_status::organization_id.assume_not_null(),
                    tasks_with_status::owner_id.assume_not_null(),
                    tasks_with_status::name.assume_not_null(),
                    tasks_with_status::display_name.assume_not_null(),
                    tasks_with_status::workspace_id,
                    tasks_with_status::template_version_id.assume_not_null(),
                    tasks_with_status::template_parameters.assume_not_null(),
                    tasks_with_status::prompt.assume_not_null(),
                    tasks_with_status::created_at.assume_not_null(),
                    tasks_with_status::deleted_at,
                ),
                tasks_with_status::status.assume_not_null(),
                Option::<Workspace>::as_select(),
            ))
    };
}

/// A live task by its identifier.
#[derive(Debug)]
pub struct GetTask {
    /// Which.
    pub id: TaskId,
}

impl Query for GetTask {
    const NAME: &'static str = "tasks.get_task";
    type Out = TaskWithStatus;

    fn access(&self) -> Access<Self> {
        Access::After(|found: &TaskWithStatus| {
            vec![found.task.check(found.workspace.as_ref(), Action::Read)]
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, TaskWithStatus> {
        Box::pin(async move {
            let id = tasks_with_status::id.assume_not_null();
            Ok(told!().filter(id.eq(Pk(self.id))).first(db.conn()).await?)
        })
    }
}

/// A live task by its owner and its name, ignoring case.
#[derive(Debug)]
pub struct GetTaskByOwnerAndName {
    /// Whose.
    pub owner_id: UserId,
    /// Its name.
    pub name: String,
}

impl Query for GetTaskByOwnerAndName {
    const NAME: &'static str = "tasks.get_task_by_owner_and_name";
    type Out = TaskWithStatus;

    fn access(&self) -> Access<Self> {
        Access::After(|found: &TaskWithStatus| {
            vec![found.task.check(found.workspace.as_ref(), Action::Read)]
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, TaskWithStatus> {
        Box::pin(async move {
            let name = lower(tasks_with_status::name.assume_not_null());
            Ok(told!()
                .filter(tasks_with_status::owner_id.assume_not_null().eq(Pk(self.owner_id)))
                .filter(name.eq(self.name.to_lowercase()))
                .first(db.conn())
                .await?)
        })
    }
}

/// Rules go by the task's workspace.
const TERMS: Terms<tasks::table> = Terms {
    id: Some(|ids| Box::new(tasks::workspace_id.assume_not_null().eq_any(ids))),
    org: Some(|orgs| Box::new(tasks::organization_id.eq_any(orgs))),
    owner: Some(|user| Box::new(tasks::owner_id.eq(user))),
    acl: Some(|with| {
        let (users, groups) = (workspaces::user_acl, workspaces::group_acl);
        let shared = workspaces::table
            .filter(with.by(AclShape::Permissions, users, groups, workspaces::organization_id))
            .select(workspaces::id)
            .into_boxed();
        Box::new(tasks::workspace_id.assume_not_null().eq_any(shared))
    }),
    ..Terms::NONE
};

const DORMANT_TERMS: Terms<tasks::table> = Terms { acl: None, ..TERMS };

/// Live tasks of a user that the subject may read, the newest first.
#[derive(Debug)]
pub struct ListTasks {
    /// Whose.
    pub owner_id: UserId,
    /// Those whose workspace is dormant, instead of the others: the two are different things to rules.
    pub dormant: bool,
    /// Rows to skip.
    pub offset: i64,
    /// 0 = [`PAGE_MAX`], which is also the most.
    pub limit: i64,
}

impl Query for ListTasks {
    const NAME: &'static str = "tasks.list_tasks";
    type Out = Vec<TaskWithStatus>;

    fn access(&self) -> Access<Self> {
        Access::Rows(resource(self.dormant), Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let mut page = tasks::table
                .filter(tasks::owner_id.eq(Pk(self.owner_id)))
                .filter(tasks::deleted_at.is_null())
                .order((tasks::created_at.desc(), tasks::id.desc()))
                .offset(self.offset.max(0))
                .limit(if self.limit <= 0 { PAGE_MAX } else { self.limit.min(PAGE_MAX) })
                .select(tasks::id)
                .into_boxed();
            let dormant = workspaces::table
                .filter(workspaces::dormant_at.is_not_null())
                .select(workspaces::id)
                .into_boxed();
            let in_dormant = tasks::workspace_id.assume_not_null().eq_any(dormant);
            page = if self.dormant {
                page.filter(in_dormant)
            } else {
                page.filter(tasks::workspace_id.is_null().or(not(in_dormant)))
            };
            let terms = if self.dormant { &DORMANT_TERMS } else { &TERMS };
            if let Some(readable) = permit.into_rows().condition(terms) {
                page = page.filter(readable);
            }
            let id = tasks_with_status::id.assume_not_null();
            let newest_first = (tasks_with_status::created_at.desc(), tasks_with_status::id.desc());
            Ok(told!().filter(id.eq_any(page)).order(newest_first).load(db.conn()).await?)
        })
    }
}

/// Tells an agent to do something.
#[derive(Clone, Debug)]
pub struct InsertTask {
    /// Identifier.
    pub id: TaskId,
    /// Where.
    pub organization_id: OrganizationId,
    /// Whose.
    pub owner_id: UserId,
    /// Unique among the owner's live tasks, whatever the case.
    pub name: String,
    /// For people; at most 127 characters.
    pub display_name: String,
    /// A live workspace of the same owner in the same organization that is not dormant, or else [`Error::Missing`] with
    /// [`Constraint::TasksWorkspaceFk`].
    pub workspace_id: Option<WorkspaceId>,
    /// Of the same organization, or else [`Error::Missing`] with [`Constraint::TasksTemplateVersionFk`].
    pub template_version_id: TemplateVersionId,
    /// An object.
    pub template_parameters: Value,
    /// What is to be done.
    pub prompt: String,
    /// When.
    pub now: OffsetDateTime,
}

impl InsertTask {
    async fn check_workspace(&self, db: &mut Db<'_>) -> Result<(), Error> {
        let Some(id) = self.workspace_id else { return Ok(()) };
        let fits = |workspace: &Workspace| {
            workspace.owner_id.0 == self.owner_id
                && workspace.organization_id.0 == self.organization_id
                && workspace.dormant_at.is_none()
        };
        let found = hold(db, vec![Pk(id)]).await?;
        found.iter().any(fits).then_some(()).ok_or(Error::Missing(Constraint::TasksWorkspaceFk))
    }

    async fn check_version(&self, db: &mut Db<'_>) -> Result<(), Error> {
        // A version stays in its organization.
        let known: Option<Uuid> = template_versions::table
            .find(Pk(self.template_version_id))
            .filter(template_versions::organization_id.eq(Pk(self.organization_id)))
            .select(template_versions::id)
            .first(db.conn())
            .await
            .optional()?;
        known.map(|_| ()).ok_or(Error::Missing(Constraint::TasksTemplateVersionFk))
    }
}

impl Query for InsertTask {
    const NAME: &'static str = "tasks.insert_task";
    type Out = Change<Task>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        let task = object(self.owner_id, self.organization_id);
        let task = self.workspace_id.map_or(task, |id| task.id(id.uuid()));
        Access::Before(vec![check(Action::Create, task)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Task>> {
        Box::pin(async move {
            self.check_workspace(db).await?;
            self.check_version(db).await?;
            let new = diesel::insert_into(tasks::table)
                .values((
                    tasks::id.eq(Pk(self.id)),
                    tasks::organization_id.eq(Pk(self.organization_id)),
                    tasks::owner_id.eq(Pk(self.owner_id)),
                    tasks::name.eq(&self.name),
                    tasks::display_name.eq(&self.display_name),
                    tasks::workspace_id.eq(self.workspace_id.map(Pk)),
                    tasks::template_version_id.eq(Pk(self.template_version_id)),
                    tasks::template_parameters.eq(&self.template_parameters),
                    tasks::prompt.eq(&self.prompt),
                    tasks::created_at.eq(self.now),
                ))
                .returning(Task::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(new))
        })
    }
}

/// Deletes a live task; its row stays for history under a name that is free again. Its workspace stays as it is.
#[derive(Debug)]
pub struct DeleteTask {
    /// Which.
    pub id: TaskId,
    /// When.
    pub now: OffsetDateTime,
}

/// Reads a live task, and keeps others from changing it.
async fn lock(db: &mut Db<'_>, id: TaskId) -> Result<Task, Error> {
    Ok(tasks::table
        .find(Pk(id))
        .filter(tasks::deleted_at.is_null())
        .select(Task::as_select())
        .for_update()
        .first(db.conn())
        .await?)
}

impl Query for DeleteTask {
    const NAME: &'static str = "tasks.delete_task";
    type Out = Change<Task>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move {
                let task = lock(db, query.id).await?;
                let workspace: Option<Workspace> = match task.workspace_id {
                    // Also one that was deleted: its owner may still remove what was told.
                    Some(id) => Some(
                        workspaces::table
                            .find(id)
                            .select(Workspace::as_select())
                            .for_share()
                            .first(db.conn())
                            .await?,
                    ),
                    None => None,
                };
                Ok(vec![task.check(workspace.as_ref(), Action::Delete)])
            })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Task>> {
        Box::pin(async move {
            let old = lock(db, self.id).await?;
            diesel::update(tasks::table.find(old.id))
                .set(tasks::deleted_at.eq(self.now))
                .execute(db.conn())
                .await?;
            Ok(Change::deleted(old))
        })
    }
}

crate::queries![GetTask, GetTaskByOwnerAndName, ListTasks, InsertTask, DeleteTask];
