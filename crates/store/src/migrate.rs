//! Brings the schema up to date, one server at a time.

use diesel::migration::{MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel_async::{
    AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};

use crate::Error;
use crate::connect::ConnectError;
use crate::error::{self, Source};
use crate::locks::Lock;

/// The schema's history, compiled into the program.
pub(crate) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// Runs what is pending and returns the names of what it ran.
///
/// Servers that start at the same time wait for each other on a session lock of this very connection,
/// which is closed afterwards. A database that knows migrations which this program does not is refused.
pub(crate) async fn run(mut conn: AsyncPgConnection) -> Result<Vec<String>, ConnectError> {
    conn.batch_execute("SET statement_timeout = 0; SET lock_timeout = '120s'")
        .await
        .map_err(refused)?;
    diesel::sql_query(format!("SELECT pg_advisory_lock({})", Lock::Migrations as i64))
        .execute(&mut conn)
        .await
        .map_err(refused)?;
    let mut harness = AsyncMigrationHarness::new(conn);
    let known: Vec<String> = MigrationSource::<Pg>::migrations(&MIGRATIONS)
        .map_err(failed)?
        .iter()
        .map(|migration| migration.name().version().to_string())
        .collect();
    let applied = harness.applied_migrations().map_err(failed)?;
    if let Some(unknown) =
        applied.iter().map(MigrationVersion::to_string).find(|v| !known.contains(v))
    {
        return Err(ConnectError::NewerSchema { version: unknown });
    }
    let ran = harness
        .run_pending_migrations(MIGRATIONS)
        .map_err(failed)?
        .iter()
        .map(ToString::to_string)
        .collect();
    Ok(ran)
}

/// Whether the schema is exactly the one that this program knows. Changes nothing.
pub(crate) async fn is_current(conn: &mut AsyncPgConnection) -> Result<bool, Error> {
    #[derive(diesel::QueryableByName)]
    struct Applied {
        #[diesel(sql_type = diesel::sql_types::Text)]
        version: String,
    }
    let ledger = "SELECT to_regclass('__diesel_schema_migrations')::text AS version";
    let there =
        diesel::sql_query(format!("SELECT coalesce(version, '') AS version FROM ({ledger}) l"))
            .get_result::<Applied>(conn)
            .await?;
    if there.version.is_empty() {
        return Ok(false);
    }
    let applied: Vec<Applied> =
        diesel::sql_query("SELECT version FROM __diesel_schema_migrations ORDER BY version")
            .load(conn)
            .await?;
    let known = MigrationSource::<Pg>::migrations(&MIGRATIONS).map_err(Error::Internal)?;
    let mut known: Vec<String> =
        known.iter().map(|migration| migration.name().version().to_string()).collect();
    known.sort_unstable();
    Ok(applied.into_iter().map(|row| row.version).eq(known))
}

fn refused(error: diesel::result::Error) -> ConnectError {
    ConnectError::Migrate(Box::new(Error::from(error)))
}

/// The harness tells what failed in its text only.
fn failed(source: Source) -> ConnectError {
    if error::tells_unavailable(&source.to_string()) {
        return ConnectError::Migrate(Box::new(Error::Unavailable(source)));
    }
    ConnectError::Migrate(source)
}
