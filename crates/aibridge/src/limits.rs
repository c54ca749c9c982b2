//! What one replica takes on at most: requests at once, requests per second of one user, bytes held in
//! memory, threads that read large bodies.
//!
//! Each limit can be off. A guard that is dropped gives back what it took, so that a client that hangs up,
//! a cancelled future and a panic all release it.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use stdx::SharedRng;
use stdx::ids::UserId;

use crate::dialect::Fault;
use crate::driver::Failure;
use crate::metrics::PREFIXES;

mod memory;
mod rate;
mod slots;
mod workers;

pub(crate) use memory::{Held, Memory, NoRoom};
pub(crate) use slots::Slot;
pub(crate) use workers::{LARGE_BYTES, Workers};

use rate::Rate;
use slots::Slots;

/// The limits of one replica; 0 switches one off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Most requests under way at once, passthrough included. One counts until its last body byte was
    /// handed out.
    pub max_concurrency: u32,
    /// Requests per second and user, with as many in a burst. Passthrough does not count.
    pub rate_per_second: u32,
    /// Most bytes of request bodies, and of copies of answers, held at once.
    pub memory_max_bytes: u64,
}

impl Default for LimitSettings {
    /// No limit but 1 GiB of memory.
    fn default() -> Self {
        Self { max_concurrency: 0, rate_per_second: 0, memory_max_bytes: 1 << 30 }
    }
}

/// The limits at work; shared by all gateways of one process.
#[derive(Debug)]
pub(crate) struct Limits {
    slots: Option<Slots>,
    rate: Option<Rate>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) workers: Workers,
    pub(crate) rng: SharedRng,
}

impl Limits {
    pub(crate) fn new(settings: LimitSettings, rng: SharedRng) -> Self {
        Self {
            rng,
            slots: Slots::new(settings.max_concurrency),
            rate: Rate::new(settings.rate_per_second),
            memory: Memory::new(settings.memory_max_bytes),
            workers: Workers::new(),
        }
    }

    /// Takes a place among the requests under way; nothing when their number is not limited.
    pub(crate) fn enter(&self) -> Result<Option<Slot>, Failure> {
        let Some(slots) = &self.slots else { return Ok(None) };
        match slots.take() {
            Some(slot) => Ok(Some(slot)),
            None => Err(Failure::new(
                Fault::AtCapacity,
                "AI Gateway is currently at capacity. Please try again later.",
            )),
        }
    }

    /// Counts a request of `user`.
    pub(crate) fn count(&self, user: UserId) -> Result<(), Failure> {
        let Some(rate) = &self.rate else { return Ok(()) };
        rate.check(user).map_err(|wait| Failure {
            retry_after: Some(wait),
            ..Failure::new(Fault::RateLimited, "You've been rate limited. Please try again later.")
        })
    }
}

/// Reads the limits' state when it is scraped.
pub(crate) struct LimitsCollector(pub(crate) Arc<Limits>);

impl fmt::Debug for LimitsCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitsCollector").finish_non_exhaustive()
    }
}

impl Collector for LimitsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let held = i64::try_from(self.0.memory.held()).unwrap_or(i64::MAX);
        let slots = self.0.slots.as_ref();
        let taken = slots.map(|slots| i64::try_from(slots.taken()).unwrap_or(i64::MAX));
        for prefix in PREFIXES {
            for (name, help, value) in [
                (
                    "held_bytes",
                    "Bytes of request bodies and copies of answers in memory",
                    Some(held),
                ),
                ("slots_taken", "Requests that count towards the limit on concurrency", taken),
            ] {
                let Some(value) = value else { continue };
                let name = format!("{prefix}_{name}");
                let metric = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(metric)?;
            }
        }
        Ok(())
    }
}
