//! A database that is away for a while.

use anyhow::{Context as _, Result};

use crate::TestDb;

/// Nobody gets to the database until [`Outage::end`].
#[derive(Debug)]
pub struct Outage {
    name: String,
    /// The same server, seen from elsewhere.
    elsewhere: TestDb,
}

impl Outage {
    /// Cuts all connections off and lets nobody in.
    ///
    /// # Errors
    /// A statement fails.
    pub async fn begin(db: &TestDb) -> Result<Self> {
        let elsewhere = TestDb::empty().await;
        let rows = db.sql("SELECT current_database()").await?;
        let name = rows.into_iter().flatten().flatten().next().context("a nameless database")?;
        elsewhere.sql(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await?;
        let cut = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        );
        elsewhere.sql(&cut).await?;
        Ok(Self { name, elsewhere })
    }

    /// Lets everybody in again.
    ///
    /// # Errors
    /// The statement fails.
    pub async fn end(self) -> Result<()> {
        let allow = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", self.name);
        self.elsewhere.sql(&allow).await?;
        Ok(())
    }
}
