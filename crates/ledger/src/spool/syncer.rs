//! The thread that syncs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::settings::SyncPolicy;
use crate::spool::commit::Next;
use crate::spool::position::Position;
use crate::spool::segment::Segment;
use crate::spool::{Core, Observer};

/// How often the disk gets what is not waited for.
const OS_PAUSE: Duration = Duration::from_secs(1);
/// With so many waiting for one sync it pays to let more of them gather for the next.
const MANY: usize = 4;
/// Time from the end of one sync to the beginning of the next, when many wait.
const GATHER: Duration = Duration::from_micros(200);

pub(crate) fn run<T>(core: &Core<T>, observer: &dyn Observer) {
    core.commit.attach();
    let mut done = Position::default();
    let mut wakers = Vec::new();
    let mut ended = Instant::now();
    let mut woken = 0;
    loop {
        let next = match core.sync {
            SyncPolicy::Strict => core.commit.next(done),
            SyncPolicy::Os => core.commit.next_in(OS_PAUSE),
        };
        let last = matches!(next, Next::Stop);
        if !last && woken >= MANY {
            std::thread::sleep(GATHER.saturating_sub(ended.elapsed()));
        }
        let began = Instant::now();
        let (target, dirty, names) = core.to_sync();
        if target > done {
            let failed = sync(core, &dirty, names);
            observer.synced(began.elapsed(), failed);
            done = target;
            core.horizon.fetch_max(target.bits(), Ordering::AcqRel);
            core.arrived.notify_one();
            woken = core.commit.wake(target, &mut wakers);
        }
        ended = Instant::now();
        if last {
            return;
        }
    }
}

/// Syncs segments up to their ends. True if one of them could not be.
fn sync<T>(core: &Core<T>, dirty: &[(Arc<Segment>, u32)], names: bool) -> bool {
    let mut failed = false;
    if names && let Err(error) = core.sync_names() {
        tracing::error!(error = %error, "cannot sync the directory of the spool");
        core.state().names_unsynced = true;
        failed = true;
    }
    for (segment, end) in dirty {
        if segment.failed() {
            continue;
        }
        // A file whose name may be lost is not durable, however well it is synced.
        if failed {
            segment.fail();
        } else if let Err(error) = segment.sync(*end) {
            tracing::error!(error = %error, segment = segment.number, "cannot sync the spool");
            failed = true;
        }
    }
    if failed {
        core.distrust(dirty);
    }
    failed
}

impl<T> Core<T> {
    /// What has to be synced, and up to which position that is everything.
    fn to_sync(&self) -> (Position, Vec<(Arc<Segment>, u32)>, bool) {
        let mut state = self.state();
        let names = std::mem::take(&mut state.names_unsynced);
        let mut dirty: Vec<_> = std::mem::take(&mut state.unsynced)
            .into_iter()
            .map(|segment| {
                let end = segment.end();
                (segment, end)
            })
            .collect();
        let active = state.active.as_ref().map(|active| Arc::clone(&active.segment));
        dirty.extend(active.map(|segment| {
            let end = segment.end();
            (segment, end)
        }));
        (state.last, dirty, names)
    }

    fn sync_names(&self) -> std::io::Result<()> {
        let folder = Arc::clone(&self.state().folder);
        folder.sync()
    }

    /// A file could not be synced: nothing goes into it any more, and what was not durable never will be.
    fn distrust(&self, dirty: &[(Arc<Segment>, u32)]) {
        let mut state = self.state();
        let bad = |slot: &Arc<crate::spool::folder::Slot>| {
            dirty.iter().any(|(segment, _)| segment.failed() && Arc::ptr_eq(&segment.slot, slot))
        };
        if state.active.as_ref().is_some_and(|active| bad(&active.segment.slot)) {
            state.abandon_active();
        }
        state.poisoned = true;
        state.tell();
        drop(state);
        self.keeper.nudge();
    }
}
