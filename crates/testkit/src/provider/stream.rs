//! Frames of a stream, and the body that brings them.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use serde_json::Value;
use tokio::time::Sleep;

use super::faults::{Damage, Spoil};
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

/// What is done next.
#[derive(Debug)]
enum Step {
    Send(Bytes),
    Wait(Duration),
    /// Breaks the connection.
    Break,
    /// Never does anything again.
    Hang,
}

/// Hands out frames one by one, and tells the ledger how far it came when it is done or dropped.
pub(super) struct Frames {
    rest: VecDeque<Step>,
    /// A blocking answer announces its length, a stream does not know it.
    length: Option<u64>,
    pause: Option<Pin<Box<Sleep>>>,
    /// Whether what was sent so far had a chance to leave.
    flushed: bool,
    broken: bool,
    sent: u64,
    seq: u64,
    ledger: Ledger,
}

impl Frames {
    pub(super) fn new(
        frames: Vec<Bytes>,
        stream: bool,
        delay: Duration,
        spoil: Spoil,
        seq: u64,
        ledger: Ledger,
    ) -> Self {
        let (steps, length) = if stream {
            (spoil.stream(frames, delay), None)
        } else {
            let (steps, length) = spoil.whole(&frames.concat().into());
            (steps, Some(length as u64))
        };
        let pause = (!spoil.pause.is_zero()).then_some(Step::Wait(spoil.pause));
        let rest = pause.into_iter().chain(steps).collect();
        Self { rest, length, pause: None, flushed: false, broken: false, sent: 0, seq, ledger }
    }

    /// Nothing, for ever.
    pub(super) fn silent(seq: u64, ledger: Ledger) -> Self {
        let rest = [Step::Hang].into();
        Self {
            rest,
            length: None,
            pause: None,
            flushed: false,
            broken: false,
            sent: 0,
            seq,
            ledger,
        }
    }
}

impl Spoil {
    fn stream(self, mut frames: Vec<Bytes>, delay: Duration) -> Vec<Step> {
        let mut last = None;
        match self.damage {
            Some(Damage::Cut(count)) => {
                frames.truncate(count);
                last = Some(Step::Break);
            }
            Some(Damage::Stall(count)) => {
                frames.truncate(count);
                last = Some(Step::Hang);
            }
            Some(Damage::Malform) => {
                if let Some(frame) = frames.get_mut(1) {
                    let half = frame.slice(..frame.len() / 2);
                    *frame = [half.as_ref(), b"\n\n"].concat().into();
                }
            }
            Some(Damage::Unterminated) => {
                // Chat Completions tells the end before its last mark.
                let tells =
                    |frame: &Bytes| String::from_utf8_lossy(frame).contains("\"finish_reason\":\"");
                let end = frames.iter().position(tells);
                frames.truncate(end.unwrap_or(frames.len().saturating_sub(1)));
            }
            None => {}
        }
        let wait = (!delay.is_zero()).then_some(delay);
        let steps = frames
            .into_iter()
            .flat_map(|frame| wait.map(Step::Wait).into_iter().chain([Step::Send(frame)]));
        steps.chain(last).collect()
    }

    /// The steps, and the length to announce.
    fn whole(self, body: &Bytes) -> (Vec<Step>, usize) {
        let half = Step::Send(body.slice(..body.len() / 2));
        match self.damage {
            Some(Damage::Cut(_)) => (vec![half, Step::Break], body.len()),
            Some(Damage::Stall(_)) => (vec![half, Step::Hang], body.len()),
            Some(Damage::Malform) => (vec![half], body.len() / 2),
            Some(Damage::Unterminated) | None => (vec![Step::Send(body.clone())], body.len()),
        }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match self.rest.front() {
                None => return Poll::Ready(None),
                Some(Step::Hang) => return Poll::Pending,
                Some(Step::Break) if !self.flushed => {
                    // What was sent leaves while there is nothing more.
                    self.flushed = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(_) => {}
            }
            match self.rest.pop_front() {
                Some(Step::Send(bytes)) => {
                    self.sent += 1;
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Step::Wait(pause)) => {
                    self.pause = Some(Box::pin(tokio::time::sleep(pause)));
                }
                Some(Step::Break) => {
                    self.broken = true;
                    return Poll::Ready(Some(Err(io::Error::other("broken on purpose"))));
                }
                Some(Step::Hang) | None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.length.filter(|_| self.sent == 0);
        length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        let whole = self.rest.is_empty() && !self.broken;
        let ending = if whole { Ending::Complete } else { Ending::Cut };
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
