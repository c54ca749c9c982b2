use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// Learns how a response body goes. Dropped when the body has ended or was dropped.
pub(crate) trait Watch: Send + Unpin + 'static {
    /// Some bytes have passed.
    fn data(&mut self, _bytes: &Bytes) {}

    /// The body is over. Called once; `complete` is false if it failed or was dropped before its end.
    fn end(&mut self, _complete: bool) {}
}

/// A body under watch.
pub(crate) struct Watched<W: Watch> {
    body: Body,
    watch: Option<W>,
}

impl<W: Watch> Watched<W> {
    /// `body`, with `watch` learning how it goes.
    pub(crate) fn wrap(body: Body, watch: W) -> Body {
        Body::new(Self { body, watch: Some(watch) })
    }

    fn end(&mut self, complete: bool) {
        if let Some(mut watch) = self.watch.take() {
            watch.end(complete);
        }
    }
}

impl<W: Watch> HttpBody for Watched<W> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(bytes), Some(watch)) = (frame.data_ref(), self.watch.as_mut()) {
                    watch.data(bytes);
                }
            }
            Some(Err(_)) => self.end(false),
            None => self.end(true),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<W: Watch> Drop for Watched<W> {
    fn drop(&mut self) {
        // A server need not poll a body that says it has ended.
        let complete = self.body.is_end_stream();
        self.end(complete);
    }
}
