//! Advisory locks, held to the end of the transaction. One list, numbers never used twice.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool};
use diesel_async::RunQueryDsl as _;

use crate::Error;
use crate::query::{Access, Db, Fut, Permit, Query};

/// What a lock is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Lock {
    /// First start: deployment id, default organization, encryption key check.
    DeploymentSetup = 1,
    /// Removal of old records.
    Purge = 4,
    /// Rotation of the deployment's own keys.
    CryptoKeys = 6,
    /// Reconciliation of the organizations' system roles.
    SystemRoles = 8,
    /// Seeding of AI providers from the environment.
    AiProvidersEnvSeed = 10,
    /// Creation of partitions. Taken inside the SQL function `aibridge_ensure_partitions`, and shared by those
    /// who store records.
    Partitions = 14,
    /// Creation of the first user.
    FirstUser = 15,
    /// Closing of interceptions that never ended.
    Sweep = 16,
    /// Taking the owner role away. Taken inside the SQL function `refuse_loss_of_last_owner`.
    Owners = 17,
    /// Checkpoints of the audit log, and removal of its oldest rows.
    AuditCheckpoints = 20,
    /// Rotation, decryption and deletion of encryption keys.
    KeyMaintenance = 24,
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
        Box::pin(take(db, self.0))
    }
}

/// [`Acquire`] for queries that cannot do without.
pub(crate) async fn take(db: &mut Db<'_>, lock: Lock) -> Result<(), Error> {
    diesel::sql_query("SELECT pg_advisory_xact_lock($1)")
        .bind::<BigInt, _>(lock as i64)
        .execute(db.conn())
        .await?;
    Ok(())
}

/// Takes a lock if it is free, and holds it to the end of the transaction. Tells whether it did.
#[derive(Debug)]
pub struct TryAcquire(pub Lock);

#[derive(diesel::QueryableByName)]
struct Taken {
    #[diesel(sql_type = Bool)]
    taken: bool,
}

impl Query for TryAcquire {
    const NAME: &'static str = "locks.try_acquire";
    type Out = bool;

    fn access(&self) -> Access<Self> {
        Access::Open("orders transactions, reads and writes nothing")
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, bool> {
        Box::pin(try_take(db, self.0))
    }
}

/// [`TryAcquire`] for queries that leave the work to whoever is at it.
pub(crate) async fn try_take(db: &mut Db<'_>, lock: Lock) -> Result<bool, Error> {
    let answer: Taken = diesel::sql_query("SELECT pg_try_advisory_xact_lock($1) AS taken")
        .bind::<BigInt, _>(lock as i64)
        .get_result(db.conn())
        .await?;
    Ok(answer.taken)
}

/// Waits for a lock together with others who share it, and holds it to the end of the transaction. Prepared
/// once for each connection.
pub(crate) async fn share(db: &mut Db<'_>, lock: Lock) -> Result<(), Error> {
    Share(lock as i64).execute(db.conn()).await?;
    Ok(())
}

#[derive(QueryId)]
struct Share(i64);

impl QueryFragment<Pg> for Share {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT pg_advisory_xact_lock_shared(");
        out.push_bind_param::<BigInt, _>(&self.0)?;
        out.push_sql(")");
        Ok(())
    }
}

crate::queries![Acquire, TryAcquire];
