//! Agents that run in workspaces: which one presents a token, and what it says of itself.

mod metadata;

use diesel::dsl::{not, sql};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::Secret;
use stdx::ids::{
    TaskId, TemplateVersionId, UserId, WorkspaceAgentId, WorkspaceBuildId, WorkspaceId,
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::{users, workspace_agents, workspace_builds, workspace_resources, workspaces};
use crate::workspaces::{self as of, Workspace};
use crate::{Error, Pk};

pub use metadata::{
    AgentMetadata, BATCH_MAX, ListMetadata, Metadata, NewMetadata, TEXT_CHARS_MAX, UpdateMetadata,
};

/// Most agents that a list returns.
const LIST_MAX: i64 = 1_000;

/// A row of `workspace_agents`, without the token by which it is known.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = workspace_agents, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct WorkspaceAgent {
    pub id: Pk<WorkspaceAgentId>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub resource_id: Uuid,
    pub name: String,
    pub auth_instance_id: Option<String>,
    /// The agent that it is part of.
    pub parent_id: Option<Pk<WorkspaceAgentId>>,
    pub api_key_scope: String,
    pub deleted: bool,
    pub lifecycle_state: String,
    pub first_connected_at: Option<OffsetDateTime>,
    pub last_connected_at: Option<OffsetDateTime>,
    pub disconnected_at: Option<OffsetDateTime>,
    pub started_at: Option<OffsetDateTime>,
    pub ready_at: Option<OffsetDateTime>,
    pub version: String,
    pub logs_length: i32,
}

/// A row of `workspace_builds`, without the provisioner's state.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = workspace_builds, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct WorkspaceBuild {
    pub id: Pk<WorkspaceBuildId>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub workspace_id: Pk<WorkspaceId>,
    pub template_version_id: Pk<TemplateVersionId>,
    pub build_number: i32,
    pub transition: String,
    pub initiator_id: Pk<UserId>,
    pub job_id: Uuid,
    pub deadline: Option<OffsetDateTime>,
    pub max_deadline: Option<OffsetDateTime>,
    pub reason: String,
    pub has_ai_task: Option<bool>,
    pub has_external_agent: Option<bool>,
}

/// Live agents beside the build that made them and its live workspace. A job is of one build, so an agent is there once
/// at most.
macro_rules! located {
    () => {
        workspace_agents::table
            .inner_join(
                workspace_resources::table
                    .on(workspace_resources::id.eq(workspace_agents::resource_id)),
            )
            .inner_join(
                workspace_builds::table
                    .on(workspace_builds::job_id.eq(workspace_resources::job_id)),
            )
            .inner_join(workspaces::table.on(workspaces::id.eq(workspace_builds::workspace_id)))
            .filter(not(workspace_agents::deleted))
            .filter(not(workspaces::deleted))
    };
}
use located;

/// The build that made an agent is the last one of its workspace. Or it started the workspace, and the one after it, of
/// the same version of the template, is stopping it at this moment: the agent has to say how that goes.
const CURRENT: &str = "(
    NOT EXISTS (
        SELECT 1 FROM workspace_builds later
         WHERE later.workspace_id = workspaces.id AND later.build_number > workspace_builds.build_number)
    OR (workspace_builds.transition = 'start'
        AND EXISTS (
            SELECT 1 FROM provisioner_jobs made
             WHERE made.id = workspace_builds.job_id AND made.job_status = 'succeeded')
        AND EXISTS (
            SELECT 1 FROM workspace_builds stop JOIN provisioner_jobs stopping ON stopping.id = stop.job_id
             WHERE stop.workspace_id = workspaces.id
               AND stop.build_number = workspace_builds.build_number + 1
               AND stop.transition = 'stop'
               AND stop.template_version_id = workspace_builds.template_version_id
               AND stopping.job_status IN ('pending', 'running'))
        AND NOT EXISTS (
            SELECT 1 FROM workspace_builds later
             WHERE later.workspace_id = workspaces.id
               AND later.build_number > workspace_builds.build_number + 1)))";

/// What was last told to be done in the workspace.
const TASK: &str = "(
    SELECT t.id FROM tasks t WHERE t.workspace_id = workspaces.id AND t.deleted_at IS NULL
     ORDER BY t.created_at DESC, t.id DESC LIMIT 1)";

/// Only builds of workspaces make agents.
const BUILT: &str = "EXISTS (
    SELECT 1 FROM provisioner_jobs j WHERE j.id = workspace_builds.job_id AND j.type = 'workspace_build')";

/// An agent that showed who it is, and where it runs.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct AuthenticatedAgent {
    /// Who.
    pub agent: WorkspaceAgent,
    /// Where.
    pub workspace: Workspace,
    /// The build that made it, which need not be the last one.
    pub build: WorkspaceBuild,
    /// What it was told to do.
    pub task_id: Option<Pk<TaskId>>,
}

/// The agent that has this token, if its workspace runs with it or is stopping. For who checks a presented token: it
/// takes the right to read all workspaces, because which one it is of is the question.
///
/// [`Error::Corrupt`] if several agents have the token: then nobody can say who presents it.
#[derive(Debug)]
pub struct FindAuthenticatedAgent {
    /// The bytes of the UUID that was presented.
    pub auth_token: Secret<[u8; 16]>,
}

impl Query for FindAuthenticatedAgent {
    const NAME: &'static str = "workspace_agents.find_authenticated_agent";
    type Out = Option<AuthenticatedAgent>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, Object::new(Resource::Workspace))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let mut found: Vec<AuthenticatedAgent> = located!()
                .filter(
                    workspace_agents::auth_token.eq(Uuid::from_bytes(*self.auth_token.expose())),
                )
                .filter(sql::<Bool>(CURRENT))
                .select((
                    WorkspaceAgent::as_select(),
                    Workspace::as_select(),
                    WorkspaceBuild::as_select(),
                    sql::<Nullable<SqlUuid>>(TASK),
                ))
                .order(workspace_agents::id)
                .limit(2)
                .load(db.conn())
                .await?;
            let one = found.pop();
            match (found.is_empty(), one) {
                (false, Some(other)) => Err(Error::Corrupt {
                    table: "workspace_agents",
                    column: "auth_token",
                    row: other.agent.id.0.to_string(),
                }),
                (_, one) => Ok(one),
            }
        })
    }
}

/// An agent and where it runs.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct AgentWithWorkspace {
    /// Who.
    pub agent: WorkspaceAgent,
    /// Where.
    pub workspace: Workspace,
    /// The name of the workspace's owner.
    pub owner_username: String,
}

/// A live agent by its identifier, with its live workspace and the name of the owner, who is live, too.
#[derive(Debug)]
pub struct GetAgentWithWorkspace {
    /// Which.
    pub id: WorkspaceAgentId,
}

impl Query for GetAgentWithWorkspace {
    const NAME: &'static str = "workspace_agents.get_agent_with_workspace";
    type Out = AgentWithWorkspace;

    fn access(&self) -> Access<Self> {
        Access::After(|found: &AgentWithWorkspace| vec![found.workspace.check(Action::Read)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, AgentWithWorkspace> {
        Box::pin(async move {
            Ok(located!()
                .inner_join(users::table.on(users::id.eq(workspaces::owner_id)))
                .filter(not(users::deleted))
                .filter(workspace_agents::id.eq(Pk(self.id)))
                .filter(sql::<Bool>(BUILT))
                .select((WorkspaceAgent::as_select(), Workspace::as_select(), users::username))
                .first(db.conn())
                .await?)
        })
    }
}

/// Agents and the workspace that they run in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentsOfWorkspace {
    /// Where.
    pub workspace: Workspace,
    /// Live ones, oldest first; at most 1,000.
    pub agents: Vec<WorkspaceAgent>,
}

/// The agents of a live workspace's last build, sub-agents included. Who may read the workspace may know.
#[derive(Debug)]
pub struct ListAgentsOfLatestBuild {
    /// Where.
    pub workspace_id: WorkspaceId,
}

impl Query for ListAgentsOfLatestBuild {
    const NAME: &'static str = "workspace_agents.list_agents_of_latest_build";
    type Out = AgentsOfWorkspace;

    fn access(&self) -> Access<Self> {
        Access::After(|found: &AgentsOfWorkspace| vec![found.workspace.check(Action::Read)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, AgentsOfWorkspace> {
        Box::pin(async move {
            let workspace = workspaces::table
                .find(Pk(self.workspace_id))
                .filter(not(workspaces::deleted))
                .select(Workspace::as_select())
                .first(db.conn())
                .await?;
            let latest = workspace_builds::table
                .filter(workspace_builds::workspace_id.eq(Pk(self.workspace_id)))
                .order(workspace_builds::build_number.desc())
                .limit(1)
                .select(workspace_builds::job_id)
                .into_boxed();
            let resources = workspace_resources::table
                .filter(workspace_resources::job_id.eq_any(latest))
                .select(workspace_resources::id)
                .into_boxed();
            let agents = workspace_agents::table
                .filter(workspace_agents::resource_id.eq_any(resources))
                .filter(not(workspace_agents::deleted))
                .order((workspace_agents::created_at, workspace_agents::id))
                .limit(LIST_MAX)
                .select(WorkspaceAgent::as_select())
                .load(db.conn())
                .await?;
            Ok(AgentsOfWorkspace { workspace, agents })
        })
    }
}

/// The agents that are part of a live agent. Who may read its workspace may know.
#[derive(Debug)]
pub struct ListSubAgents {
    /// Of which agent.
    pub parent_id: WorkspaceAgentId,
}

impl Query for ListSubAgents {
    const NAME: &'static str = "workspace_agents.list_sub_agents";
    type Out = AgentsOfWorkspace;

    fn access(&self) -> Access<Self> {
        Access::After(|found: &AgentsOfWorkspace| vec![found.workspace.check(Action::Read)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, AgentsOfWorkspace> {
        Box::pin(async move {
            let workspace = workspace_of(db, self.parent_id).await?;
            let agents = workspace_agents::table
                .filter(workspace_agents::parent_id.eq(Pk(self.parent_id)))
                .filter(not(workspace_agents::deleted))
                .order((workspace_agents::created_at, workspace_agents::id))
                .limit(LIST_MAX)
                .select(WorkspaceAgent::as_select())
                .load(db.conn())
                .await?;
            Ok(AgentsOfWorkspace { workspace, agents })
        })
    }
}

/// The live workspace that a live agent runs in.
async fn workspace_of(db: &mut Db<'_>, id: WorkspaceAgentId) -> Result<Workspace, Error> {
    Ok(located!()
        .filter(workspace_agents::id.eq(Pk(id)))
        .select(Workspace::as_select())
        .first(db.conn())
        .await?)
}

/// Takes an agent out of the one that it is part of; its row stays for history. An agent that is part of no other is not
/// found.
#[derive(Debug)]
pub struct DeleteSubAgent {
    /// Which.
    pub id: WorkspaceAgentId,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for DeleteSubAgent {
    const NAME: &'static str = "workspace_agents.delete_sub_agent";
    type Out = Change<WorkspaceAgent>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move {
                // An agent stays in its workspace.
                let workspace = workspace_of(db, query.id).await?;
                let held = of::hold(db, vec![workspace.id]).await?;
                lock_sub_agent(db, query.id).await?;
                let [workspace] = held.as_slice() else { return Err(Error::NotFound) };
                Ok(vec![workspace.check(Action::DeleteAgent)])
            })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let old = lock_sub_agent(db, self.id).await?;
            let new = diesel::update(workspace_agents::table.find(old.id))
                .set((
                    workspace_agents::deleted.eq(true),
                    workspace_agents::updated_at.eq(self.now),
                ))
                .returning(WorkspaceAgent::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}

async fn lock_sub_agent(db: &mut Db<'_>, id: WorkspaceAgentId) -> Result<WorkspaceAgent, Error> {
    Ok(workspace_agents::table
        .find(Pk(id))
        .filter(workspace_agents::parent_id.is_not_null())
        .filter(not(workspace_agents::deleted))
        .select(WorkspaceAgent::as_select())
        .for_update()
        .first(db.conn())
        .await?)
}

crate::queries![
    FindAuthenticatedAgent,
    GetAgentWithWorkspace,
    ListAgentsOfLatestBuild,
    ListSubAgents,
    DeleteSubAgent,
    UpdateMetadata,
    ListMetadata,
];
