//! Two who come at once.

use store::{Call, Error, Full, Query, Store as _, TxOptions};
use testkit::TestDb;
use tokio::sync::Notify;

use crate::scene::eventually;

/// Statements that wait for a lock.
pub(crate) const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'";

macro_rules! refused {
    ($outcome:expr, $pattern:pat) => {{
        let outcome = $outcome;
        assert!(matches!(outcome, Err($pattern)), "{outcome:?}");
    }};
}
pub(crate) use refused;

/// Runs one query, and another before the first is committed, which has to wait for that.
pub(crate) async fn meet<A: Query, B: Query>(
    (db, store): (&TestDb, &Full),
    (first_by, first): (Call<'_>, impl Fn() -> A + Sync),
    (second_by, second): (Call<'_>, B),
) -> (Result<A::Out, Error>, Result<B::Out, Error>) {
    let ran = Notify::new();
    let one = Box::pin(store.tx(first_by, TxOptions::write("test"), async |tx| {
        let out = tx.run(first()).await?;
        ran.notify_one();
        eventually(db, WAITING, "1").await;
        Ok(out)
    }));
    let two = Box::pin(async {
        ran.notified().await;
        store.run(second_by, second).await
    });
    tokio::join!(one, two)
}
