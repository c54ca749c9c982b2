//! Which encryption keys were ever used, and whether the ones in hand fit.

mod maintenance;

use crypt::{Keyring, SENTINEL};
use diesel::prelude::*;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, RunQueryDsl};
use stdx::{Secret, SharedClock, SharedRng};
use uuid::Uuid;

pub use maintenance::{Count, Maintenance, MaintenanceError, Step};

use crate::locks::Lock;
use crate::schema::dbcrypt_keys;
use crate::sealed::columns::{Loss, SealedColumn};
use crate::sealed::{Keys, Sealed};
use crate::stack::postgres::settle;
use crate::{Constraint, Error};

/// Not in the list of columns: it is sealed once by the key that its row is about.
const TEST: SealedColumn = SealedColumn {
    table: "dbcrypt_keys",
    column: "test",
    key_id: "active_key_digest",
    fk: Constraint::Unknown,
    blank_is_none: false,
    loss: Loss::Row,
};

/// Why the configured keys are refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyCheckError {
    /// Data was encrypted with a key that is not among the configured ones.
    #[error(
        "this database holds data encrypted with key {digest}, which is not configured: \
         add it to CODER_EXTERNAL_TOKEN_ENCRYPTION_KEYS, or decrypt the data first"
    )]
    NotHeld {
        /// Digest of the missing key.
        digest: String,
    },
    /// A configured key has the digest of a known key but is another.
    #[error(
        "key {digest} does not open what key {digest} sealed: it is another key or the row was changed"
    )]
    Wrong {
        /// Digest of the key.
        digest: String,
    },
    /// The first configured key was retired.
    #[error("the primary encryption key {digest} has been revoked: configure a new first key")]
    Revoked {
        /// Digest of the key.
        digest: String,
    },
    /// The database failed.
    #[error("could not read or write the list of keys")]
    Store(#[source] Error),
}

impl From<Error> for KeyCheckError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = dbcrypt_keys, check_for_backend(diesel::pg::Pg))]
struct Row {
    number: i32,
    active_key_digest: Option<String>,
    revoked_key_digest: Option<String>,
    test: Sealed,
}

/// Refuses keys that do not fit, and notes the primary key when it is new.
pub(crate) async fn check(
    pool: &Pool<AsyncPgConnection>,
    keyring: &Keyring,
    rng: &SharedRng,
    clock: &SharedClock,
) -> Result<(), KeyCheckError> {
    let mut pooled = pool.get().await.map_err(Error::unavailable)?;
    AnsiTransactionManager::begin_transaction_sql(&mut *pooled, "BEGIN")
        .await
        .map_err(Error::from)?;
    let outcome = check_in_tx(&mut pooled, keyring, rng, clock).await;
    settle(&mut pooled, outcome).await
}

async fn check_in_tx(
    conn: &mut AsyncPgConnection,
    keyring: &Keyring,
    rng: &SharedRng,
    clock: &SharedClock,
) -> Result<(), KeyCheckError> {
    diesel::sql_query(format!("SELECT pg_advisory_xact_lock({})", Lock::DeploymentSetup as i64))
        .execute(conn)
        .await
        .map_err(Error::from)?;
    let rows: Vec<Row> = dbcrypt_keys::table
        .order(dbcrypt_keys::number)
        .select(Row::as_select())
        .load(conn)
        .await
        .map_err(Error::from)?;
    let keys = Keys { ring: keyring, rng: &**rng };
    for row in &rows {
        let Some(digest) = &row.active_key_digest else { continue };
        if !keyring.holds(digest) {
            return Err(KeyCheckError::NotHeld { digest: digest.clone() });
        }
        let opened = keys.open(TEST, place(row.number), &row.test, Some(digest));
        if opened.is_ok_and(|text| text.expose() == SENTINEL) {
            continue;
        }
        return Err(KeyCheckError::Wrong { digest: digest.clone() });
    }
    let Some(primary) = keyring.primary_digest() else { return Ok(()) };
    if rows.iter().any(|row| row.revoked_key_digest.as_deref() == Some(primary)) {
        return Err(KeyCheckError::Revoked { digest: primary.to_owned() });
    }
    if rows.iter().any(|row| row.active_key_digest.as_deref() == Some(primary)) {
        return Ok(());
    }
    let number = rows.last().map_or(1, |row| row.number + 1);
    let test = keys.seal(TEST, place(number), &Secret::from(SENTINEL))?;
    diesel::insert_into(dbcrypt_keys::table)
        .values((
            dbcrypt_keys::number.eq(number),
            dbcrypt_keys::active_key_digest.eq(primary),
            dbcrypt_keys::created_at.eq(clock.now()),
            dbcrypt_keys::test.eq(test.value),
        ))
        .execute(conn)
        .await
        .map_err(Error::from)?;
    tracing::info!(digest = primary, number, "new primary encryption key");
    Ok(())
}

/// The rows of this table are numbered; the sealed text is bound to that number.
fn place(number: i32) -> Uuid {
    Uuid::from_u128(u128::from(number.unsigned_abs()))
}
