use std::collections::HashSet;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter as RawCounter;
use prometheus_client::metrics::gauge::Gauge as RawGauge;
use prometheus_client::metrics::histogram::Histogram as RawHistogram;
use prometheus_client::registry::{Metric, Registry as RawRegistry};

use super::declare::Declaration;
use super::family::{Counter, Family, Gauge, Histogram, SERIES_MAX};
use super::label::Labels;

/// Media type of what [`Registry::encode`] returns (`OpenMetrics` 1.0).
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of a process. Made once at the start; then shared to be read.
#[derive(Debug)]
pub struct Registry {
    raw: RawRegistry,
    names: HashSet<&'static str>,
    refused: RawCounter,
    series_max: usize,
}

/// Two tables declare a metric of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metric {name} is declared twice")]
pub struct DuplicateMetric {
    /// Name of the metric.
    pub name: &'static str,
}

impl Registry {
    /// A registry with no metric but the one about itself.
    #[must_use]
    pub fn new() -> Self {
        Self::with_series_max(SERIES_MAX)
    }

    pub(super) fn with_series_max(series_max: usize) -> Self {
        let refused = RawCounter::default();
        let mut raw = RawRegistry::default();
        raw.register(
            "telemetry_series_refused",
            "Values that were not recorded because their metric has too many series",
            refused.clone(),
        );
        Self { raw, names: HashSet::from(["telemetry_series_refused_total"]), refused, series_max }
    }

    /// The registry underneath, for a part that declares its metrics by itself. Its names are not checked
    /// against those of the tables.
    pub const fn raw_mut(&mut self) -> &mut RawRegistry {
        &mut self.raw
    }

    /// All values as `OpenMetrics` text, to be sent as [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        if text::encode(&mut out, &self.raw).is_err() {
            // Writing to a String does not fail; a half-written answer would lack its end mark.
            tracing::error!("cannot encode the metrics");
        }
        out
    }

    /// Adds one declared metric. Called by [`metrics!`](crate::metrics).
    ///
    /// # Errors
    /// If there is one of the same name.
    #[doc(hidden)]
    pub fn add<T: Declared>(
        &mut self,
        declaration: Declaration,
        buckets: &'static [f64],
    ) -> Result<T, DuplicateMetric> {
        if !self.names.insert(declaration.name) {
            return Err(DuplicateMetric { name: declaration.name });
        }
        let (metric, family) =
            T::make(declaration.labels, buckets, self.series_max, self.refused.clone());
        // The format adds `_total` to counters and a full stop to the help by itself.
        let name = match declaration.kind {
            super::Kind::Counter => declaration.name.trim_end_matches("_total"),
            super::Kind::Gauge | super::Kind::Histogram => declaration.name,
        };
        self.raw.register(name, declaration.help.trim().trim_end_matches('.'), family);
        Ok(metric)
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

/// A kind of metric that a table can declare.
#[doc(hidden)]
pub trait Declared: Sized {
    /// The handle, and what the registry reads.
    fn make(
        labels: &'static [&'static str],
        buckets: &'static [f64],
        series_max: usize,
        refused: RawCounter,
    ) -> (Self, impl Metric);
}

impl<L: Labels> Declared for Counter<L> {
    fn make(
        labels: &'static [&'static str],
        _: &'static [f64],
        series_max: usize,
        refused: RawCounter,
    ) -> (Self, impl Metric) {
        let family = Family::new(labels, series_max, refused, RawCounter::default);
        (Self(family.clone()), family)
    }
}

impl<L: Labels> Declared for Gauge<L> {
    fn make(
        labels: &'static [&'static str],
        _: &'static [f64],
        series_max: usize,
        refused: RawCounter,
    ) -> (Self, impl Metric) {
        let family = Family::new(labels, series_max, refused, RawGauge::default);
        (Self(family.clone()), family)
    }
}

impl<L: Labels> Declared for Histogram<L> {
    fn make(
        labels: &'static [&'static str],
        buckets: &'static [f64],
        series_max: usize,
        refused: RawCounter,
    ) -> (Self, impl Metric) {
        let make = || RawHistogram::new(buckets.iter().copied());
        let family = Family::new(labels, series_max, refused, make);
        (Self(family.clone()), family)
    }
}
