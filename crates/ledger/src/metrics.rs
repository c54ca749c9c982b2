use crate::spool::Health;
use crate::status::Shipping;

telemetry::label! {
    /// Why facts will never be stored.
    pub(crate) enum Lost {
        /// There was no room and the policy let the request pass.
        FullPassed => "full_passed",
        /// There was room for the usage of a request, and not for its texts.
        Shed => "shed",
        /// The place of record refused them.
        Refused => "refused",
        /// The disk did not give them back as they were.
        Corrupt => "corrupt",
        /// The disk failed for too long to keep the usage of requests that ended meanwhile.
        Unwritten => "unwritten",
    }
}

telemetry::label! {
    /// What a file is used for.
    pub(crate) enum Use {
        /// Appended to.
        Active => "active",
        /// Full and not acknowledged.
        Waiting => "waiting",
        /// Acknowledged, to be used again.
        Kept => "kept",
        /// Prepared.
        Blank => "blank",
    }
}

telemetry::label! {
    /// Whether facts are taken. One of them is 1.
    pub(crate) enum State {
        Writable => "writable",
        Full => "full",
        DiskFull => "disk_full",
        ReadOnly => "read_only",
        Failing => "failing",
        Closed => "closed",
    }
}

telemetry::label! {
    /// What the shipper is doing. One of them is 1.
    pub(crate) enum Doing {
        Detached => "detached",
        Idle => "idle",
        Sending => "sending",
        Waiting => "waiting",
        NotUnderstood => "not_understood",
        Unreadable => "unreadable",
        Denied => "denied",
        Stopped => "stopped",
    }
}

impl From<Shipping> for Doing {
    fn from(shipping: Shipping) -> Self {
        match shipping {
            Shipping::Detached => Self::Detached,
            Shipping::Idle => Self::Idle,
            Shipping::Sending => Self::Sending,
            Shipping::Waiting => Self::Waiting,
            Shipping::NotUnderstood => Self::NotUnderstood,
            Shipping::Unreadable => Self::Unreadable,
            Shipping::Denied => Self::Denied,
            Shipping::Stopped => Self::Stopped,
        }
    }
}

impl From<Health> for State {
    fn from(health: Health) -> Self {
        match health {
            Health::Writable => Self::Writable,
            Health::Full => Self::Full,
            Health::DiskFull => Self::DiskFull,
            Health::ReadOnly => Self::ReadOnly,
            Health::Failing => Self::Failing,
            Health::Closed => Self::Closed,
        }
    }
}

telemetry::metrics! {
    /// What the ledger counts.
    pub(crate) struct Metrics {
        /// Facts that are not acknowledged.
        pub(crate) waiting_facts: Gauge["coder_ai_gateway_spool_waiting_facts"] {},
        /// Bytes of records that are not acknowledged.
        pub(crate) waiting_bytes: Gauge["coder_ai_gateway_spool_waiting_bytes"] {},
        /// Age of the oldest fact that is not acknowledged.
        pub(crate) oldest: Gauge["coder_ai_gateway_spool_oldest_seconds"] {},
        /// Bytes of all segments on disk.
        pub(crate) disk_bytes: Gauge["coder_ai_gateway_spool_disk_bytes"] {},
        /// Files of segments.
        pub(crate) segments: Gauge["coder_ai_gateway_spool_segments"] { used_as: Use },
        /// Interceptions that have begun and not ended.
        pub(crate) open: Gauge["coder_ai_gateway_spool_open_interceptions"] {},
        /// Whether facts are taken.
        pub(crate) state: Gauge["coder_ai_gateway_spool_state"] { state: State },
        /// What the shipper is doing: facts are shipped, or why not.
        pub(crate) shipping: Gauge["coder_ai_gateway_spool_shipping"] { state: Doing },
        /// Batches that were appended.
        pub(crate) appends: Counter["coder_ai_gateway_spool_appends_total"] {},
        /// Batches that were refused because there was no room.
        pub(crate) refusals: Counter["coder_ai_gateway_spool_refusals_total"] {},
        /// Syncs of the disk.
        pub(crate) syncs: Counter["coder_ai_gateway_spool_syncs_total"] { failed: bool },
        /// Time one sync took.
        pub(crate) sync_seconds: Histogram["coder_ai_gateway_spool_sync_seconds"] {}
            buckets = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5],
        /// Facts of one batch that was shipped.
        pub(crate) batch_rows: Histogram["coder_ai_gateway_spool_batch_rows"] {}
            buckets = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0],
        /// Age of the oldest fact of a batch when it was acknowledged.
        pub(crate) lag: Histogram["coder_ai_gateway_spool_lag_seconds"] {}
            buckets = [0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 300.0, 3600.0],
        /// Facts that were stored.
        pub(crate) shipped: Counter["coder_ai_gateway_spool_shipped_facts_total"] {},
        /// Tries to ship a batch that failed and were repeated.
        pub(crate) retries: Counter["coder_ai_gateway_spool_retries_total"] {},
        /// Tries to read what is to be shipped next that failed and are repeated.
        pub(crate) read_errors: Counter["coder_ai_gateway_spool_read_errors_total"] {},
        /// Facts that will never be stored.
        pub(crate) lost: Counter["coder_ai_gateway_spool_lost_facts_total"] { reason: Lost },
        /// Bytes on disk that were no records and should have been.
        pub(crate) damaged: Counter["coder_ai_gateway_spool_damaged_bytes_total"] {},
        /// Appends that the end of a process had cut short, found at the next start.
        pub(crate) torn: Counter["coder_ai_gateway_spool_torn_appends_total"] {},
    }
}
