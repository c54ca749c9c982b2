//! Times calls that are too short to be timed one by one.
//!
//! By the processor time of this thread: what else the machine does would lengthen long calls more than short
//! ones, and so favour the short ones in a ratio.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Of a batch: long against reading the clock, short against the whole.
const BATCH: Duration = Duration::from_millis(2);
/// Of all batches.
const WHOLE: Duration = Duration::from_millis(250);

/// Nanoseconds of one call, when `calls` makes so many of them: the median of many batches.
pub(crate) fn ns(calls: usize, mut call: impl FnMut()) -> f64 {
    let mut repeats = 1_u32;
    loop {
        let took = spent(repeats, &mut call);
        if took >= BATCH || repeats >= 1 << 24 {
            break;
        }
        repeats *= 2;
    }
    let mut batches = Vec::new();
    let mut whole = Duration::ZERO;
    while whole < WHOLE || batches.len() < 5 {
        let took = spent(repeats, &mut call);
        whole += took;
        batches.push(took.as_secs_f64() * 1e9 / f64::from(repeats));
    }
    batches.sort_by(f64::total_cmp);
    let middle = batches.get(batches.len() / 2).copied().unwrap_or(f64::NAN);
    #[expect(clippy::cast_precision_loss, reason = "a few hundred calls")]
    let calls = calls.max(1) as f64;
    middle / calls
}

/// Processor time of so many calls.
fn spent(repeats: u32, call: &mut impl FnMut()) -> Duration {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::try_from(time).unwrap_or_default()
    };
    let began = now();
    (0..repeats).for_each(|_| call());
    now().saturating_sub(began)
}
