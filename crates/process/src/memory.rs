//! Memory of a peak goes back to the system when the peak is over.

use std::hint::black_box;
use std::time::Duration;

use stdx::Lifecycle;

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// Larger than what the allocator keeps in pages with others.
const BLOCK: usize = 4 << 20;

/// The allocator gives back what has been free for a second, but only when somebody frees a page: after a peak
/// with nothing behind it, nobody does. So a block is taken and freed now and then, which is never touched and
/// costs no memory.
pub(crate) fn give_back(lifecycle: &Lifecycle) {
    let stopping = lifecycle.stopping();
    lifecycle.spawn("memory", async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => drop(black_box(Vec::<u8>::with_capacity(BLOCK))),
                () = stopping.wait() => return,
            }
        }
    });
}
