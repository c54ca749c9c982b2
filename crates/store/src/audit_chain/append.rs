use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};

use super::entry::Entry;
use crate::Error;
use crate::audit_logs::AuditLog;
use crate::schema::{audit_chain, audit_logs};

/// Rows of one statement.
const ROWS_MAX: usize = 500;

/// A row with its place.
#[derive(Insertable)]
#[diesel(table_name = audit_logs)]
struct Placed {
    #[diesel(embed)]
    log: AuditLog,
    sequence: i64,
    previous_hash: Vec<u8>,
    hash: Vec<u8>,
}

/// Appends rows to the chain. To be called last in a transaction: from here to its end, others who append wait.
pub(crate) async fn append(conn: &mut AsyncPgConnection, logs: Vec<AuditLog>) -> Result<(), Error> {
    if logs.is_empty() {
        return Ok(());
    }
    let (mut sequence, mut previous) = head_for_update(conn).await?;
    let mut placed = Vec::with_capacity(logs.len());
    for log in logs {
        let log = in_micros(log);
        sequence += 1;
        let entry = Entry::of(&log).map_err(|error| Error::Internal(Box::new(error)))?;
        let hash = entry
            .hash(sequence, &previous)
            .map_err(|error| Error::Internal(Box::new(error)))?
            .to_vec();
        let previous_hash = std::mem::replace(&mut previous, hash.clone());
        placed.push(Placed { log, sequence, previous_hash, hash });
    }
    for rows in placed.chunks(ROWS_MAX) {
        diesel::insert_into(audit_logs::table).values(rows).execute(&mut *conn).await?;
    }
    set_head(conn, sequence, &previous).await
}

/// The last place that is taken, locked to the end of the transaction.
pub(super) async fn head_for_update(conn: &mut AsyncPgConnection) -> Result<(i64, Vec<u8>), Error> {
    Ok(audit_chain::table
        .select((audit_chain::sequence, audit_chain::hash))
        .for_update()
        .first(conn)
        .await?)
}

pub(super) async fn set_head(
    conn: &mut AsyncPgConnection,
    sequence: i64,
    hash: &[u8],
) -> Result<(), Error> {
    diesel::update(audit_chain::table)
        .set((audit_chain::sequence.eq(sequence), audit_chain::hash.eq(hash)))
        .execute(conn)
        .await?;
    Ok(())
}

/// Keeps all others from appending until this transaction ends. For a transaction that sees one state throughout and
/// lost against them before: it must begin with this, because its state is that of its first query.
pub(crate) async fn lock_out(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    Ok(conn.batch_execute("LOCK TABLE audit_chain IN EXCLUSIVE MODE").await?)
}

/// With the time that the database will have.
fn in_micros(mut log: AuditLog) -> AuditLog {
    let nanos = log.time.nanosecond();
    log.time = log.time.replace_nanosecond(nanos - nanos % 1_000).unwrap_or(log.time);
    log
}
