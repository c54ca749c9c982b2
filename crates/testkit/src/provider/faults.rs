//! Ways to fail on purpose.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::refusal::{Refusal, Vendor};

/// The header by which a single request asks for a fault.
pub(super) const HEADER: &str = "x-fake-fault";
/// Requests remembered for [`Fault::ErrorOnce`]; then all are forgotten.
const SEEN_MAX: usize = 4_096;

/// One way to fail. As text `name` or `name:parameter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `rate-limited[:seconds]`: 429 with `Retry-After`, 7 seconds unless given.
    RateLimited(u64),
    /// `rate-limited-bare`: 429 that does not say when to come back.
    RateLimitedBare,
    /// `error-once`: 500 the first time that a request is seen; the same request again is answered.
    ErrorOnce,
    /// `overloaded`: always 529 (Anthropic) or 503 (OpenAI).
    Overloaded,
    /// `reset`: the connection is reset when the request is there, before any answer.
    Reset,
    /// `silent`: the request is taken, and nothing ever comes back.
    Silent,
    /// `slow-first-token[:milliseconds]`: the head comes at once, all else later, after 3,000 unless given.
    SlowFirstToken(u64),
    /// `cut[:frames]`: the connection closes after so many frames of a stream, 2 unless given, or in the
    /// middle of a blocking answer.
    Cut(usize),
    /// `stalled[:frames]`: nothing more comes from there on, but the connection stays open.
    Stalled(usize),
    /// `malformed`: the second frame of a stream is no JSON; a blocking answer ends in its middle.
    Malformed,
    /// `no-terminator`: a stream ends in good order without the event that says so. Streams only.
    NoTerminator,
    /// `context-too-long`: the request has more tokens than the model takes.
    ContextTooLong,
    /// `content-refused`: the model refuses to answer, which is an answer in good order.
    ContentRefused,
    /// `flapping[:requests]`: so many requests, 1 unless given, get 503, as many are answered, and so on.
    Flapping(u64),
    /// `dead-key[:key]`: 401 for this key, or, if none is given, for the first key that was ever sent.
    DeadKey(Option<String>),
}

/// A text that names no fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFault(String);

impl fmt::Display for BadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no fault; known are {}", self.0, Fault::NAMES.join(", "))
    }
}

impl std::error::Error for BadFault {}

impl Fault {
    /// All names, in the order of the enum, parameters left out.
    pub const NAMES: [&str; 15] = [
        "rate-limited",
        "rate-limited-bare",
        "error-once",
        "overloaded",
        "reset",
        "silent",
        "slow-first-token",
        "cut",
        "stalled",
        "malformed",
        "no-terminator",
        "context-too-long",
        "content-refused",
        "flapping",
        "dead-key",
    ];
}

impl FromStr for Fault {
    type Err = BadFault;

    fn from_str(text: &str) -> Result<Self, BadFault> {
        let bad = || BadFault(text.to_owned());
        let (name, parameter) = match text.split_once(':') {
            Some((name, parameter)) => (name, Some(parameter)),
            None => (text, None),
        };
        let number = |default: u64| parameter.map_or(Ok(default), |p| p.parse().map_err(|_| bad()));
        let frames = || number(2).and_then(|n| usize::try_from(n).map_err(|_| bad()));
        let fault = match name {
            "rate-limited" => return number(7).map(Self::RateLimited),
            "slow-first-token" => return number(3_000).map(Self::SlowFirstToken),
            "cut" => return frames().map(Self::Cut),
            "stalled" => return frames().map(Self::Stalled),
            "flapping" => return number(1).map(|n| Self::Flapping(n.max(1))),
            "dead-key" => return Ok(Self::DeadKey(parameter.map(str::to_owned))),
            "rate-limited-bare" => Self::RateLimitedBare,
            "error-once" => Self::ErrorOnce,
            "overloaded" => Self::Overloaded,
            "reset" => Self::Reset,
            "silent" => Self::Silent,
            "malformed" => Self::Malformed,
            "no-terminator" => Self::NoTerminator,
            "context-too-long" => Self::ContextTooLong,
            "content-refused" => Self::ContentRefused,
            _ => return Err(bad()),
        };
        if parameter.is_some() { Err(bad()) } else { Ok(fault) }
    }
}

/// What a fault does instead of answering.
pub(super) enum Instead {
    Refuse(Refusal),
    Reset,
    Silence,
}

/// What a fault does to an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spoil {
    /// Before the first frame.
    pub(super) pause: Duration,
    pub(super) damage: Option<Damage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    Cut(usize),
    Stall(usize),
    Malform,
    Unterminated,
}

/// The faults of one provider.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Of requests that ask for none.
    usual: Option<Fault>,
    hasher: RandomState,
    seen: Mutex<HashSet<u64>>,
    flaps: AtomicU64,
    first_key: Mutex<Option<String>>,
}

impl Faults {
    pub(super) fn new(usual: Option<Fault>) -> Self {
        Self { usual, ..Self::default() }
    }

    /// The fault of a request: its header's, else its model's (`MODEL@FAULT`), else the usual one.
    pub(super) fn pick(
        &self,
        header: Option<&str>,
        model: &str,
    ) -> Result<Option<Fault>, BadFault> {
        if let Some(text) = header {
            return text.trim().parse().map(Some);
        }
        // Some vendors put a date behind the sign.
        let named = model.split_once('@').and_then(|(_, text)| text.parse().ok());
        Ok(named.or_else(|| self.usual.clone()))
    }

    /// Remembers the first key that was sent.
    pub(super) fn note_key(&self, key: &str) {
        let mut first = self.first_key.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_none() {
            *first = Some(key.to_owned());
        }
    }

    /// Whether the fault takes the place of an answer.
    pub(super) fn instead(
        &self,
        fault: &Fault,
        vendor: Vendor,
        key: &str,
        request: &[u8],
    ) -> Option<Instead> {
        let refuse = |refusal| Some(Instead::Refuse(refusal));
        match fault {
            Fault::RateLimited(seconds) => refuse(Refusal::rate_limited(Some(*seconds))),
            Fault::RateLimitedBare => refuse(Refusal::rate_limited(None)),
            Fault::ErrorOnce => self.is_new(request).then(|| Instead::Refuse(Refusal::internal())),
            Fault::Overloaded => refuse(Refusal::overloaded(vendor)),
            Fault::Flapping(span) => {
                let number = self.flaps.fetch_add(1, Ordering::Relaxed);
                let ill = (number / span).is_multiple_of(2);
                ill.then(|| Instead::Refuse(Refusal::overloaded(vendor)))
            }
            Fault::DeadKey(dead) => {
                let first = self.first_key.lock().unwrap_or_else(PoisonError::into_inner);
                let dead = dead.as_ref().or(first.as_ref()).is_some_and(|dead| dead == key);
                dead.then(|| Instead::Refuse(Refusal::bad_key(vendor)))
            }
            Fault::Reset => Some(Instead::Reset),
            Fault::Silent => Some(Instead::Silence),
            _ => None,
        }
    }

    fn is_new(&self, request: &[u8]) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= SEEN_MAX {
            seen.clear();
        }
        seen.insert(self.hasher.hash_one(request))
    }
}

impl Spoil {
    /// What the fault does to an answer.
    pub(super) fn of(fault: Option<&Fault>) -> Self {
        let damage = match fault {
            Some(Fault::SlowFirstToken(pause)) => {
                return Self { pause: Duration::from_millis(*pause), damage: None };
            }
            Some(Fault::Cut(frames)) => Some(Damage::Cut(*frames)),
            Some(Fault::Stalled(frames)) => Some(Damage::Stall(*frames)),
            Some(Fault::Malformed) => Some(Damage::Malform),
            Some(Fault::NoTerminator) => Some(Damage::Unterminated),
            _ => None,
        };
        Self { pause: Duration::ZERO, damage }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_fault_and_bad_ones_are_told_the_names() {
        for name in Fault::NAMES {
            assert!(name.parse::<Fault>().is_ok(), "{name}");
        }
        for (text, want) in [
            ("rate-limited:3", Fault::RateLimited(3)),
            ("slow-first-token:50", Fault::SlowFirstToken(50)),
            ("cut:4", Fault::Cut(4)),
            ("stalled:0", Fault::Stalled(0)),
            ("flapping:0", Fault::Flapping(1)),
            ("dead-key:sk-1:2", Fault::DeadKey(Some("sk-1:2".to_owned()))),
        ] {
            assert_eq!(text.parse(), Ok(want), "{text}");
        }
        for text in ["", "nonsense", "cut:many", "reset:1", "rate-limited:-1"] {
            let error = text.parse::<Fault>().unwrap_err().to_string();
            assert!(error.contains("slow-first-token"), "{error}");
        }
    }

    #[test]
    fn the_header_wins_over_the_model_and_the_model_over_the_rest() {
        let faults = Faults::new(Some(Fault::Reset));
        for (header, model, want) in [
            (None, "m", Fault::Reset),
            (None, "m@20240229", Fault::Reset),
            (None, "m@cut:1", Fault::Cut(1)),
            (Some("silent"), "m@cut:1", Fault::Silent),
        ] {
            assert_eq!(faults.pick(header, model), Ok(Some(want)), "{header:?} {model}");
        }
        assert!(faults.pick(Some("oops"), "m").is_err());
    }
}
