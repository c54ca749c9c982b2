//! How much is measured.

use std::time::Duration;

use super::Args;

/// Sizes of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// How often each variant has its turn with requests, and with streams.
    pub(crate) request_rounds: usize,
    pub(crate) stream_rounds: usize,
    /// Seconds of one turn.
    pub(crate) turn: f64,
    /// Frames of the streams whose frames are timed.
    pub(crate) frames: u32,
    /// How many streams are held open at once for their frames, and for their memory.
    pub(crate) open: usize,
    pub(crate) open_for_memory: usize,
    /// How many large requests are in flight at once.
    pub(crate) large: usize,
    /// How long a gateway may take to give memory back.
    pub(crate) after: Duration,
    /// Seconds of requests whose records are stored meanwhile.
    pub(crate) sustained: f64,
    /// How often, and for how many seconds, records alone are sent.
    pub(crate) ingest: (usize, f64),
}

impl Scale {
    pub(crate) fn of(args: &Args) -> Self {
        let scale = if args.short { Self::SHORT } else { Self::FULL };
        Self {
            request_rounds: args.rounds.unwrap_or(scale.request_rounds),
            stream_rounds: args.rounds.unwrap_or(scale.stream_rounds),
            ..scale
        }
    }

    /// Everything in less than eight minutes on two cores.
    const FULL: Self = Self {
        request_rounds: 5,
        stream_rounds: 3,
        turn: 1.2,
        frames: 80,
        open: 1024,
        open_for_memory: 10_000,
        large: 1500,
        after: Duration::from_secs(8),
        sustained: 15.0,
        ingest: (3, 4.0),
    };

    /// Everything once and small. Bars are told of it, too, and mean little.
    const SHORT: Self = Self {
        request_rounds: 1,
        stream_rounds: 1,
        turn: 0.4,
        frames: 20,
        open: 256,
        open_for_memory: 1000,
        large: 150,
        after: Duration::from_secs(1),
        sustained: 1.0,
        ingest: (1, 0.5),
    };
}
