use std::fmt;
use std::time::Duration;

use stdx::Backoff;

use crate::ledger::Desk;

/// Pauses between tries.
const FIRST: Duration = Duration::from_millis(50);
const MAX: Duration = Duration::from_secs(5);
/// Reasons of one outage that are logged. One that tells another number each time must not fill the log.
const REASONS_MAX: usize = 16;

/// Tries of one thing that fail one after the other.
pub(super) struct Outage {
    backoff: Backoff,
    /// Reasons that were logged.
    told: Vec<String>,
}

impl Default for Outage {
    fn default() -> Self {
        Self { backoff: Backoff::new(FIRST, MAX), told: Vec::new() }
    }
}

impl Outage {
    /// Notes why it failed. True if that was not so before in this outage, and is to be logged.
    pub(super) fn is_news(&mut self, reason: &impl fmt::Display) -> bool {
        let reason = reason.to_string();
        let news = self.told.len() < REASONS_MAX && !self.told.contains(&reason);
        if news {
            self.told.push(reason);
        }
        news
    }

    /// How long to wait for the next try: between half and all of a pause, so that many gateways do not come
    /// back at once.
    pub(super) fn pause(&mut self, desk: &Desk) -> Duration {
        let mut byte = [0];
        desk.rng.fill(&mut byte);
        let pause = self.backoff.pause();
        pause / 2 + pause * u32::from(byte[0]) / 512
    }

    /// It succeeded. True if it had failed before.
    pub(super) fn end(&mut self) -> bool {
        let failed = !self.told.is_empty();
        self.told.clear();
        self.backoff.reset();
        failed
    }
}
