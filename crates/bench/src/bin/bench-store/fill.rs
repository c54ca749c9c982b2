//! Many rows.

use std::time::Instant;

use anyhow::{Context as _, Result};
use stdx::Secret;
use store::embed::diesel_async::{
    AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _,
};
use testkit::volume;

/// Rows of one transaction.
const STEP: u32 = 250_000;

/// People, and so many audit rows and interceptions.
pub(crate) async fn fill(url: &Secret<String>, rows: u32) -> Result<()> {
    let began = Instant::now();
    let mut conn = dial(url).await?;
    conn.batch_execute(&volume::people()).await.context("cannot insert people")?;
    // Two tables at a time, for two cores.
    tokio::try_join!(
        grow(url, rows, "audit rows", volume::audit_logs),
        grow(url, rows, "interceptions", volume::interceptions)
    )?;
    conn.batch_execute("VACUUM ANALYZE").await.context("cannot vacuum")?;
    eprintln!("filled in {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

async fn grow(
    url: &Secret<String>,
    rows: u32,
    name: &str,
    sql: fn(u32, u32) -> String,
) -> Result<()> {
    let mut conn = dial(url).await?;
    conn.batch_execute("SET synchronous_commit = off").await?;
    let began = Instant::now();
    let mut done = 0;
    while done < rows {
        let next = (done + STEP).min(rows);
        conn.batch_execute(&sql(done, next))
            .await
            .with_context(|| format!("cannot insert {name}"))?;
        done = next;
        if done % (4 * STEP) == 0 || done == rows {
            eprintln!("{done} {name} after {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

/// A connection past the store.
pub(crate) async fn dial(url: &Secret<String>) -> Result<AsyncPgConnection> {
    AsyncPgConnection::establish(url.expose()).await.context("cannot connect")
}
