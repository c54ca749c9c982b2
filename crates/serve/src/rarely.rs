use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A future that resolves seldom beside one that is polled all the time.
///
/// Polling the signal that the process stops takes a lock that all connections share. This polls it once,
/// and again only when it has called; in between a poll costs a load.
pub(crate) struct Rarely<F> {
    inner: F,
    bell: Option<Arc<Bell>>,
}

struct Bell {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl<F: Future + Unpin> Rarely<F> {
    pub(crate) const fn new(inner: F) -> Self {
        Self { inner, bell: None }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        if let Some(bell) = &self.bell
            && !bell.rung.swap(false, Ordering::Acquire)
            && bell.task.will_wake(cx.waker())
        {
            return Poll::Pending;
        }
        let bell = Arc::new(Bell { rung: AtomicBool::new(false), task: cx.waker().clone() });
        let waker = Waker::from(Arc::clone(&bell));
        self.bell = Some(bell);
        Pin::new(&mut self.inner).poll(&mut Context::from_waker(&waker))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::oneshot;

    use super::*;

    /// Counts how often it is polled.
    struct Counted(oneshot::Receiver<()>, Arc<AtomicUsize>);

    impl Future for Counted {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            self.1.fetch_add(1, Ordering::SeqCst);
            Pin::new(&mut self.0).poll(cx).map(|_| ())
        }
    }

    #[tokio::test]
    async fn it_is_polled_when_it_calls_and_not_otherwise() {
        let (call, called) = oneshot::channel();
        let polls = Arc::new(AtomicUsize::new(0));
        let mut rarely = Rarely::new(Counted(called, Arc::clone(&polls)));
        for _ in 0..100 {
            let pending = poll_fn(|cx| Poll::Ready(rarely.poll(cx).is_pending())).await;
            assert!(pending);
        }
        assert_eq!(polls.load(Ordering::SeqCst), 1);
        call.send(()).unwrap();
        poll_fn(|cx| rarely.poll(cx)).await;
        assert_eq!(polls.load(Ordering::SeqCst), 2);
    }
}
