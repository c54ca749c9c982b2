//! Rotation, decryption and loss of encryption keys: what an operator does past all queries, while servers run.
//!
//! Values are resealed in batches, each a transaction of its own, in the order of ids. Nothing is remembered outside
//! the tables: a run that was killed is continued by the next one, which finds what is left to do. Rows are locked
//! while their batch is resealed, so a server that writes one at the same time writes before or after, and what it
//! writes is never overwritten; what servers seal meanwhile under an old key is found by another pass.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use crypt::Keyring;
use diesel::QueryableByName;
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{
    AnsiTransactionManager, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _,
};
use stdx::{Secret, SharedClock, SharedRng};
use tokio::time::Instant;
use tokio_postgres::Config;
use uuid::Uuid;

use super::{KeyCheckError, check_in_tx};
use crate::Error;
use crate::connect::{ConnectError, dial};
use crate::error::Source;
use crate::locks::Lock;
use crate::migrate;
use crate::sealed::columns::{ALL, Loss, SealedColumn};
use crate::sealed::{Keys, Sealed, SealedText};
use crate::stack::postgres::settle;

/// Rows of one transaction.
const BATCH: i64 = 500;
/// Passes over a column before it is said that servers go on sealing with an old key.
const PASSES_MAX: u32 = 10;
/// Most rows that cannot be opened and are named one by one.
const FAILURES_MAX: usize = 100;

/// Why maintenance stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaintenanceError {
    /// No connection.
    #[error("could not connect to the database")]
    Connect(#[source] Source),
    /// The schema is another than this program's.
    #[error(
        "the schema of the database is not the one that this program knows: run the program that the servers run, or \
         start this one's server first"
    )]
    Schema,
    /// Another process does the same.
    #[error(
        "another rotation, decryption or deletion is running on this database: wait for its end"
    )]
    Running,
    /// The keys do not fit the database.
    #[error("the encryption keys do not fit this database")]
    Keys(#[source] KeyCheckError),
    /// Rows that no key in hand opens. Everything else was resealed; no key was retired.
    #[error("{count} values could not be opened, so no key was retired: {}", Listed(.rows))]
    Unreadable {
        /// How many.
        count: usize,
        /// The first hundred, as `table.column id: why`.
        rows: Vec<String>,
    },
    /// Servers seal faster than values are resealed.
    #[error(
        "{column}: servers go on sealing with an old key. Put the new key first in CODER_EXTERNAL_TOKEN_ENCRYPTION_KEYS, \
         the old ones behind it, restart the servers, and run this again"
    )]
    Busy {
        /// Table and column.
        column: String,
    },
    /// A key is still in use.
    #[error("key {digest} is not retired, values are still sealed by it: {}", Listed(.columns))]
    InUse {
        /// Of the key.
        digest: String,
        /// Columns with numbers of values.
        columns: Vec<String>,
    },
    /// The database failed. What was done stays done; run it again.
    #[error("the database failed; what was done stays done, and the next run continues")]
    Store(#[source] Error),
}

struct Listed<'a>(&'a [String]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl From<Error> for MaintenanceError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<diesel::result::Error> for MaintenanceError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Values of a column that are sealed by one key, or by none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Which column.
    pub column: SealedColumn,
    /// Digest of the key; `None`: not encrypted.
    pub key: Option<String>,
    /// How many.
    pub values: u64,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The column that is worked on.
    pub column: SealedColumn,
    /// Values resealed so far, of all columns.
    pub done: u64,
}

/// How long the lock is asked for.
const LOCK_DEADLINE: Duration = Duration::from_secs(1);
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The way to the tables for key maintenance. One at a time: it holds a lock until it is dropped.
pub struct Maintenance {
    conn: AsyncPgConnection,
    /// In an open transaction that holds the lock.
    _guard: AsyncPgConnection,
    rng: SharedRng,
    clock: SharedClock,
}

impl fmt::Debug for Maintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Maintenance")
    }
}

#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = Bool)]
    taken: bool,
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = Nullable<Text>)]
    key: Option<String>,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = SealedText)]
    value: Sealed,
    #[diesel(sql_type = Nullable<Text>)]
    key: Option<String>,
}

#[derive(QueryableByName)]
struct ActiveKey {
    #[diesel(sql_type = Integer)]
    number: i32,
    #[diesel(sql_type = Text)]
    digest: String,
}

async fn take(guard: &mut AsyncPgConnection) -> Result<bool, MaintenanceError> {
    let lock = Lock::KeyMaintenance as i64;
    let taken: Taken =
        diesel::sql_query(format!("SELECT pg_try_advisory_xact_lock({lock}) AS taken"))
            .get_result(guard)
            .await?;
    Ok(taken.taken)
}

impl Maintenance {
    /// Connects to a database that the servers have migrated, and takes the lock.
    ///
    /// # Errors
    /// [`MaintenanceError::Connect`], [`MaintenanceError::Schema`], [`MaintenanceError::Running`].
    pub async fn open(
        url: &Secret<String>,
        rng: SharedRng,
        clock: SharedClock,
    ) -> Result<Self, MaintenanceError> {
        let config: Config = url
            .expose()
            .parse()
            .map_err(|source| MaintenanceError::Connect(Box::new(ConnectError::Url(source))))?;
        let connect = async || {
            dial(&config).await.map_err(|source| MaintenanceError::Connect(Box::new(source)))
        };
        let mut conn = connect().await?;
        if !migrate::is_current(&mut conn).await? {
            return Err(MaintenanceError::Schema);
        }
        let mut guard = connect().await?;
        guard.batch_execute("BEGIN").await?;
        // The server takes a moment to notice that whoever held it has gone.
        let deadline = Instant::now() + LOCK_DEADLINE;
        while !take(&mut guard).await? {
            if Instant::now() >= deadline {
                return Err(MaintenanceError::Running);
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        Ok(Self { conn, _guard: guard, rng, clock })
    }

    /// What is sealed by which key.
    ///
    /// # Errors
    /// [`MaintenanceError::Store`].
    pub async fn counts(&mut self) -> Result<Vec<Count>, MaintenanceError> {
        let mut counts = Vec::new();
        for column in ALL {
            let SealedColumn { table, column: value, key_id, .. } = column;
            let blank = not_blank(column);
            let counted: Vec<Counted> = diesel::sql_query(format!(
                "SELECT nullif({key_id}, '') AS key, count(*) AS count FROM {table}
                  WHERE {value} IS NOT NULL{blank} GROUP BY 1 ORDER BY 1"
            ))
            .load(&mut self.conn)
            .await?;
            counts.extend(counted.into_iter().map(|Counted { key, count }| Count {
                column: *column,
                key,
                values: count.unsigned_abs(),
            }));
        }
        Ok(counts)
    }

    /// Checks that the keys open what is sealed, and notes the first one if it is new.
    ///
    /// # Errors
    /// [`MaintenanceError::Keys`].
    pub async fn check(&mut self, ring: &Keyring) -> Result<(), MaintenanceError> {
        self.begin().await?;
        let checked = check_in_tx(&mut self.conn, ring, &self.rng, &self.clock).await;
        settle(&mut self.conn, checked).await.map_err(MaintenanceError::Keys)
    }

    /// Seals every value by the first key of the ring; by none, if the ring only opens. Soft-deleted rows too; no time
    /// of change moves. Yields how many values were resealed.
    ///
    /// # Errors
    /// [`MaintenanceError::Unreadable`] after all that can be read is resealed, [`MaintenanceError::Busy`],
    /// [`MaintenanceError::Store`].
    pub async fn reseal(
        &mut self,
        ring: &Keyring,
        progress: &mut (dyn FnMut(Step) + Send),
    ) -> Result<u64, MaintenanceError> {
        let mut done = 0;
        let (mut count, mut rows) = (0, Vec::new());
        for column in ALL {
            let mut unreadable = HashSet::new();
            let mut passes = 0;
            loop {
                let resealed = self
                    .pass(ring, *column, &mut unreadable, &mut rows, &mut done, progress)
                    .await?;
                if resealed == 0 {
                    break;
                }
                passes += 1;
                if passes == PASSES_MAX {
                    let column = format!("{}.{}", column.table, column.column);
                    return Err(MaintenanceError::Busy { column });
                }
            }
            count += unreadable.len();
        }
        if count > 0 {
            return Err(MaintenanceError::Unreadable { count, rows });
        }
        Ok(done)
    }

    /// Goes through one column once. Yields how many values were resealed.
    async fn pass(
        &mut self,
        ring: &Keyring,
        column: SealedColumn,
        unreadable: &mut HashSet<Uuid>,
        told: &mut Vec<String>,
        done: &mut u64,
        progress: &mut (dyn FnMut(Step) + Send),
    ) -> Result<u64, MaintenanceError> {
        let mut after = Uuid::nil();
        let mut resealed = 0;
        loop {
            self.begin().await?;
            let batch = self.batch(ring, column, after).await;
            let batch = settle(&mut self.conn, batch).await?;
            for (id, why) in batch.unreadable {
                if unreadable.insert(id) && told.len() < FAILURES_MAX {
                    told.push(format!("{}.{} {id}: {why}", column.table, column.column));
                }
            }
            resealed += batch.resealed;
            *done += batch.resealed;
            progress(Step { column, done: *done });
            match batch.last {
                Some(last) => after = last,
                None => return Ok(resealed),
            }
        }
    }

    async fn batch(
        &mut self,
        ring: &Keyring,
        column: SealedColumn,
        after: Uuid,
    ) -> Result<Batch, Error> {
        let SealedColumn { table, column: value, key_id, .. } = column;
        let target = ring.primary_digest();
        let (to_do, blank) = (to_do(target, key_id), not_blank(&column));
        let rows: Vec<Row> = diesel::sql_query(format!(
            "SELECT id, {value} AS value, nullif({key_id}, '') AS key FROM {table}
              WHERE {value} IS NOT NULL{blank} AND {to_do} AND id > $1
              ORDER BY id LIMIT {BATCH} FOR NO KEY UPDATE"
        ))
        .bind::<SqlUuid, _>(after)
        .bind::<Nullable<Text>, _>(target)
        .load(&mut self.conn)
        .await?;
        let full = i64::try_from(rows.len()) == Ok(BATCH);
        let mut batch =
            Batch { last: rows.last().filter(|_| full).map(|row| row.id), ..Batch::default() };
        let keys = Keys { ring, rng: &*self.rng };
        let (mut ids, mut values) =
            (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for row in rows {
            match keys.open(column, row.id, &row.value, row.key.as_deref()) {
                Ok(plain) => {
                    values.push(keys.seal(column, row.id, &plain)?.value);
                    ids.push(row.id);
                }
                Err(Error::Keyring { source, .. }) => {
                    batch.unreadable.push((row.id, source.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        if !ids.is_empty() {
            let changed = diesel::sql_query(format!(
                "UPDATE {table} t SET {value} = d.value, {key_id} = $3
                   FROM unnest($1::uuid[], $2::text[]) AS d (id, value) WHERE t.id = d.id"
            ))
            .bind::<Array<SqlUuid>, _>(ids)
            .bind::<Array<SealedText>, _>(values)
            .bind::<Nullable<Text>, _>(target)
            .execute(&mut self.conn)
            .await?;
            batch.resealed = changed as u64;
        }
        Ok(batch)
    }

    /// Retires every active key that the ring holds, but for its first one. A ring that only opens retires all.
    /// Yields their digests.
    ///
    /// # Errors
    /// [`MaintenanceError::InUse`] for the first key by which something is still sealed; those before it are retired.
    pub async fn retire(&mut self, ring: &Keyring) -> Result<Vec<String>, MaintenanceError> {
        let keep = ring.primary_digest();
        let mut retired = Vec::new();
        for key in self.active().await? {
            if Some(key.digest.as_str()) == keep || !ring.holds(&key.digest) {
                continue;
            }
            self.retire_one(&key).await?;
            retired.push(key.digest);
        }
        Ok(retired)
    }

    async fn active(&mut self) -> Result<Vec<ActiveKey>, MaintenanceError> {
        Ok(diesel::sql_query(
            "SELECT number, active_key_digest AS digest FROM dbcrypt_keys WHERE active_key_digest IS NOT NULL
              ORDER BY number",
        )
        .load(&mut self.conn)
        .await?)
    }

    async fn retire_one(&mut self, key: &ActiveKey) -> Result<(), MaintenanceError> {
        let updated = diesel::sql_query(
            "UPDATE dbcrypt_keys SET revoked_key_digest = active_key_digest, active_key_digest = NULL, revoked_at = $2
              WHERE number = $1 AND active_key_digest IS NOT NULL",
        )
        .bind::<Integer, _>(key.number)
        .bind::<Timestamptz, _>(self.clock.now())
        .execute(&mut self.conn)
        .await
        .map_err(Error::from);
        match updated {
            Ok(_) => Ok(()),
            // The foreign keys have the last word: a server may have sealed something a moment ago.
            Err(Error::RetiredKey | Error::Missing(_)) => {
                let columns = self
                    .counts()
                    .await?
                    .into_iter()
                    .filter(|count| count.key.as_ref() == Some(&key.digest))
                    .map(|count| {
                        let Count { column, values, .. } = count;
                        format!("{}.{}: {values}", column.table, column.column)
                    })
                    .collect();
                Err(MaintenanceError::InUse { digest: key.digest.clone(), columns })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives up everything that is encrypted, because the keys are lost, and retires all keys. All or nothing. Yields
    /// how many values were given up by column.
    ///
    /// # Errors
    /// [`MaintenanceError::Store`].
    pub async fn give_up(&mut self) -> Result<Vec<(SealedColumn, u64)>, MaintenanceError> {
        self.begin().await?;
        let given_up = self.give_up_in_tx().await;
        Ok(settle(&mut self.conn, given_up).await?)
    }

    async fn give_up_in_tx(&mut self) -> Result<Vec<(SealedColumn, u64)>, Error> {
        let mut given_up = Vec::new();
        for column in ALL {
            let SealedColumn { table, column: value, key_id, loss, .. } = column;
            let encrypted = format!("coalesce({key_id}, '') <> ''");
            let statement = match loss {
                Loss::Row => format!("DELETE FROM {table} WHERE {encrypted}"),
                Loss::Null => {
                    format!("UPDATE {table} SET {value} = NULL, {key_id} = NULL WHERE {encrypted}")
                }
                Loss::Blank => {
                    format!("UPDATE {table} SET {value} = '', {key_id} = NULL WHERE {encrypted}")
                }
            };
            let count = diesel::sql_query(statement).execute(&mut self.conn).await?;
            given_up.push((*column, count as u64));
        }
        diesel::sql_query(
            "UPDATE dbcrypt_keys SET revoked_key_digest = active_key_digest, active_key_digest = NULL, revoked_at = $1
              WHERE active_key_digest IS NOT NULL",
        )
        .bind::<Timestamptz, _>(self.clock.now())
        .execute(&mut self.conn)
        .await?;
        Ok(given_up)
    }

    async fn begin(&mut self) -> Result<(), Error> {
        Ok(AnsiTransactionManager::begin_transaction_sql(&mut self.conn, "BEGIN").await?)
    }
}

/// What became of a batch.
#[derive(Default)]
struct Batch {
    resealed: u64,
    unreadable: Vec<(Uuid, String)>,
    /// Where the next one begins, if there may be one.
    last: Option<Uuid>,
}

/// Which values are not yet as they are to be.
fn to_do(target: Option<&str>, key_id: &str) -> String {
    match target {
        Some(_) => format!("{key_id} IS DISTINCT FROM $2"),
        None => format!("coalesce({key_id}, '') <> ''"),
    }
}

/// An empty text in the clear is no value, where the column says so.
fn not_blank(column: &SealedColumn) -> String {
    let SealedColumn { column: value, key_id, .. } = column;
    if column.blank_is_none {
        format!(" AND NOT ({value} = '' AND coalesce({key_id}, '') = '')")
    } else {
        String::new()
    }
}
