use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Timestamptz, Uuid as SqlUuid};
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, RunQueryDsl};
use stdx::SharedClock;
use time::OffsetDateTime;
use uuid::Uuid;

use super::append::{head_for_update, set_head};
use super::reader::{COLUMNS, StoredEntry};
use crate::Error;
use crate::schema::audit_chain;
use crate::stack::postgres::settle;

/// Rows of one transaction.
const BATCH: i64 = 1_000;

/// Gives rows from before the chain their places, in the order of their times, once. Each batch is a transaction of
/// its own, so that what was killed is continued by the next start.
pub(crate) async fn adopt(
    pool: &Pool<AsyncPgConnection>,
    clock: &SharedClock,
) -> Result<(), Error> {
    let mut pooled = pool.get().await.map_err(Error::unavailable)?;
    let mut adopted = 0;
    let mut after = (OffsetDateTime::UNIX_EPOCH, Uuid::nil());
    loop {
        AnsiTransactionManager::begin_transaction_sql(&mut *pooled, "BEGIN").await?;
        let outcome = batch(&mut pooled, after, clock).await;
        let Some((rows, last)) = settle(&mut pooled, outcome).await? else { break };
        adopted += rows;
        after = last;
    }
    if adopted > 0 {
        tracing::info!(rows = adopted, "audit rows from before the chain have their places in it");
    }
    Ok(())
}

#[derive(QueryableByName)]
struct Old {
    #[diesel(embed)]
    entry: StoredEntry,
}

/// How many rows got a place, and the last of them; nothing when all have one.
async fn batch(
    conn: &mut AsyncPgConnection,
    (time, id): (OffsetDateTime, Uuid),
    clock: &SharedClock,
) -> Result<Option<(usize, (OffsetDateTime, Uuid))>, Error> {
    let done: Option<OffsetDateTime> =
        audit_chain::table.select(audit_chain::adopted_at).first(&mut *conn).await?;
    if done.is_some() {
        return Ok(None);
    }
    let (mut sequence, mut previous) = head_for_update(conn).await?;
    let old: Vec<Old> = diesel::sql_query(format!(
        "SELECT {COLUMNS} FROM audit_logs WHERE sequence IS NULL AND (time, id) > ($1, $2)
          ORDER BY time, id LIMIT {BATCH}"
    ))
    .bind::<Timestamptz, _>(time)
    .bind::<SqlUuid, _>(id)
    .load(&mut *conn)
    .await?;
    if old.is_empty() {
        diesel::update(audit_chain::table)
            .set(audit_chain::adopted_at.eq(clock.now()))
            .execute(conn)
            .await?;
        return Ok(None);
    }
    let (mut ids, mut sequences) = (Vec::new(), Vec::new());
    let (mut before, mut hashes) = (Vec::new(), Vec::new());
    let mut last = (time, id);
    for Old { entry } in old {
        let entry = entry.into_entry()?;
        sequence += 1;
        let hash = entry
            .hash(sequence, &previous)
            .map_err(|error| Error::Internal(Box::new(error)))?
            .to_vec();
        last = (entry.time, entry.id);
        ids.push(entry.id);
        sequences.push(sequence);
        hashes.push(hash.clone());
        before.push(std::mem::replace(&mut previous, hash));
    }
    let rows = diesel::sql_query(
        "UPDATE audit_logs l SET sequence = p.sequence, previous_hash = p.previous_hash, hash = p.hash
           FROM unnest($1, $2, $3, $4) AS p (id, sequence, previous_hash, hash) WHERE l.id = p.id",
    )
    .bind::<Array<SqlUuid>, _>(ids)
    .bind::<Array<BigInt>, _>(sequences)
    .bind::<Array<Binary>, _>(before)
    .bind::<Array<Binary>, _>(hashes)
    .execute(&mut *conn)
    .await?;
    set_head(conn, sequence, &previous).await?;
    Ok(Some((rows, last)))
}
