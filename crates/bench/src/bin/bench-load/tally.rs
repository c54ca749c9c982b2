use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

/// Most errors that are shown in words.
const SAMPLES_MAX: usize = 5;
/// Nothing that is measured takes longer: two minutes, in nanoseconds.
const LONGEST_NS: u64 = 120_000_000_000;

/// Everything that is counted and measured.
pub(crate) struct Tally {
    /// From the first byte of a request to the last of its answer, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// From the first byte of a request to the first of its answer.
    pub(crate) first_byte: Histogram<u64>,
    /// From the upstream's making of a frame to its arrival.
    pub(crate) frame: Histogram<u64>,
    /// How much longer the gap between two frames was at arrival than when they were made.
    pub(crate) stretch: Histogram<u64>,
    pub(crate) frames: u64,
    pub(crate) lost: u64,
    pub(crate) stalls: u64,
    pub(crate) reconnects: u64,
    pub(crate) errors: u64,
    samples: Vec<String>,
}

impl Tally {
    pub(crate) fn new() -> Result<Self> {
        let new = || Histogram::new_with_bounds(1, LONGEST_NS, 3);
        Ok(Self {
            latency: new()?,
            first_byte: new()?,
            frame: new()?,
            stretch: new()?,
            frames: 0,
            lost: 0,
            stalls: 0,
            reconnects: 0,
            errors: 0,
            samples: Vec::new(),
        })
    }

    pub(crate) fn error(&mut self, what: impl Into<String>) {
        self.errors += 1;
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push(what.into());
        }
    }

    pub(crate) fn report(self, spans: Spans) -> Report {
        let requests = self.latency.len();
        Report {
            requests,
            answered: spans.answered,
            errors: self.errors,
            error_samples: self.samples,
            reconnects: self.reconnects,
            seconds: spans.seconds,
            busy: spans.busy,
            per_second: float(requests) / spans.seconds.max(1e-9),
            latency_us: Summary::of(&self.latency),
            first_byte_us: Summary::of(&self.first_byte),
            frame_delay_us: Summary::of(&self.frame),
            frame_stretch_us: Summary::of(&self.stretch),
            frames: self.frames,
            frames_lost: self.lost,
            stalls: self.stalls,
            watched: spans.watched,
        }
    }
}

/// What the run knows besides.
pub(crate) struct Spans {
    pub(crate) answered: u64,
    pub(crate) seconds: f64,
    pub(crate) busy: f64,
    pub(crate) watched: Vec<Watched>,
}

/// What is printed. Times are microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Answered within the measured span.
    requests: u64,
    /// Answered at all, before and after it included.
    answered: u64,
    pub(crate) errors: u64,
    error_samples: Vec<String>,
    reconnects: u64,
    seconds: f64,
    /// Which part of the measured span this process was on a core: near 1, it is what limits.
    busy: f64,
    per_second: f64,
    latency_us: Summary,
    first_byte_us: Summary,
    frame_delay_us: Summary,
    frame_stretch_us: Summary,
    frames: u64,
    frames_lost: u64,
    stalls: u64,
    watched: Vec<Watched>,
}

/// CPU time of another process.
#[derive(Debug, Serialize)]
pub(crate) struct Watched {
    pub(crate) pid: u32,
    /// Used within the measured span.
    pub(crate) cpu_us: u64,
}

#[derive(Debug, Serialize)]
struct Summary {
    count: u64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Summary {
    fn of(times: &Histogram<u64>) -> Self {
        let micros = |nanos: u64| float(nanos) / 1_000.0;
        let at = |quantile| micros(times.value_at_quantile(quantile));
        Self {
            count: times.len(),
            mean: times.mean() / 1_000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(times.max()),
        }
    }
}

/// A count as a number to divide.
#[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}
