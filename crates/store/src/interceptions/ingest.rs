use std::collections::HashMap;
use std::sync::Arc;

use diesel::sql_types::{Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rbac::Action;
use stdx::ids::InterceptionId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::columns::{
    Around, EndColumns, PromptColumns, Table, ThoughtColumns, TokensColumns, ToolColumns, Whole,
    WholeColumns,
};
use super::rows::{End, Facts};
use super::{ANY, links};
use crate::Error;
use crate::locks::{Lock, share};
use crate::query::{Access, Db, Fut, Permit, Query, check};

/// Rows of one statement.
const ROWS_PER_STATEMENT: usize = 5_000;

/// Stores a batch of facts in one transaction. Storing the same facts again changes nothing.
///
/// Yields the interceptions that were to end and have no start; their ends are not stored. The start of an
/// interception is expected before its other facts, in this batch or an earlier one.
#[derive(Clone, Debug)]
pub struct IngestFacts(pub Arc<Facts>);

impl Query for IngestFacts {
    const NAME: &'static str = "interceptions.ingest_facts";
    type Out = Vec<InterceptionId>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, ANY), check(Action::Update, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<InterceptionId>> {
        Box::pin(async move {
            let facts = &*self.0;
            share(db, Lock::Partitions).await?;
            // All who store go through the tables, and through the rows of each, in the same order, so that
            // nobody waits for each other when the same facts come twice at once.
            insert(db, &facts.tools, |row| (row.interception_id, row.id), ToolColumns::of).await?;
            insert(db, &facts.tokens, |row| (row.interception_id, row.id), TokensColumns::of)
                .await?;
            insert(db, &facts.prompts, |row| (row.interception_id, row.id), PromptColumns::of)
                .await?;
            insert(db, &facts.thoughts, |row| (row.interception_id, row.id), ThoughtColumns::of)
                .await?;
            let unapplied = insert_starts(db, facts).await?;
            links::adopt(db, facts).await?;
            apply_ends(db, unapplied).await
        })
    }
}

/// Inserts the rows that are not there yet, sorted by their keys.
async fn insert<'a, R, K: Ord, C: Table>(
    db: &mut Db<'_>,
    rows: &'a [R],
    key: impl Fn(&R) -> K,
    columns: impl Fn(&[&'a R]) -> C,
) -> Result<(), Error> {
    let mut rows: Vec<&R> = rows.iter().collect();
    rows.sort_by_key(|row| key(row));
    for rows in rows.chunks(ROWS_PER_STATEMENT) {
        Around::<_, ()>::insert(C::INSERT, &columns(rows), " ON CONFLICT DO NOTHING")
            .execute(db.conn())
            .await?;
    }
    Ok(())
}

const STARTS: &str = "
    INSERT INTO aibridge_interceptions (id, initiator_id, api_key_id, provider, provider_name, model, client,
           started_at, metadata, client_session_id, credential_kind, thread_parent_id, thread_root_id,
           credential_hint, ended_at, error_type, error_message, correlating_tool_call_id)
    SELECT * FROM ";

/// Inserts starts, complete with their ends where the batch has them: a row that is written twice costs
/// twice. Returns the ends that are still to be applied.
async fn insert_starts<'a>(db: &mut Db<'_>, facts: &'a Facts) -> Result<Vec<&'a End>, Error> {
    let links = links::find(db, facts).await?;
    let mut ends: HashMap<InterceptionId, &End> = HashMap::new();
    for end in &facts.ends {
        ends.entry(end.id).or_insert(end);
    }
    let mut rows: Vec<Whole<'_>> = facts
        .starts
        .iter()
        .map(|start| Whole {
            start,
            link: links.get(&start.id).copied(),
            end: ends.get(&start.id).copied(),
        })
        .collect();
    rows.sort_by_key(|row| row.start.id);
    let rows: Vec<&Whole<'_>> = rows.iter().collect();
    for rows in rows.chunks(ROWS_PER_STATEMENT) {
        let inserted =
            Around::<_, ()>::insert(STARTS, &WholeColumns::of(rows), " ON CONFLICT DO NOTHING")
                .execute(db.conn())
                .await?;
        // If some were there before, their ends are not: which ones does not matter, an end applies once.
        if inserted == rows.len() {
            for row in rows {
                ends.remove(&row.start.id);
            }
        }
    }
    let mut ends: Vec<&End> = ends.into_values().collect();
    ends.sort_by_key(|end| end.id);
    Ok(ends)
}

/// Locks the rows in order first: an update alone goes through them as its plan likes.
const ENDS: (&str, &str) = (
    "WITH e AS MATERIALIZED (SELECT * FROM ",
    concat!(
        " AS e (id, ended_at, hint, error_type, error_message)), open AS MATERIALIZED (
            SELECT i.id FROM e JOIN aibridge_interceptions i ON i.id = e.id
             WHERE i.ended_at IS NULL OR ",
        swept!(),
        "
             ORDER BY i.id FOR UPDATE OF i
         )
         UPDATE aibridge_interceptions i
            SET ended_at = e.ended_at, error_type = e.error_type, error_message = e.error_message,
                credential_hint = CASE WHEN e.hint = '' THEN i.credential_hint ELSE e.hint END
           FROM open JOIN e ON e.id = open.id
          WHERE i.id = open.id"
    ),
);

const ORPHANS: (&str, &str) = (
    "SELECT e.id FROM ",
    " AS e (id, ended_at, hint, error_type, error_message)
     WHERE NOT EXISTS (SELECT 1 FROM aibridge_interceptions i WHERE i.id = e.id) ORDER BY e.id",
);

/// Closes interceptions that are open. Returns those that do not exist.
async fn apply_ends(db: &mut Db<'_>, ends: Vec<&End>) -> Result<Vec<InterceptionId>, Error> {
    let mut orphans = Vec::new();
    for ends in ends.chunks(ROWS_PER_STATEMENT) {
        let columns = EndColumns::of(ends);
        let applied = Around::<_, ()>::join(ENDS.0, &columns, ENDS.1).execute(db.conn()).await?;
        if applied < ends.len() {
            let absent: Vec<Uuid> =
                Around::<_, SqlUuid>::join(ORPHANS.0, &columns, ORPHANS.1).load(db.conn()).await?;
            orphans.extend(absent.into_iter().map(InterceptionId::new));
        }
    }
    Ok(orphans)
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
