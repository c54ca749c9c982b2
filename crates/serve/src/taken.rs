//! Whether the client of an HTTP/2 stream takes its answer. Such a client can stop reading one stream and go on
//! with others: it gives the stream no more window, and hyper waits for that without a deadline. The task of
//! the stream notices, because its answer is not asked for more.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};

tokio::task_local! {
    static TAKEN: Cell<Taken>;
}

/// How far the answer of a stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    /// There is more, and the client has to make room for it.
    waits: bool,
    /// Pieces so far.
    pieces: u64,
}

/// Notes it for the stream of this task, if it is one.
fn note(waits: bool) {
    let _ = TAKEN.try_with(|taken| {
        let pieces = taken.get().pieces + u64::from(waits);
        taken.set(Taken { waits, pieces });
    });
}

/// Runs a stream to its end, or until its client has not taken the next piece of the answer for so long. Then
/// the stream is dropped, which resets it.
pub(crate) async fn patiently(stream: impl Future, patience: Duration) {
    let watched = async {
        let mut stream = pin!(stream);
        let mut seen = Taken::default();
        // Made when a client is slower than its answer for the first time.
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        std::future::poll_fn(|cx| {
            if stream.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let taken = TAKEN.with(Cell::get);
            if !taken.waits {
                seen = taken;
                return Poll::Pending;
            }
            let timer = timer.get_or_insert_with(|| Box::pin(sleep(patience)));
            if seen != taken {
                seen = taken;
                timer.as_mut().reset(Instant::now() + patience);
            }
            timer.as_mut().poll(cx)
        })
        .await;
    };
    TAKEN.scope(Cell::default(), watched).await;
}

/// A service whose answers note what is taken of them.
pub(crate) struct Noted<S>(pub(crate) S);

impl<S, B> Service<Request<Incoming>> for Noted<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<NotedBody<B>>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Answering { inner: self.0.call(request) }
    }
}

pin_project! {
    /// An answer in the making.
    pub(crate) struct Answering<F> {
        #[pin]
        inner: F,
    }
}

impl<F, B> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<NotedBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.project().inner.poll(cx));
        // From here on the client has to make room, also for the first piece.
        note(true);
        Poll::Ready(answer.map(|answer| answer.map(|inner| NotedBody { inner })))
    }
}

pin_project! {
    /// A body that notes when it is asked for more, and when it has to wait itself.
    pub(crate) struct NotedBody<B> {
        #[pin]
        inner: B,
    }
}

impl<B: Body> Body for NotedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = self.project().inner.poll_frame(cx);
        note(matches!(polled, Poll::Ready(Some(Ok(_)))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
