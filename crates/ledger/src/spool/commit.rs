//! Group commit: one thread syncs, everybody else waits for a position.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::Thread;
use std::time::Duration;

use crate::spool::position::Position;
use crate::spool::segment::Segment;

/// What nobody waits for becomes durable after this long at the latest.
const LAZY: Duration = Duration::from_millis(5);
/// How many times of that the thread stays half awake after the last append.
const DOZES: u32 = 20;

const AWAKE: u8 = 0;
/// Looks by itself before long; only who waits for a sync wakes it.
const DOZING: u8 = 1;
/// Every append wakes it.
const ASLEEP: u8 = 2;

/// What those who append and those who wait share with the thread that syncs.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    appended: AtomicU64,
    wanted: AtomicU64,
    sleep: AtomicU8,
    stop: AtomicBool,
    thread: OnceLock<Thread>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Counts how often the seats were emptied.
    round: u64,
    seats: Vec<Seat>,
}

#[derive(Debug)]
struct Seat {
    end: Position,
    waker: Waker,
}

/// Whether the thread goes on, and with what.
pub(crate) enum Next {
    /// Sync; somebody waits or it is time.
    Sync,
    /// Sync what is left and end.
    Stop,
}

impl Commit {
    /// Tells of an append that ends at `end`. Called in order, under the lock of the state.
    pub(crate) fn appended(&self, end: Position) {
        self.appended.store(end.bits(), Ordering::SeqCst);
    }

    /// Wakes the thread after [`Self::appended`], if that is needed.
    pub(crate) fn nudge(&self) {
        if self.sleep.load(Ordering::SeqCst) == ASLEEP {
            self.unpark();
        }
    }

    /// Asks the thread to end after a last sync.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.unpark();
    }

    fn want(&self, end: Position) {
        self.wanted.fetch_max(end.bits(), Ordering::SeqCst);
        if self.sleep.load(Ordering::SeqCst) != AWAKE {
            self.unpark();
        }
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Names the thread that calls [`Self::next`].
    pub(crate) fn attach(&self) {
        let _ = self.thread.set(std::thread::current());
    }

    /// Waits until something behind `done` has to be synced.
    pub(crate) fn next(&self, done: Position) -> Next {
        let done = done.bits();
        let mut dozes = 0;
        loop {
            if self.stop.load(Ordering::SeqCst) {
                return Next::Stop;
            }
            if self.wanted.load(Ordering::SeqCst) > done {
                return Next::Sync;
            }
            // Set before looking once more, so that whoever comes in between sees it and wakes us.
            let rest = if dozes < DOZES { DOZING } else { ASLEEP };
            self.sleep.store(rest, Ordering::SeqCst);
            let idle = self.appended.load(Ordering::SeqCst) <= done;
            if self.wanted.load(Ordering::SeqCst) <= done && !self.stop.load(Ordering::SeqCst) {
                if rest == DOZING {
                    std::thread::park_timeout(LAZY);
                } else if idle {
                    std::thread::park();
                }
            }
            self.sleep.store(AWAKE, Ordering::SeqCst);
            dozes += 1;
            if !idle && self.wanted.load(Ordering::SeqCst) <= done {
                return Next::Sync;
            }
        }
    }

    /// The same for a policy without waiting: at most one sync in `pause`.
    pub(crate) fn next_in(&self, pause: Duration) -> Next {
        if !self.stop.load(Ordering::SeqCst) {
            std::thread::park_timeout(pause);
        }
        if self.stop.load(Ordering::SeqCst) { Next::Stop } else { Next::Sync }
    }

    /// Wakes those whose batch ends at or before `end`. `wakers` is room to work in.
    pub(crate) fn wake(&self, end: Position, wakers: &mut Vec<Waker>) -> usize {
        {
            let mut waiting = self.waiting();
            waiting.round += 1;
            let seats = &mut waiting.seats;
            // Most are done, so those that are not move to the front.
            let mut at = 0;
            while let Some(seat) = seats.get(at) {
                if seat.end <= end {
                    wakers.push(seats.swap_remove(at).waker);
                } else {
                    at += 1;
                }
            }
        }
        let woken = wakers.len();
        for waker in wakers.drain(..) {
            waker.wake();
        }
        woken
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resolves when a record is durable (`true`) or known never to be (`false`).
#[derive(Debug)]
pub(crate) struct Synced {
    commit: Arc<Commit>,
    segment: Arc<Segment>,
    end: u32,
    /// Round in which this took a seat, and which.
    seat: Option<(u64, usize)>,
}

impl Synced {
    pub(crate) const fn new(commit: Arc<Commit>, segment: Arc<Segment>, end: u32) -> Self {
        Self { commit, segment, end, seat: None }
    }
}

impl Future for Synced {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let this = &mut *self;
        if let Some(outcome) = this.segment.settled(this.end) {
            return Poll::Ready(outcome);
        }
        let end = Position::new(this.segment.number, this.end);
        {
            let mut waiting = this.commit.waiting();
            // The thread marks first and empties the seats then: who is not seated by now sees the mark.
            if let Some(outcome) = this.segment.settled(this.end) {
                return Poll::Ready(outcome);
            }
            let held = this.seat.filter(|(round, _)| *round == waiting.round);
            if let Some(seat) = held.and_then(|(_, at)| waiting.seats.get_mut(at)) {
                seat.waker.clone_from(cx.waker());
                return Poll::Pending;
            }
            this.seat = Some((waiting.round, waiting.seats.len()));
            waiting.seats.push(Seat { end, waker: cx.waker().clone() });
        }
        this.commit.want(end);
        Poll::Pending
    }
}
