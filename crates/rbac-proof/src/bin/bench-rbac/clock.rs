//! Times calls that are too short to be timed one by one.

use std::time::{Duration, Instant};

/// Of a batch: long against reading the clock, short against being interrupted.
const BATCH: Duration = Duration::from_millis(2);
/// Of all batches.
const WHOLE: Duration = Duration::from_millis(250);

/// Nanoseconds of one call, when `calls` makes so many of them: the median of many batches.
pub(crate) fn ns(calls: usize, mut call: impl FnMut()) -> f64 {
    let mut repeats = 1_u32;
    loop {
        let began = Instant::now();
        (0..repeats).for_each(|_| call());
        if began.elapsed() >= BATCH || repeats >= 1 << 24 {
            break;
        }
        repeats *= 2;
    }
    let mut batches = Vec::new();
    let whole = Instant::now();
    while whole.elapsed() < WHOLE || batches.len() < 5 {
        let began = Instant::now();
        (0..repeats).for_each(|_| call());
        batches.push(began.elapsed().as_secs_f64() * 1e9 / f64::from(repeats));
    }
    batches.sort_by(f64::total_cmp);
    let middle = batches.get(batches.len() / 2).copied().unwrap_or(f64::NAN);
    #[expect(clippy::cast_precision_loss, reason = "a few hundred calls")]
    let calls = calls.max(1) as f64;
    middle / calls
}
