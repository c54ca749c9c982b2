//! Advisory locks, held to the end of the transaction. One list, numbers never used twice.

use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl as _;

use crate::query::{Access, Db, Fut, Permit, Query};

/// What a lock is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Lock {
    /// First start: deployment id, default organization, encryption key check.
    DeploymentSetup = 1,
    /// Removal of old records.
    Purge = 4,
    /// Reconciliation of the organizations' system roles.
    SystemRoles = 8,
    /// Seeding of AI providers from the environment.
    AiProvidersEnvSeed = 10,
    /// Creation of partitions. Taken inside the SQL function `aibridge_ensure_partitions`, and shared by those
    /// who store records.
    Partitions = 14,
    /// Creation of the first user.
    FirstUser = 15,
    /// Migrations.
    Migrations = 1_037_453_835_920_848_937,
}

/// Waits for a lock and holds it to the end of the transaction.
#[derive(Debug)]
pub struct Acquire(pub Lock);

impl Query for Acquire {
    const NAME: &'static str = "locks.acquire";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Open("orders transactions, reads and writes nothing")
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            diesel::sql_query("SELECT pg_advisory_xact_lock($1)")
                .bind::<BigInt, _>(self.0 as i64)
                .execute(db.conn())
                .await?;
            Ok(())
        })
    }
}

crate::queries![Acquire];
