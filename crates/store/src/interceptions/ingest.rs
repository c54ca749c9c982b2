use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{Array, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rbac::Action;
use stdx::ids::InterceptionId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::ANY;
use super::rows::{End, Facts, Start};
use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::schema::{
    aibridge_interceptions, aibridge_model_thoughts, aibridge_token_usages, aibridge_tool_usages,
    aibridge_user_prompts,
};
use crate::{Error, Pk};

/// Rows of one statement: PostgreSQL takes 65,535 parameters, an interception has seventeen.
const ROWS_PER_STATEMENT: usize = 1_000;

/// Stores a batch of facts. Storing the same facts again changes nothing.
///
/// Runs in one transaction: the caller wraps it in [`Authz::tx`](crate::Authz::tx) together with whatever must
/// happen with it.
#[derive(Debug)]
pub struct IngestFacts(pub Facts);

impl Query for IngestFacts {
    const NAME: &'static str = "interceptions.ingest_facts";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, ANY), check(Action::Update, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            let facts = &self.0;
            // Children first: the link of a start may lead to a tool call of the same batch.
            for rows in facts.tools.chunks(ROWS_PER_STATEMENT) {
                diesel::insert_into(aibridge_tool_usages::table)
                    .values(rows)
                    .on_conflict_do_nothing()
                    .execute(db.conn())
                    .await?;
            }
            for rows in facts.tokens.chunks(ROWS_PER_STATEMENT) {
                diesel::insert_into(aibridge_token_usages::table)
                    .values(rows)
                    .on_conflict_do_nothing()
                    .execute(db.conn())
                    .await?;
            }
            for rows in facts.prompts.chunks(ROWS_PER_STATEMENT) {
                diesel::insert_into(aibridge_user_prompts::table)
                    .values(rows)
                    .on_conflict_do_nothing()
                    .execute(db.conn())
                    .await?;
            }
            for rows in facts.thoughts.chunks(ROWS_PER_STATEMENT) {
                diesel::insert_into(aibridge_model_thoughts::table)
                    .values(rows)
                    .on_conflict_do_nothing()
                    .execute(db.conn())
                    .await?;
            }
            insert_starts(db, &facts.starts).await?;
            apply_ends(db, &facts.ends).await
        })
    }
}

/// Where an interception hangs in its thread.
#[derive(Clone, Copy)]
struct Link {
    parent: Uuid,
    root: Uuid,
}

async fn insert_starts(db: &mut Db<'_>, starts: &[Start]) -> Result<(), Error> {
    let links = find_links(db, starts).await?;
    for rows in starts.chunks(ROWS_PER_STATEMENT) {
        let values: Vec<_> = rows
            .iter()
            .map(|start| {
                let link = links.get(&start.id);
                (
                    aibridge_interceptions::id.eq(Pk(start.id)),
                    aibridge_interceptions::initiator_id.eq(Pk(start.initiator_id)),
                    aibridge_interceptions::api_key_id.eq(Some(&start.api_key_id)),
                    aibridge_interceptions::provider.eq(&start.provider),
                    aibridge_interceptions::provider_name.eq(&start.provider_name),
                    aibridge_interceptions::model.eq(&start.model),
                    aibridge_interceptions::client.eq(&start.client),
                    aibridge_interceptions::started_at.eq(start.started_at),
                    aibridge_interceptions::metadata.eq(&start.metadata),
                    aibridge_interceptions::client_session_id.eq(start.client_session_id.as_ref()),
                    aibridge_interceptions::thread_parent_id.eq(link.map(|link| link.parent)),
                    aibridge_interceptions::thread_root_id.eq(link.map(|link| link.root)),
                    aibridge_interceptions::credential_kind.eq(start.credential_kind),
                    aibridge_interceptions::credential_hint.eq(&start.credential_hint),
                )
            })
            .collect();
        diesel::insert_into(aibridge_interceptions::table)
            .values(values)
            .on_conflict_do_nothing()
            .execute(db.conn())
            .await?;
    }
    Ok(())
}

/// The interception that recorded a tool call, and its root, for every start that carries a tool's result.
///
/// Only interceptions of the same user count: a guessed identifier must not join somebody else's session.
async fn find_links(
    db: &mut Db<'_>,
    starts: &[Start],
) -> Result<HashMap<InterceptionId, Link>, Error> {
    let calls: Vec<&str> =
        starts.iter().filter_map(|start| start.correlating_tool_call_id.as_deref()).collect();
    if calls.is_empty() {
        return Ok(HashMap::new());
    }
    let recorded: Vec<(String, Pk<InterceptionId>)> = aibridge_tool_usages::table
        .filter(aibridge_tool_usages::provider_tool_call_id.eq_any(&calls))
        .distinct_on(aibridge_tool_usages::provider_tool_call_id)
        .order((
            aibridge_tool_usages::provider_tool_call_id,
            aibridge_tool_usages::created_at.desc(),
        ))
        .select((
            aibridge_tool_usages::provider_tool_call_id,
            aibridge_tool_usages::interception_id,
        ))
        .load(db.conn())
        .await?;
    let parent_of: HashMap<String, Uuid> =
        recorded.into_iter().map(|(call, parent)| (call, parent.0.uuid())).collect();
    let stored: Vec<(Uuid, Uuid, Option<Uuid>)> = aibridge_interceptions::table
        .filter(aibridge_interceptions::id.eq_any(parent_of.values()))
        .select((
            aibridge_interceptions::id,
            aibridge_interceptions::initiator_id,
            aibridge_interceptions::thread_root_id,
        ))
        .load(db.conn())
        .await?;
    // Everything that can be a parent: its user and its root.
    let mut parents: HashMap<Uuid, (Uuid, Uuid)> =
        stored.into_iter().map(|(id, user, root)| (id, (user, root.unwrap_or(id)))).collect();
    for start in starts {
        let id = start.id.uuid();
        parents.entry(id).or_insert((start.initiator_id.uuid(), id));
    }
    let mut in_order: Vec<&Start> = starts.iter().collect();
    in_order.sort_by_key(|start| (start.started_at, start.id));
    let mut links = HashMap::new();
    for start in in_order {
        let (id, user) = (start.id.uuid(), start.initiator_id.uuid());
        let parent = start.correlating_tool_call_id.as_ref().and_then(|call| parent_of.get(call));
        let Some(&parent) = parent.filter(|parent| **parent != id) else { continue };
        let Some(&(owner, root)) = parents.get(&parent) else { continue };
        if owner == user {
            parents.insert(id, (user, root));
            links.insert(start.id, Link { parent, root });
        }
    }
    Ok(links)
}

async fn apply_ends(db: &mut Db<'_>, ends: &[End]) -> Result<(), Error> {
    for rows in ends.chunks(ROWS_PER_STATEMENT) {
        let ids: Vec<Uuid> = rows.iter().map(|end| end.id.uuid()).collect();
        let times: Vec<OffsetDateTime> = rows.iter().map(|end| end.ended_at).collect();
        let hints: Vec<&str> = rows.iter().map(|end| end.credential_hint.as_str()).collect();
        let types: Vec<Option<&str>> = rows.iter().map(|end| end.error_type).collect();
        let messages: Vec<Option<&str>> =
            rows.iter().map(|end| end.error_message.as_deref()).collect();
        diesel::sql_query(
            "UPDATE aibridge_interceptions i
                SET ended_at = e.ended_at, error_type = e.error_type, error_message = e.error_message,
                    credential_hint = CASE WHEN e.hint = '' THEN i.credential_hint ELSE e.hint END
               FROM unnest($1, $2, $3, $4, $5) AS e (id, ended_at, hint, error_type, error_message)
              WHERE i.id = e.id AND i.ended_at IS NULL",
        )
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<Timestamptz>, _>(times)
        .bind::<Array<Text>, _>(hints)
        .bind::<Array<Nullable<Text>>, _>(types)
        .bind::<Array<Nullable<Text>>, _>(messages)
        .execute(db.conn())
        .await?;
    }
    Ok(())
}

/// Makes the partitions of a month and the two after it, where they are missing.
#[derive(Debug)]
pub struct EnsurePartitions {
    /// Any instant of the first month.
    pub at: OffsetDateTime,
}

impl Query for EnsurePartitions {
    const NAME: &'static str = "interceptions.ensure_partitions";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            diesel::sql_query("SELECT aibridge_ensure_partitions($1)")
                .bind::<Timestamptz, _>(self.at)
                .execute(db.conn())
                .await?;
            Ok(())
        })
    }
}
