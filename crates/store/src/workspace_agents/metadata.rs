use std::collections::BTreeMap;

use diesel::dsl::not;
use diesel::prelude::*;
use diesel::sql_types::{Array, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rbac::Action;
use stdx::ids::{WorkspaceAgentId, WorkspaceId};
use time::OffsetDateTime;

use super::{located, workspace_of};
use crate::query::{Access, Db, Fut, Permit, Query};
use crate::schema::{
    workspace_agent_metadata, workspace_agents, workspace_builds, workspace_resources, workspaces,
};
use crate::workspaces::{Workspace, hold};
use crate::{Error, Pk};

/// Most values of one batch.
pub const BATCH_MAX: usize = 1_000;

/// Longest value, and longest error, in characters.
pub const TEXT_CHARS_MAX: usize = 65_535;

/// Most keys of an agent that a list returns.
const LIST_MAX: i64 = 1_000;

/// A row of `workspace_agent_metadata`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = workspace_agent_metadata, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Metadata {
    pub workspace_agent_id: Pk<WorkspaceAgentId>,
    pub key: String,
    pub display_name: String,
    pub script: String,
    pub value: String,
    pub error: String,
    /// Nanoseconds.
    pub timeout: i64,
    /// Nanoseconds.
    pub interval: i64,
    pub collected_at: Option<OffsetDateTime>,
    pub display_order: i32,
}

/// What an agent says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMetadata {
    /// Who.
    pub agent_id: WorkspaceAgentId,
    /// About what.
    pub key: String,
    /// What; at most [`TEXT_CHARS_MAX`].
    pub value: String,
    /// Why there is no value, or empty; at most [`TEXT_CHARS_MAX`].
    pub error: String,
    /// When.
    pub collected_at: OffsetDateTime,
}

/// Writes down what live agents said, by one statement. What was collected earlier than what is there already is left
/// out, and so are keys that an agent does not have, and agents that are gone. Of one agent and key the last one of the
/// batch counts. It takes the right to update each workspace that one of the agents runs in.
///
/// [`Error::Unfit`] for more than [`BATCH_MAX`] values, and for one that is too long.
#[derive(Clone, Debug)]
pub struct UpdateMetadata(pub Vec<NewMetadata>);

/// In the order of their keys: who writes the same rows at the same time waits, and is not waited for.
const WRITE: &str = "
    WITH fresh AS (
        SELECT * FROM unnest($1, $2, $3, $4, $5) AS f (agent, key, value, error, collected_at)
    ), mine AS (
        SELECT m.workspace_agent_id AS agent, m.key FROM workspace_agent_metadata m
          JOIN fresh f ON m.workspace_agent_id = f.agent AND m.key = f.key
         ORDER BY 1, 2 FOR UPDATE OF m
    )
    UPDATE workspace_agent_metadata m
       SET value = f.value, error = f.error, collected_at = f.collected_at
      FROM fresh f JOIN mine USING (agent, key)
     WHERE m.workspace_agent_id = f.agent AND m.key = f.key
       AND (m.collected_at IS NULL OR m.collected_at <= f.collected_at)";

impl UpdateMetadata {
    fn fits(&self) -> Result<(), Error> {
        if self.0.len() > BATCH_MAX {
            return Err(Error::Unfit("more values than a batch may have".into()));
        }
        // Characters are no more than bytes, which are known at once.
        let long =
            |text: &str| text.len() > TEXT_CHARS_MAX && text.chars().count() > TEXT_CHARS_MAX;
        if self.0.iter().any(|new| long(&new.value) || long(&new.error)) {
            return Err(Error::Unfit("a value or an error is too long".into()));
        }
        Ok(())
    }

    /// The live ones of these agents, and where they run.
    async fn agents(
        &self,
        db: &mut Db<'_>,
    ) -> Result<BTreeMap<WorkspaceAgentId, Pk<WorkspaceId>>, Error> {
        let mut ids: Vec<Pk<WorkspaceAgentId>> = self.0.iter().map(|m| Pk(m.agent_id)).collect();
        ids.sort_unstable();
        ids.dedup();
        let found: Vec<(Pk<WorkspaceAgentId>, Pk<WorkspaceId>)> = located!()
            .filter(workspace_agents::id.eq_any(ids))
            .select((workspace_agents::id, workspaces::id))
            .load(db.conn())
            .await?;
        Ok(found.into_iter().map(|(agent, workspace)| (agent.0, workspace)).collect())
    }
}

impl Query for UpdateMetadata {
    const NAME: &'static str = "workspace_agents.update_metadata";
    /// How many values were written down.
    type Out = usize;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move {
                query.fits()?;
                let agents = query.agents(db).await?;
                let workspaces = hold(db, agents.into_values().collect()).await?;
                Ok(workspaces.iter().map(|workspace| workspace.check(Action::Update)).collect())
            })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, usize> {
        Box::pin(async move {
            let live = self.agents(db).await?;
            let last: BTreeMap<_, _> = self
                .0
                .iter()
                .filter(|new| live.contains_key(&new.agent_id))
                .map(|new| ((new.agent_id, &*new.key), new))
                .collect();
            if last.is_empty() {
                return Ok(0);
            }
            let of = |text: fn(&NewMetadata) -> &str| -> Vec<&str> {
                last.values().map(|new| text(new)).collect()
            };
            let agents: Vec<Pk<WorkspaceAgentId>> =
                last.values().map(|new| Pk(new.agent_id)).collect();
            let times: Vec<OffsetDateTime> = last.values().map(|new| new.collected_at).collect();
            Ok(diesel::sql_query(WRITE)
                .bind::<Array<SqlUuid>, _>(agents)
                .bind::<Array<Text>, _>(of(|new| &new.key))
                .bind::<Array<Text>, _>(of(|new| &new.value))
                .bind::<Array<Text>, _>(of(|new| &new.error))
                .bind::<Array<Timestamptz>, _>(times)
                .execute(db.conn())
                .await?)
        })
    }
}

/// What an agent last said of itself, and where it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentMetadata {
    /// Where.
    pub workspace: Workspace,
    /// By the order in which they are shown; at most 1,000.
    pub metadata: Vec<Metadata>,
}

/// What a live agent last said of itself. Who may read its workspace may know.
#[derive(Debug)]
pub struct ListMetadata {
    /// Who.
    pub agent_id: WorkspaceAgentId,
}

impl Query for ListMetadata {
    const NAME: &'static str = "workspace_agents.list_metadata";
    type Out = AgentMetadata;

    fn access(&self) -> Access<Self> {
        Access::After(|found: &AgentMetadata| vec![found.workspace.check(Action::Read)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, AgentMetadata> {
        Box::pin(async move {
            let workspace = workspace_of(db, self.agent_id).await?;
            let metadata = workspace_agent_metadata::table
                .filter(workspace_agent_metadata::workspace_agent_id.eq(Pk(self.agent_id)))
                .order((workspace_agent_metadata::display_order, workspace_agent_metadata::key))
                .limit(LIST_MAX)
                .select(Metadata::as_select())
                .load(db.conn())
                .await?;
            Ok(AgentMetadata { workspace, metadata })
        })
    }
}
