//! Leaves a provider alone for a while after it failed repeatedly, so that clients get a quick answer and
//! the provider a chance to recover. One circuit per provider, route and model.
//!
//! A circuit is *closed* as long as all is well. Failures in a row open it; then nothing is sent until its
//! time has passed. The next requests try it (*half-open*): if all of them succeed it closes, if one fails
//! it opens again.
//!
//! Only circuits that are not well are remembered, so requests for models that nobody knows leave no trace:
//! a provider that says so is well.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::facts::ErrorType;
use crate::metrics::{Metrics, Subject};

mod circuit;

use circuit::{Admission, Circuit, State};

/// Circuits remembered at most; failures of further ones are not counted.
const CIRCUITS_MAX: usize = 1024;

/// When circuits open and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open a circuit.
    pub failure_threshold: u32,
    /// Failures count together only within this span.
    pub interval: Duration,
    /// How long an open circuit stays open before it is tried.
    pub timeout: Duration,
    /// Most requests that try it, all of which must succeed.
    pub max_requests: u32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failure_threshold: 5,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            max_requests: 3,
        }
    }
}

/// What an exchange says about its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It works, also if it refused the request.
    Well,
    /// It is overloaded, cannot be reached, is too slow or broke off.
    Ill,
    /// Nothing: the client left, nothing was sent, or the trouble was ours or the caller's.
    Nothing,
}

impl Verdict {
    /// Of the status of an answer that is not a success. A rate limit says something about the deployment's
    /// own keys only.
    pub(crate) fn of_status(status: StatusCode, own_key: bool) -> Self {
        match status.as_u16() {
            429 if own_key => Self::Nothing,
            429 | 503 | 504 | 529 => Self::Ill,
            _ => Self::Well,
        }
    }

    /// Of what the record says about an answer that began well.
    pub(crate) const fn of_record(error: Option<ErrorType>) -> Self {
        match error {
            None | Some(ErrorType::BadRequest | ErrorType::Unauthorized) => Self::Well,
            Some(
                ErrorType::RateLimited
                | ErrorType::Overloaded
                | ErrorType::ServerError
                | ErrorType::Timeout,
            ) => Self::Ill,
            Some(ErrorType::ClientGone | ErrorType::Unknown) => Self::Nothing,
        }
    }
}

/// All circuits of one process.
pub(crate) struct Breakers {
    settings: BreakerSettings,
    metrics: Arc<Metrics>,
    state: RandomState,
    circuits: Mutex<HashMap<u64, (Subject, Circuit)>>,
    /// How many circuits there are, so that nobody need ask while all is well.
    troubled: AtomicUsize,
}

impl fmt::Debug for Breakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breakers").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Breakers {
    pub(crate) fn new(settings: BreakerSettings, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            settings,
            metrics,
            state: RandomState::new(),
            circuits: Mutex::default(),
            troubled: AtomicUsize::new(0),
        })
    }

    /// Asks whether a request may be sent. If not, the error says when to come back.
    pub(crate) fn admit(self: &Arc<Self>, subject: &Subject) -> Result<Ticket, Duration> {
        let ticket = |probe| Ticket {
            breakers: Arc::clone(self),
            subject: Arc::clone(subject),
            probe,
            settled: false,
        };
        if self.troubled.load(Ordering::Relaxed) == 0 {
            return Ok(ticket(None));
        }
        let now = Instant::now();
        let mut circuits = self.lock();
        let Some((known, circuit)) = circuits.get_mut(&self.key(subject)) else {
            return Ok(ticket(None));
        };
        if !same(known, subject) {
            return Ok(ticket(None));
        }
        let before = circuit.state();
        let admission = circuit.admit(&self.settings, now);
        let after = circuit.state();
        drop(circuits);
        self.tell(subject, before, after);
        match admission {
            Admission::Pass => Ok(ticket(None)),
            Admission::Probe(round) => Ok(ticket(Some(round))),
            Admission::Refuse(wait) => {
                self.metrics.breaker_rejected(subject);
                Err(wait)
            }
        }
    }

    fn settle(&self, subject: &Subject, probe: Option<u64>, verdict: Verdict) {
        if verdict != Verdict::Ill && self.troubled.load(Ordering::Relaxed) == 0 {
            return;
        }
        let now = Instant::now();
        let key = self.key(subject);
        let mut circuits = self.lock();
        if !circuits.contains_key(&key) {
            if verdict != Verdict::Ill {
                return;
            }
            self.sweep(&mut circuits, now);
            if circuits.len() >= CIRCUITS_MAX {
                return;
            }
            circuits.insert(key, (Arc::clone(subject), Circuit::new(now)));
        }
        let Some((known, circuit)) = circuits.get_mut(&key) else { return };
        if !same(known, subject) {
            return;
        }
        let before = circuit.state();
        circuit.settle(&self.settings, probe, verdict, now);
        let after = circuit.state();
        if circuit.is_well() {
            circuits.remove(&key);
        }
        self.troubled.store(circuits.len(), Ordering::Relaxed);
        drop(circuits);
        self.tell(subject, before, after);
    }

    /// Forgets circuits about which nobody has asked for long.
    fn sweep(&self, circuits: &mut HashMap<u64, (Subject, Circuit)>, now: Instant) {
        circuits.retain(|_, (subject, circuit)| {
            let keep = !circuit.is_forgotten(&self.settings, now);
            if !keep && circuit.state() != State::Closed {
                self.metrics.breaker_state(subject, 0.0);
            }
            keep
        });
    }

    /// Tells operators of a change.
    fn tell(&self, subject: &Subject, from: State, to: State) {
        if from == to {
            return;
        }
        self.metrics.breaker_state(subject, to.gauge());
        if to == State::Open {
            self.metrics.breaker_tripped(subject);
        }
        tracing::info!(
            provider = &*subject.provider,
            endpoint = subject.route,
            model = &*subject.model,
            from = from.as_str(),
            to = to.as_str(),
            "circuit breaker changed its state"
        );
    }

    fn key(&self, subject: &Subject) -> u64 {
        self.state.hash_one((&*subject.provider, subject.route, subject.asked_model()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, (Subject, Circuit)>> {
        self.circuits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two requests share a circuit; their clients and users do not matter.
fn same(one: &Subject, other: &Subject) -> bool {
    one.provider == other.provider
        && one.route == other.route
        && one.asked_model() == other.asked_model()
}

/// A request that was let through. It reports what became of it, or, dropped before, that nothing did.
#[derive(Debug)]
pub(crate) struct Ticket {
    breakers: Arc<Breakers>,
    subject: Subject,
    /// It tries a half-open circuit, in this round.
    probe: Option<u64>,
    settled: bool,
}

impl Ticket {
    /// The first byte of a good answer is there. That is enough for a circuit that is being tried: nobody
    /// should wait for the end of a long stream.
    pub(crate) fn begun_well(&mut self) {
        if self.probe.is_some() {
            self.settle(Verdict::Well);
        }
    }

    /// Reports the end. Only the first report counts.
    pub(crate) fn settle(&mut self, verdict: Verdict) {
        if !std::mem::replace(&mut self.settled, true) {
            self.breakers.settle(&self.subject, self.probe, verdict);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.settle(Verdict::Nothing);
    }
}
