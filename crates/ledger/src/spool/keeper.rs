//! The thread that prepares files before they are needed.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use stdx::Backoff;

use crate::spool::cursor;
use crate::spool::folder::Fill;
use crate::spool::health::Health;
use crate::spool::state::State;
use crate::spool::{Core, Observer};

const TICK: Duration = Duration::from_secs(1);
/// Pauses between tries to make a file when that fails.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Files that are kept ready.
const READY: usize = 2;
/// Acknowledged segments beyond those that are kept, above which files are removed.
const SURPLUS: usize = 2;

/// Wakes the thread.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    wish: Mutex<Wish>,
    told: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Wish {
    file: bool,
    stop: bool,
}

impl Keeper {
    /// Files are needed.
    pub(crate) fn nudge(&self) {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner).file = true;
        self.told.notify_one();
    }

    pub(crate) fn stop(&self) {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.told.notify_one();
    }

    /// Waits for a wish, at most until `until`.
    fn wait(&self, until: Instant) -> Wish {
        let mut wish = self.wish.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if wish.file || wish.stop || left.is_zero() {
                let seen = *wish;
                wish.file = false;
                return seen;
            }
            wish = self.told.wait_timeout(wish, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

pub(crate) fn run<T>(core: &Core<T>, observer: &dyn Observer) {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
    let mut next_try = Instant::now();
    let mut next_tick = Instant::now() + TICK;
    loop {
        let now = Instant::now();
        if now >= next_try && core.state().needs_keeper() {
            match core.prepare() {
                Ok(()) => backoff.reset(),
                Err(_) => next_try = now + backoff.pause(),
            }
        }
        if now >= next_tick {
            core.tidy();
            observer.tick();
            next_tick = now + TICK;
        }
        // Without another wish: more to do now, or after a pause.
        let until = if core.state().needs_keeper() { next_try.min(next_tick) } else { next_tick };
        if core.keeper.wait(until).stop {
            observer.tick();
            return;
        }
    }
}

impl<T> State<T> {
    /// Whether a file should be prepared.
    pub(crate) fn wants_file(&self) -> bool {
        let ready = self.blank.len() + self.kept.len().saturating_sub(self.plan.kept);
        ready < READY && self.may_grow(self.plan.segment_bytes)
    }

    /// Whether the thread should be woken for it. While the disk fails it comes by itself.
    pub(crate) fn should_nudge(&self) -> bool {
        self.disk.is_none() && self.needs_keeper()
    }

    fn needs_keeper(&self) -> bool {
        !self.closed && (self.poisoned || self.wants_file())
    }
}

impl<T> Core<T> {
    /// Makes one file, off the lock. One that could be made and synced also shows that the disk is well.
    pub(crate) fn prepare(&self) -> std::io::Result<()> {
        let (folder, index, bytes) = {
            let mut state = self.state();
            // With the bound reached, an old file has to prove it.
            let bytes = state.plan.segment_bytes;
            if state.poisoned && !state.can_grow(bytes) && !state.give_up_one() {
                return Err(std::io::Error::other("no file can be replaced"));
            }
            let index = state.next_index;
            state.next_index = index.saturating_add(1);
            (std::sync::Arc::clone(&state.folder), index, state.plan.segment_bytes)
        };
        let made = folder.create(index, bytes, Fill::Zeros);
        let mut state = self.state();
        let outcome = match made {
            Ok(slot) => {
                state.add_blank(slot);
                state.poisoned = false;
                Ok(())
            }
            Err(error) => {
                let health = Health::of(&error);
                if state.disk.replace(health) != Some(health) {
                    let dir = folder.path().display();
                    tracing::warn!(dir = %dir, error = %error, "cannot make a file of the spool");
                }
                Err(error)
            }
        };
        state.tell();
        outcome
    }

    /// Makes the cursor durable, so that files behind it can be used again, and gives back what a burst took.
    pub(crate) fn tidy(&self) {
        let (file, cursor, behind) = {
            let state = self.state();
            let synced = state.cursor_synced >= state.cursor.position;
            let behind = state.cursor_file.is_behind();
            let file = (!synced && !behind).then(|| state.cursor_file.file());
            (file, state.cursor.position, behind)
        };
        let synced = file.is_some_and(|file| cursor::sync(&file).is_ok());
        let mut state = self.state();
        if synced {
            state.cursor_synced = state.cursor_synced.max(cursor);
        }
        if behind && let Err(error) = state.sync_cursor() {
            tracing::debug!(error = %error, "the cursor of the spool cannot be saved yet");
        }
        while state.spent.front().is_some_and(|(number, _)| state.is_passed_for_good(*number))
            && let Some((_, slot)) = state.spent.pop_front()
        {
            state.discard(&slot);
        }
        if state.kept.len() > state.plan.kept + SURPLUS
            && state.kept.front().is_some_and(|(number, _)| state.is_passed_for_good(*number))
            && let Some((_, slot)) = state.kept.pop_front()
        {
            state.discard(&slot);
        }
        state.reopen();
    }
}
