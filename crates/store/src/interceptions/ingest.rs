use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rbac::Action;
use stdx::ids::InterceptionId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::ANY;
use super::rows::{End, Facts, Start};
use crate::locks::Lock;
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
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, ANY), check(Action::Update, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            let facts = &self.0;
            diesel::sql_query("SELECT pg_advisory_xact_lock_shared($1)")
                .bind::<BigInt, _>(Lock::Partitions as i64)
                .execute(db.conn())
                .await?;
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

/// Whose tool call a start carries the result of.
#[derive(QueryableByName)]
struct Parent {
    #[diesel(sql_type = SqlUuid)]
    start: Uuid,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    /// Absent while the parent itself is about to be stored.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    root: Option<Uuid>,
}

/// Of each start ($1) the newest interception before it that recorded the tool call ($3). Some providers
/// number their calls anew in each answer, so one identifier names many calls; only those of the same
/// user ($2) count, which also keeps a guessed identifier from joining somebody else's session. Parents
/// that are not stored yet are looked for among all starts of the batch ($5, $6).
const PARENTS: &str = "
    SELECT s.start, p.id, p.root
      FROM unnest($1, $2, $3, $4) AS s (start, initiator_id, call, started_at)
     CROSS JOIN LATERAL (
        SELECT t.interception_id AS id, coalesce(i.thread_root_id, i.id) AS root
          FROM aibridge_tool_usages t
          LEFT JOIN aibridge_interceptions i ON i.id = t.interception_id
         WHERE t.provider_tool_call_id = s.call AND t.interception_id <> s.start
           AND (i.initiator_id = s.initiator_id
                OR i.id IS NULL AND EXISTS (
                    SELECT 1 FROM unnest($5, $6) AS b (id, initiator_id)
                     WHERE b.id = t.interception_id AND b.initiator_id = s.initiator_id))
         ORDER BY t.created_at <= s.started_at DESC, t.created_at DESC, t.interception_id DESC
         LIMIT 1
     ) p";

/// The place in its thread of every start that carries a tool's result.
async fn find_links(
    db: &mut Db<'_>,
    starts: &[Start],
) -> Result<HashMap<InterceptionId, Link>, Error> {
    let mut in_order: Vec<&Start> = starts.iter().collect();
    in_order.sort_by_key(|start| (start.started_at, start.id));
    let ids = |starts: &[&Start]| starts.iter().map(|start| start.id.uuid()).collect::<Vec<_>>();
    let users = |starts: &[&Start]| {
        starts.iter().map(|start| start.initiator_id.uuid()).collect::<Vec<_>>()
    };
    let call =
        |start: &Start| start.correlating_tool_call_id.clone().filter(|call| !call.is_empty());
    let following: Vec<&Start> =
        in_order.iter().copied().filter(|start| call(start).is_some()).collect();
    if following.is_empty() {
        return Ok(HashMap::new());
    }
    let parents: Vec<Parent> = diesel::sql_query(PARENTS)
        .bind::<Array<SqlUuid>, _>(ids(&following))
        .bind::<Array<SqlUuid>, _>(users(&following))
        .bind::<Array<Text>, _>(
            following.iter().filter_map(|start| call(start)).collect::<Vec<_>>(),
        )
        .bind::<Array<Timestamptz>, _>(
            following.iter().map(|start| start.started_at).collect::<Vec<_>>(),
        )
        .bind::<Array<SqlUuid>, _>(ids(&in_order))
        .bind::<Array<SqlUuid>, _>(users(&in_order))
        .load(db.conn())
        .await?;
    let parents: HashMap<Uuid, Parent> =
        parents.into_iter().map(|parent| (parent.start, parent)).collect();
    let mut links: HashMap<InterceptionId, Link> = HashMap::new();
    for start in following {
        let Some(parent) = parents.get(&start.id.uuid()) else { continue };
        // Oldest first, so a parent of the same batch has its link already.
        let of_batch = links.get(&InterceptionId::new(parent.id)).map(|link| link.root);
        let root = parent.root.or(of_batch).unwrap_or(parent.id);
        links.insert(start.id, Link { parent: parent.id, root });
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
