use std::borrow::Cow;
use std::time::Duration;

use telemetry::{DuplicateMetric, Registry};

telemetry::metrics! {
    /// What the store counts. Labels are names of queries and transactions: constants of the program.
    pub(crate) struct Metrics {
        /// Time of a query, waiting for a connection included.
        pub queries: Histogram["coderd_db_query_latencies_seconds"] {
            query: Cow<'static, str>,
        } buckets = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0],
        /// Queries that ended in an error, refusals included.
        pub failures: Counter["coderd_db_query_failures_total"] {
            query: Cow<'static, str>,
        },
        /// Time of a transaction.
        pub transactions: Histogram["coderd_db_tx_duration_seconds"] {
            tx_id: Cow<'static, str>,
            success: bool,
        } buckets = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0],
    }
}

impl Metrics {
    pub(crate) fn new(registry: &mut Registry) -> Result<Self, DuplicateMetric> {
        Self::register(registry)
    }

    pub(crate) fn query(&self, query: &'static str, took: Duration, success: bool) {
        self.queries.observe_duration(Cow::Borrowed(query), took);
        if !success {
            self.failures.inc(Cow::Borrowed(query));
        }
    }

    pub(crate) fn transaction(&self, tx_id: &'static str, took: Duration, success: bool) {
        self.transactions.observe_duration((Cow::Borrowed(tx_id), success), took);
    }
}
