//! Frames of a stream, and the body that brings them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use serde_json::Value;
use tokio::time::Sleep;

use super::ledger::{Ending, Ledger};

/// A frame with an event name, which the payload repeats as `type`, first of all fields.
pub(super) fn named(event: &str, payload: &Value) -> Bytes {
    let mut text = format!("event: {event}\ndata: {{\"type\":\"{event}\"");
    let fields = payload.to_string();
    let fields = fields.trim_start_matches('{');
    if fields != "}" {
        text.push(',');
    }
    text.push_str(fields);
    text.push_str("\n\n");
    Bytes::from(text)
}

/// A frame without an event name.
pub(super) fn plain(payload: &Value) -> Bytes {
    Bytes::from(format!("data: {payload}\n\n"))
}

/// Hands out frames one by one, and tells the ledger how far it came when it is done or dropped.
pub(super) struct Frames {
    rest: std::vec::IntoIter<Bytes>,
    delay: Duration,
    pause: Option<Pin<Box<Sleep>>>,
    sent: u64,
    seq: u64,
    ledger: Ledger,
}

impl Frames {
    pub(super) fn new(frames: Vec<Bytes>, delay: Duration, seq: u64, ledger: Ledger) -> Self {
        Self { rest: frames.into_iter(), delay, pause: None, sent: 0, seq, ledger }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let delay = self.delay;
        if !delay.is_zero() && !self.is_end_stream() {
            let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(delay)));
            if pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        }
        let next = self.rest.next();
        if next.is_some() {
            self.sent += 1;
        }
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        match self.rest.as_slice() {
            // A blocking answer announces its length, a stream does not know it.
            [whole] if self.sent == 0 => SizeHint::with_exact(whole.len() as u64),
            _ => SizeHint::default(),
        }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        let ending = if self.is_end_stream() { Ending::Complete } else { Ending::Cut };
        self.ledger.settle(self.seq, self.sent, ending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_named_frame_begins_with_its_type() {
        assert_eq!(named("ping", &json!({})), "event: ping\ndata: {\"type\":\"ping\"}\n\n");
        assert_eq!(
            named("content_block_stop", &json!({"index": 1})),
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n"
        );
    }
}
