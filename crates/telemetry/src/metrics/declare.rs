//! The macro and what it expands to.

/// What kind of metric a declaration makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size.
    Histogram,
}

/// One row of a metric table, for documentation and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// Full name as exposed.
    pub name: &'static str,
    /// Kind of metric.
    pub kind: Kind,
    /// Help text; may have leading white space.
    pub help: &'static str,
    /// Names of the labels, in order.
    pub labels: &'static [&'static str],
    /// How many series the label values allow; `None` if a label is open (then
    /// [`SERIES_MAX`](crate::SERIES_MAX) bounds it).
    pub series: Option<usize>,
}

/// Compile-time check of a metric's name: counters end in `_total`, histograms in a unit.
#[doc(hidden)]
#[must_use]
pub const fn is_well_named(kind: Kind, name: &str) -> bool {
    const UNITS: [&str; 5] = ["_seconds", "_bytes", "_tokens", "_rows", "_ratio"];
    match kind {
        Kind::Counter => ends_with(name, "_total"),
        Kind::Gauge => !ends_with(name, "_total"),
        Kind::Histogram => {
            let mut units: &[&str] = &UNITS;
            while let [unit, rest @ ..] = units {
                if ends_with(name, unit) {
                    return true;
                }
                units = rest;
            }
            false
        }
    }
}

const fn ends_with(text: &str, end: &str) -> bool {
    let (mut text, mut end) = (text.as_bytes(), end.as_bytes());
    loop {
        match (text, end) {
            (_, []) => return true,
            ([head @ .., a], [tail @ .., b]) if *a == *b => (text, end) = (head, tail),
            _ => return false,
        }
    }
}

/// Declares a struct of metrics: one field per metric with its help, name, labels and buckets.
///
/// The doc comment of a field is the help text. Labels are types that implement
/// [`LabelValue`](crate::LabelValue), most of them made by [`label!`](crate::label). A counter's name must
/// end in `_total` and a histogram's in its unit, or the table does not compile.
///
/// ```
/// telemetry::label! {
///     /// How an attempt ended.
///     pub enum Outcome { Ok => "ok", Refused => "refused" }
/// }
/// telemetry::metrics! {
///     /// What the example counts.
///     pub struct ExampleMetrics {
///         /// Attempts that have ended.
///         pub attempts: Counter["example_attempts_total"] { outcome: Outcome },
///         /// Time one attempt took.
///         pub duration: Histogram["example_attempt_seconds"] { outcome: Outcome }
///             buckets = [0.1, 1.0, 10.0],
///         /// Attempts under way.
///         pub running: Gauge["example_attempts_running"] {},
///     }
/// }
///
/// let mut registry = telemetry::Registry::new();
/// let metrics = ExampleMetrics::register(&mut registry)?;
/// metrics.attempts.inc(Outcome::Refused);
/// metrics.duration.observe(Outcome::Ok, 0.2);
/// assert!(registry.encode().contains(r#"example_attempts_total{outcome="refused"} 1"#));
/// # Ok::<(), telemetry::DuplicateMetric>(())
/// ```
///
/// A counter without `_total` is refused:
///
/// ```compile_fail,E0080
/// telemetry::metrics! {
///     /// Badly named.
///     pub struct Bad {
///         /// Attempts.
///         pub attempts: Counter["example_attempts"] {},
///     }
/// }
/// ```
#[macro_export]
macro_rules! metrics {
    (
        $(#[$outer:meta])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $help:literal])+
                $field_vis:vis $field:ident : $kind:ident [$metric:literal] {
                    $($label:ident : $value:ty),* $(,)?
                }
                $(buckets = [$($bucket:literal),+ $(,)?])?
            ),* $(,)?
        }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Debug)]
        $vis struct $name {
            $(
                $(#[doc = $help])+
                $field_vis $field: $crate::$kind<$crate::label_types!($($value),*)>,
            )*
        }

        impl $name {
            /// The table this struct was declared by.
            $vis const TABLE: &'static [$crate::Declaration] = &[
                $($crate::Declaration {
                    name: $metric,
                    kind: $crate::Kind::$kind,
                    help: concat!($($help),+),
                    labels: &[$(stringify!($label)),*],
                    series: <$crate::label_types!($($value),*) as $crate::Labels>::SERIES,
                }),*
            ];

            /// Makes the metrics and hands them to `registry`.
            ///
            /// # Errors
            /// If the registry has a metric of one of these names already.
            $vis fn register(
                registry: &mut $crate::Registry,
            ) -> ::core::result::Result<Self, $crate::DuplicateMetric> {
                $(const {
                    assert!(
                        $crate::declare::is_well_named($crate::Kind::$kind, $metric),
                        concat!(
                            "metric ", $metric,
                            ": counters end in _total, histograms in a unit, gauges not in _total"
                        )
                    );
                })*
                Ok(Self {
                    $($field: registry.add(
                        $crate::Declaration {
                            name: $metric,
                            kind: $crate::Kind::$kind,
                            help: concat!($($help),+),
                            labels: &[$(stringify!($label)),*],
                            series: <$crate::label_types!($($value),*) as $crate::Labels>::SERIES,
                        },
                        &[$($($bucket),+)?],
                    )?,)*
                })
            }
        }
    };
}

/// The type of a metric's labels: nothing, the one type itself, or a tuple.
#[doc(hidden)]
#[macro_export]
macro_rules! label_types {
    () => { () };
    ($one:ty) => { $one };
    ($($many:ty),+) => { ($($many),+) };
}
