use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter as RawCounter;
use prometheus_client::metrics::gauge::Gauge as RawGauge;
use prometheus_client::metrics::histogram::Histogram as RawHistogram;
use prometheus_client::metrics::{MetricType, TypedMetric};

use super::label::Labels;

/// Most series one metric may have. Beyond it new label values are no longer exposed, but counted in
/// `telemetry_series_refused_total`.
pub const SERIES_MAX: usize = 10_000;

/// Only grows. Cheap to clone; clones share their values.
pub struct Counter<L: Labels>(pub(super) Family<L, RawCounter>);

/// Goes up and down. Cheap to clone; clones share their values.
pub struct Gauge<L: Labels>(pub(super) Family<L, RawGauge>);

/// Counts observations by size. Cheap to clone; clones share their values.
pub struct Histogram<L: Labels>(pub(super) Family<L, RawHistogram>);

impl<L: Labels> Counter<L> {
    /// Counts one.
    pub fn inc(&self, labels: L) {
        self.inc_by(labels, 1);
    }

    /// Counts `count`.
    pub fn inc_by(&self, labels: L, count: u64) {
        self.0.with(labels).inc_by(count);
    }

    /// What has been counted under these labels.
    pub fn get(&self, labels: &L) -> u64 {
        self.0.find(labels).map_or(0, |metric| metric.get())
    }
}

impl<L: Labels> Gauge<L> {
    /// Sets the value.
    pub fn set(&self, labels: L, value: i64) {
        self.0.with(labels).set(value);
    }

    /// Moves the value by `by`, down when negative.
    pub fn add(&self, labels: L, by: i64) {
        self.0.with(labels).inc_by(by);
    }

    /// Adds one until the returned guard is dropped.
    #[must_use = "the value goes down again when this is dropped"]
    pub fn enter(&self, labels: L) -> Entered {
        let gauge = self.0.with(labels);
        gauge.inc();
        Entered(gauge)
    }

    /// The value under these labels, 0 if it was never set.
    pub fn get(&self, labels: &L) -> i64 {
        self.0.find(labels).map_or(0, |metric| metric.get())
    }
}

impl<L: Labels> Histogram<L> {
    /// Counts one observation, in the unit of the metric's name.
    pub fn observe(&self, labels: L, value: f64) {
        self.0.with(labels).observe(value);
    }

    /// Counts one duration. For metrics in seconds.
    pub fn observe_duration(&self, labels: L, took: Duration) {
        self.observe(labels, took.as_secs_f64());
    }
}

/// Holds a gauge up by one.
#[derive(Debug)]
pub struct Entered(RawGauge);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// All series of one metric. Unlike the family of the library it has an upper bound and a stable order.
pub(super) struct Family<L, M> {
    shared: Arc<Shared<L, M>>,
}

struct Shared<L, M> {
    names: &'static [&'static str],
    series: RwLock<HashMap<L, M>>,
    make: Box<dyn Fn() -> M + Send + Sync>,
    series_max: usize,
    refused: RawCounter,
}

impl<L: Labels, M: Clone> Family<L, M> {
    pub(super) fn new(
        names: &'static [&'static str],
        series_max: usize,
        refused: RawCounter,
        make: impl Fn() -> M + Send + Sync + 'static,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                names,
                series: RwLock::new(L::sole().map(|labels| (labels, make())).into_iter().collect()),
                make: Box::new(make),
                series_max,
                refused,
            }),
        }
    }

    fn find(&self, labels: &L) -> Option<M> {
        let series = self.shared.series.read().unwrap_or_else(PoisonError::into_inner);
        series.get(labels).cloned()
    }

    /// The series of these labels, made on first use. Beyond the bound it is one that nobody reads.
    pub(super) fn with(&self, labels: L) -> M {
        if let Some(metric) = self.find(&labels) {
            return metric;
        }
        let mut series = self.shared.series.write().unwrap_or_else(PoisonError::into_inner);
        if series.len() >= self.shared.series_max && !series.contains_key(&labels) {
            self.shared.refused.inc();
            return (self.shared.make)();
        }
        series.entry(labels).or_insert_with(|| (self.shared.make)()).clone()
    }
}

impl<L: Labels, M: EncodeMetric + TypedMetric + Clone> EncodeMetric for Family<L, M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let mut rows: Vec<_> = {
            let series = self.shared.series.read().unwrap_or_else(PoisonError::into_inner);
            series.iter().map(|(labels, metric)| (labels.texts(), metric.clone())).collect()
        };
        rows.sort_by(|(left, _), (right, _)| left.cmp(right));
        for (texts, metric) in rows {
            if texts.is_empty() {
                return metric.encode(encoder);
            }
            let labels: Vec<_> = self.shared.names.iter().copied().zip(texts).collect();
            metric.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}

impl<L, M> Clone for Family<L, M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<L, M> fmt::Debug for Family<L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family").field("labels", &self.shared.names).finish_non_exhaustive()
    }
}

macro_rules! handles {
    ($($handle:ident),+) => {$(
        impl<L: Labels> Clone for $handle<L> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }

        impl<L: Labels> fmt::Debug for $handle<L> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

handles!(Counter, Gauge, Histogram);
