//! Where the gateway's facts go.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aibridge::facts::Fact;
use aibridge::ports::{Durable, RecordError, Recorder};
use stdx::SharedClock;
use stdx::ids::InterceptionId;

use crate::ledger::Ledger;
use crate::metrics::Lost;
use crate::payload;
use crate::settings::FullPolicy;
use crate::spool::{Class, Core, Frame, Refusal, Taken};

/// Interceptions without a start of which is known that they have none. Beyond that their later facts are
/// recorded, and refused where they are stored.
const STRAYS_MAX: usize = 100_000;
/// Ends that wait in memory for a disk that fails; those beyond are lost.
const LATE_MAX: usize = 1_000;

thread_local! {
    /// Encoding needs a buffer; each thread has one and uses it again.
    static FRAME: RefCell<Frame> = RefCell::default();
}

/// Counts of losses by reason.
#[derive(Debug, Default)]
pub(crate) struct Losses([AtomicU64; 5]);

impl Losses {
    pub(crate) fn add(&self, reason: Lost, facts: u64) {
        if let Some(count) = self.0.get(reason as usize) {
            // What a damaged disk claims may be as large as it likes.
            let add = |count: u64| Some(count.saturating_add(facts));
            let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
    }

    pub(crate) fn get(&self, reason: Lost) -> u64 {
        self.0.get(reason as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub(crate) fn all(&self) -> u64 {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        counts.fold(0, u64::saturating_add)
    }
}

/// Encodes and appends, and decides what becomes of facts without room.
pub(crate) struct Intake {
    core: Arc<Core<Vec<Fact>>>,
    full: FullPolicy,
    clock: SharedClock,
    pub(crate) losses: Losses,
    pub(crate) refusals: AtomicU64,
    strays: Mutex<HashSet<InterceptionId>>,
    strays_count: AtomicUsize,
    /// Usage and ends of open interceptions that could not be written, oldest first.
    late: Mutex<VecDeque<Vec<Fact>>>,
}

impl Intake {
    pub(crate) fn new(core: Arc<Core<Vec<Fact>>>, full: FullPolicy, clock: SharedClock) -> Self {
        Self {
            core,
            full,
            clock,
            losses: Losses::default(),
            refusals: AtomicU64::new(0),
            strays: Mutex::default(),
            strays_count: AtomicUsize::new(0),
            late: Mutex::default(),
        }
    }

    /// Takes a batch of one interception or many.
    pub(crate) fn append(&self, facts: Vec<Fact>) -> Result<Durable, RecordError> {
        let facts = self.without_strays(facts);
        if facts.is_empty() {
            return Ok(Durable::done());
        }
        match self.write(facts, Class::Ordinary) {
            Ok(durable) => Ok(durable),
            Err((refusal, facts)) => self.without_room(refusal, facts),
        }
    }

    /// Encodes and writes.
    pub(crate) fn write(
        &self,
        facts: Vec<Fact>,
        class: Class,
    ) -> Result<Durable, (Refusal, Vec<Fact>)> {
        FRAME.with_borrow_mut(|frame| {
            let at = self.clock.now();
            let at_micros = at.unix_timestamp() * 1_000_000 + i64::from(at.microsecond());
            if !payload::encode(frame, &facts, at_micros) {
                return Err((Refusal::TooLarge, facts));
            }
            let taken = self.core.append(frame, class, facts)?;
            Ok(durable(taken))
        })
    }

    /// The end of an interception whose start was taken has room reserved for its usage, whatever else
    /// there is no room for.
    fn without_room(&self, refusal: Refusal, facts: Vec<Fact>) -> Result<Durable, RecordError> {
        if refusal == Refusal::Closed {
            return Err(RecordError::Closed);
        }
        let reserved = facts.iter().any(|fact| match fact {
            Fact::End(end) => self.core.is_open(end.interception.uuid().as_u128()),
            _ => false,
        });
        if !reserved {
            return self.refuse(&facts);
        }
        let (usage, texts): (Vec<_>, Vec<_>) =
            facts.into_iter().partition(|fact| matches!(fact, Fact::Tokens(_) | Fact::End(_)));
        match self.write(usage, Class::Reserved) {
            Ok(durable) => {
                self.losses.add(Lost::Shed, texts.len() as u64);
                Ok(durable)
            }
            Err((refusal, usage)) => {
                self.refusals.fetch_add(1, Ordering::Relaxed);
                self.losses.add(Lost::Shed, texts.len() as u64);
                self.defer(refusal, usage);
                match self.full {
                    FullPolicy::Refuse => Err(RecordError::Full),
                    FullPolicy::Pass => Ok(Durable::done()),
                }
            }
        }
    }

    /// Keeps the end of an open interception for [`Self::write_late`]: nobody else will send it again.
    fn defer(&self, refusal: Refusal, usage: Vec<Fact>) {
        let mut late = self.late();
        if matches!(refusal, Refusal::NoRoom(_)) && late.len() < LATE_MAX {
            late.push_back(usage);
        } else {
            self.losses.add(Lost::Unwritten, usage.len() as u64);
        }
    }

    /// Writes what had to wait, as far as the disk takes it by now. What is left when the spool is closed is
    /// lost.
    pub(crate) fn write_late(&self) {
        let mut late = self.late();
        while let Some(usage) = late.pop_front() {
            match self.write(usage, Class::Reserved) {
                Ok(_) => {}
                Err((Refusal::NoRoom(_), usage)) => {
                    late.push_front(usage);
                    return;
                }
                Err((Refusal::Closed | Refusal::TooLarge, usage)) => {
                    self.losses.add(Lost::Unwritten, usage.len() as u64);
                }
            }
        }
    }

    fn late(&self) -> MutexGuard<'_, VecDeque<Vec<Fact>>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, facts: &[Fact]) -> Result<Durable, RecordError> {
        self.refusals.fetch_add(1, Ordering::Relaxed);
        if self.full == FullPolicy::Refuse {
            return Err(RecordError::Full);
        }
        self.losses.add(Lost::FullPassed, facts.len() as u64);
        let mut strays = self.strays();
        for fact in facts {
            match fact {
                Fact::Start(start) if strays.len() < STRAYS_MAX => {
                    strays.insert(start.id);
                }
                Fact::End(end) => {
                    strays.remove(&end.interception);
                }
                _ => {}
            }
        }
        self.strays_count.store(strays.len(), Ordering::Relaxed);
        Ok(Durable::done())
    }

    /// Without facts about interceptions whose start was let pass: nothing could be made of them.
    fn without_strays(&self, facts: Vec<Fact>) -> Vec<Fact> {
        if self.strays_count.load(Ordering::Relaxed) == 0 {
            return facts;
        }
        let mut strays = self.strays();
        let (lost, facts): (Vec<_>, Vec<_>) = facts.into_iter().partition(|fact| {
            !matches!(fact, Fact::Start(_)) && strays.contains(&fact.interception())
        });
        for fact in &lost {
            if let Fact::End(end) = fact {
                strays.remove(&end.interception);
            }
        }
        self.strays_count.store(strays.len(), Ordering::Relaxed);
        self.losses.add(Lost::FullPassed, lost.len() as u64);
        facts
    }

    fn strays(&self) -> MutexGuard<'_, HashSet<InterceptionId>> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn durable(taken: Taken) -> Durable {
    match taken.synced {
        None => Durable::done(),
        Some(synced) => {
            Durable::later(
                async move { if synced.await { Ok(()) } else { Err(RecordError::Closed) } },
            )
        }
    }
}

impl Recorder for Ledger {
    fn append(&self, facts: Vec<Fact>) -> Result<Durable, RecordError> {
        self.intake().append(facts)
    }
}
