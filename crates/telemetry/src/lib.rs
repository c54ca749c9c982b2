//! Logs, metric declarations and redaction.
//!
//! Logs: [`init`] installs the one subscriber of the process. It writes lines for people, JSON lines, or
//! both, each to its own [`Output`], through a bounded queue and a thread of its own: a slow disk delays
//! no request, and lines that do not fit the queue are counted and reported in the same output.
//!
//! Metrics: [`metrics!`] declares a table of counters, gauges and histograms with their help, labels and
//! buckets; [`label!`] declares a finite set of label values. What is declared is a struct that is handed
//! down, not a global.
//!
//! It refuses to know any domain: each crate declares its own table. It serves nothing over HTTP.
//!
//! Invariants: one event is one line, whatever its texts contain; a field whose name says that it holds
//! a secret is written as `[redacted]`; the number of series of a metric is bounded; nothing here
//! panics, also when started twice.
//!
//! Start with [`init`] and [`metrics!`].

mod logs;
mod metrics;

pub use logs::{Guard, InitError, Output, Settings, init};
pub use metrics::{
    CONTENT_TYPE, Counter, Declaration, DuplicateMetric, Entered, Gauge, Histogram, Kind,
    LabelValue, Labels, Registry, SERIES_MAX,
};

#[doc(hidden)]
pub use metrics::{Declared, declare};
