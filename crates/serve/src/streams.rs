use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use stdx::Lifecycle;
use tokio::time::{Sleep, sleep};

use crate::rarely::Rarely;
use crate::taken::patiently;

/// What is open on one HTTP/2 connection.
#[derive(Default)]
pub(crate) struct Streams {
    /// Whether it is one.
    begun: AtomicBool,
    open: AtomicUsize,
    /// Whether a request came since [`Idle`] last looked.
    recent: AtomicBool,
}

impl Streams {
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }
}

/// Runs the requests of one HTTP/2 connection as tasks that the process waits for when it stops: when a
/// connection is cut off, what its requests drop is dropped while it can still be recorded.
#[derive(Clone)]
pub(crate) struct Executor {
    streams: Arc<Streams>,
    lifecycle: Lifecycle,
    /// See [`patiently`].
    patience: Duration,
}

impl Executor {
    pub(crate) fn new(streams: &Arc<Streams>, lifecycle: &Lifecycle, patience: Duration) -> Self {
        Self { streams: Arc::clone(streams), lifecycle: lifecycle.clone(), patience }
    }
}

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.streams.recent.store(true, Ordering::Relaxed);
        let open = Open::new(&self.streams);
        let patience = self.patience;
        self.lifecycle.spawn_quietly(async move {
            patiently(stream, patience).await;
            drop(open);
        });
    }
}

struct Open(Arc<Streams>);

impl Open {
    fn new(streams: &Arc<Streams>) -> Self {
        streams.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(streams))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Resolves when an HTTP/2 connection had no request for a whole period. Never for one of HTTP/1.1, where
/// waiting for the next head has a deadline already.
pub(crate) struct Idle {
    streams: Arc<Streams>,
    period: Duration,
    timer: Option<Rarely<Pin<Box<Sleep>>>>,
}

impl Idle {
    pub(crate) const fn new(streams: Arc<Streams>, period: Duration) -> Self {
        Self { streams, period, timer: None }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.streams.begun.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let period = self.period;
        let timer = self.timer.get_or_insert_with(|| Rarely::new(Box::pin(sleep(period))));
        while timer.poll(cx).is_ready() {
            let recent = self.streams.recent.swap(false, Ordering::Relaxed);
            if !recent && self.streams.open.load(Ordering::Relaxed) == 0 {
                return Poll::Ready(());
            }
            // Open requests count as recent until they have ended for a whole period.
            if self.streams.open.load(Ordering::Relaxed) > 0 {
                self.streams.recent.store(true, Ordering::Relaxed);
            }
            *timer = Rarely::new(Box::pin(sleep(period)));
        }
        Poll::Pending
    }
}
