//! A database that is away for a while.

use testkit::TestDb;

/// Nobody gets to the database until [`Outage::end`].
pub(crate) struct Outage {
    name: String,
    /// The same server, seen from elsewhere.
    elsewhere: TestDb,
}

impl Outage {
    /// Cuts all connections off.
    pub(crate) async fn begin(db: &TestDb) -> Self {
        let elsewhere = TestDb::empty().await;
        let name = db.sql("SELECT current_database()").await.unwrap()[0][0].clone().unwrap();
        elsewhere.sql(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await.unwrap();
        let cut = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        );
        elsewhere.sql(&cut).await.unwrap();
        Self { name, elsewhere }
    }

    pub(crate) async fn end(self) {
        let allow = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", self.name);
        self.elsewhere.sql(&allow).await.unwrap();
    }
}
