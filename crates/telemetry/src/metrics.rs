//! Metric declarations over `prometheus-client`.

#[doc(hidden)]
pub mod declare;
mod family;
mod label;
mod registry;

pub use declare::{Declaration, Kind};
pub use family::{Counter, Entered, Gauge, Histogram, SERIES_MAX};
pub use label::{LabelValue, Labels};
#[doc(hidden)]
pub use registry::Declared;
pub use registry::{CONTENT_TYPE, DuplicateMetric, Registry};

#[cfg(test)]
mod tests;
