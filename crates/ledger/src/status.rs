use std::time::Duration;

use crate::spool::Health;

/// What the shipper is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shipping {
    /// Nobody has asked for it.
    #[default]
    Detached,
    /// Everything is acknowledged, or about to be sent.
    Idle,
    /// A batch is under way.
    Sending,
    /// The place of record is away; the batch is tried again after a pause.
    Waiting,
    /// The place of record does not understand what it is sent, because it is older than this gateway. The
    /// batch is tried again after a pause, and everything waits for it.
    NotUnderstood,
    /// The disk does not give back what is next. It is read again after a pause, and everything waits for it.
    Unreadable,
    /// The place of record does not accept this gateway; see
    /// [`Ledger::resume_shipping`](crate::Ledger::resume_shipping).
    Denied,
    /// The process is ending.
    Stopped,
}

impl Shipping {
    /// The name used in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Detached => "detached",
            Self::Idle => "idle",
            Self::Sending => "sending",
            Self::Waiting => "waiting",
            Self::NotUnderstood => "not_understood",
            Self::Unreadable => "unreadable",
            Self::Denied => "denied",
            Self::Stopped => "stopped",
        }
    }

    /// What somebody has to do before facts are shipped again, if that is so.
    #[must_use]
    pub const fn remedy(self) -> Option<&'static str> {
        match self {
            Self::NotUnderstood => Some("coderd is older than this gateway: upgrade coderd first"),
            Self::Unreadable => Some("the disk does not give back what is next: see to the disk"),
            Self::Denied => Some("coderd does not accept this gateway: see to its key and version"),
            Self::Detached | Self::Idle | Self::Sending | Self::Waiting | Self::Stopped => None,
        }
    }
}

/// How a ledger is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether facts are taken, and if not, why.
    pub health: Health,
    /// What the shipper is doing.
    pub shipping: Shipping,
    /// Facts that are not acknowledged.
    pub waiting_facts: u64,
    /// Bytes of their records.
    pub waiting_bytes: u64,
    /// Age of the oldest of them; zero when the clock went back.
    pub oldest_age: Option<Duration>,
    /// Bytes of all segments on disk.
    pub disk_bytes: u64,
    /// Interceptions that have begun and not ended.
    pub open_interceptions: usize,
    /// Facts that will never be stored, since the start of the process.
    pub lost_facts: u64,
}

impl Status {
    /// Whether a request would be recorded now.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.health == Health::Writable
    }
}
