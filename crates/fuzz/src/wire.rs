//! One exchange in a wire API: any request, answered by any bytes in any chunks, to any end.

mod outcome;
mod request;
mod told;

use aibridge::sse::Splitter;
use aibridge::wire::chat::Chat;
use aibridge::wire::messages::Messages;
use aibridge::wire::responses::Responses;
use aibridge::wire::{BadRequest, Ended, Interceptor};
use bytes::Bytes;

use self::outcome::Outcome;
use self::told::Told;
use crate::input::Input;
use crate::splitter::{events, limits};

/// Separates request and answer. No JSON text holds it.
const MARK: &[u8] = b"\n--\n";

/// Stands in for a request that is refused, so that its answer is read all the same.
const REQUEST: &[u8] =
    br#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}],"input":"hi"}"#;

/// A wire API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    Messages,
    Chat,
    Responses,
}

impl Api {
    fn open(self, body: &[u8]) -> Result<Box<dyn Interceptor>, BadRequest> {
        let body = Bytes::copy_from_slice(body);
        Ok(match self {
            Self::Messages => Box::new(Messages::new(body)?),
            Self::Chat => Box::new(Chat::new(body)?),
            Self::Responses => Box::new(Responses::new(body)?),
        })
    }
}

/// An exchange in the Messages API, see [`crate`] and [`chat`].
///
/// # Panics
/// When a check fails.
pub fn messages(data: &[u8]) {
    exchange(Api::Messages, data);
}

/// An exchange in the Chat Completions API. Knobs: a digit for the end (`0` closed, `1` broken, `2` timed out,
/// `3` client gone, `4` shutting down, `5` for a blocking answer), two limits as in [`crate::splitter()`], then
/// sizes of chunks. Material: the request, a line `--`, the answer.
///
/// # Panics
/// When a check fails.
pub fn chat(data: &[u8]) {
    exchange(Api::Chat, data);
}

/// An exchange in the Responses API, see [`crate`] and [`chat`].
///
/// # Panics
/// When a check fails.
pub fn responses(data: &[u8]) {
    exchange(Api::Responses, data);
}

/// The request is read as [`request::check`] wants it. The answer leads to the same notes and the same end in
/// whatever chunks it comes, with or without comments between its events, and what is kept of it is bounded: see
/// [`Outcome::check`]. Its end, its tokens and its tool calls are those that a plain reader finds: see [`Told`].
fn exchange(api: Api, data: &[u8]) {
    let input = Input::new(data);
    let (body, answer) = divide(input.material);
    let readable = request::check(api, body);
    let request = if readable { body } else { REQUEST };
    let fresh = || match api.open(request) {
        Ok(interceptor) => interceptor,
        Err(error) => unreachable!("opened once already: {error}"),
    };

    let ended = match input.knob(0) % 16 {
        1 => Ended::UpstreamBroke,
        2 => Ended::TimedOut,
        3 => Ended::ClientGone,
        4 => Ended::ShuttingDown,
        5 => {
            let outcome = Outcome::of_body(fresh(), answer);
            outcome.check_told(Told::by_body(api, answer));
            return outcome.check(api, answer, Ended::Closed);
        }
        _ => Ended::Closed,
    };
    let play = |(hold, parse), chunks: &[&[u8]]| {
        Outcome::of_stream(fresh(), Splitter::with_limits(hold, parse), chunks, ended)
    };
    let loose = (usize::MAX, usize::MAX);
    let whole = play(loose, &[answer]);
    let limits = limits(&input, 1);
    let chunks = input.chunks(3, answer);
    assert_eq!(play(loose, &chunks), whole, "chunks make a difference");
    let chopped = play(limits, &chunks);
    if limits.1 >= answer.len() {
        // What is relayed early is understood late, and the same.
        assert_eq!(chopped.notes, whole.notes);
        assert_eq!(chopped.finish.error, whole.finish.error);
    }
    let alive = play(loose, &[&with_comments(answer)]);
    assert_eq!(alive.notes, whole.notes, "comments are noted");
    if whole.has_relayed() {
        assert_eq!(alive.finish, whole.finish, "comments count");
    } else {
        // Whoever got nothing but comments can be told in the stream alone.
        assert_eq!(alive.finish.error, whole.finish.error, "comments count");
    }
    told::check_last(api, &*fresh(), answer);
    whole.check_told(Told::by_stream(api, answer));
    whole.check(api, answer, ended);
    chopped.check(api, answer, ended);
}

/// The same answer with signs of life behind each event.
fn with_comments(answer: &[u8]) -> Vec<u8> {
    let (frames, end) = events(answer);
    let mut out = Vec::new();
    for frame in frames {
        out.extend_from_slice(&frame.raw);
        out.extend_from_slice(b": keep-alive\n\n");
    }
    out.extend_from_slice(answer.get(end..).unwrap_or_default());
    out
}

fn divide(material: &[u8]) -> (&[u8], &[u8]) {
    match material.windows(MARK.len()).position(|window| window == MARK) {
        Some(at) => {
            let (request, rest) = material.split_at(at);
            (request, rest.get(MARK.len()..).unwrap_or_default())
        }
        None => (&[], material),
    }
}
