use std::borrow::Cow;

use super::*;

crate::label! {
    /// How an attempt ended.
    pub(crate) enum Outcome { Ok => "ok", Refused => "refused" }
}

crate::metrics! {
    /// What these tests count.
    pub(crate) struct TestMetrics {
        /// Attempts that have ended,
        /// whatever came of them.
        pub(crate) attempts: Counter["test_attempts_total"] { outcome: Outcome, route: Cow<'static, str> },
        /// Restarts.
        pub(crate) restarts: Counter["test_restarts_total"] {},
        /// Attempts under way.
        pub(crate) running: Gauge["test_running"] { outcome: Outcome },
        /// Time one attempt took.
        pub(crate) took: Histogram["test_took_seconds"] { outcome: Outcome, retried: bool } buckets = [0.5, 1.0],
    }
}

#[test]
fn the_exposition_holds_help_units_and_every_series_in_order() {
    let mut registry = Registry::new();
    let metrics = TestMetrics::register(&mut registry).unwrap();
    metrics.attempts.inc_by((Outcome::Refused, "/b".into()), 2);
    metrics.attempts.inc((Outcome::Ok, "/a \"quoted\"\n".into()));
    assert_eq!(metrics.restarts.get(&()), 0);
    metrics.running.set(Outcome::Ok, 7);
    metrics.took.observe((Outcome::Ok, true), 0.75);
    let want = r#"# HELP telemetry_series_refused Values that were not recorded because their metric has too many series.
# TYPE telemetry_series_refused counter
telemetry_series_refused_total 0
# HELP test_attempts Attempts that have ended, whatever came of them.
# TYPE test_attempts counter
test_attempts_total{outcome="ok",route="/a \"quoted\"\n"} 1
test_attempts_total{outcome="refused",route="/b"} 2
# HELP test_restarts Restarts.
# TYPE test_restarts counter
test_restarts_total 0
# HELP test_running Attempts under way.
# TYPE test_running gauge
test_running{outcome="ok"} 7
# HELP test_took_seconds Time one attempt took.
# TYPE test_took_seconds histogram
test_took_seconds_sum{outcome="ok",retried="true"} 0.75
test_took_seconds_count{outcome="ok",retried="true"} 1
test_took_seconds_bucket{le="0.5",outcome="ok",retried="true"} 0
test_took_seconds_bucket{le="1.0",outcome="ok",retried="true"} 1
test_took_seconds_bucket{le="+Inf",outcome="ok",retried="true"} 1
# EOF
"#;
    assert_eq!(registry.encode(), want);
}

#[test]
fn a_name_declared_twice_is_refused() {
    let mut registry = Registry::new();
    TestMetrics::register(&mut registry).unwrap();
    let error = TestMetrics::register(&mut registry).unwrap_err();
    assert_eq!(error.to_string(), "metric test_attempts_total is declared twice");
}

#[test]
fn the_table_knows_how_many_series_there_can_be() {
    let series: Vec<_> = TestMetrics::TABLE.iter().map(|row| (row.name, row.series)).collect();
    assert_eq!(
        series,
        [
            ("test_attempts_total", None),
            ("test_restarts_total", Some(1)),
            ("test_running", Some(2)),
            ("test_took_seconds", Some(4)),
        ]
    );
    assert_eq!(TestMetrics::TABLE[0].labels, ["outcome", "route"]);
    assert_eq!(TestMetrics::TABLE[3].kind, Kind::Histogram);
}

#[test]
fn series_beyond_the_bound_are_counted_and_not_exposed() {
    let mut registry = Registry::with_series_max(2);
    let metrics = TestMetrics::register(&mut registry).unwrap();
    for path in ["/1", "/2", "/3", "/3", "/1"] {
        metrics.attempts.inc((Outcome::Ok, path.into()));
    }
    let text = registry.encode();
    assert_eq!(metrics.attempts.get(&(Outcome::Ok, "/1".into())), 2);
    assert_eq!(metrics.attempts.get(&(Outcome::Ok, "/3".into())), 0);
    assert!(!text.contains("/3"), "{text}");
    assert!(text.contains("telemetry_series_refused_total 2"), "{text}");
}

#[test]
fn a_gauge_goes_down_when_its_guard_is_dropped_even_by_a_panic() {
    let metrics = TestMetrics::register(&mut Registry::new()).unwrap();
    let entered = metrics.running.enter(Outcome::Ok);
    assert_eq!(metrics.running.get(&Outcome::Ok), 1);
    drop(entered);
    let running = metrics.running.clone();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _entered = running.enter(Outcome::Ok);
        panic!("planned");
    }));
    assert!(result.is_err());
    assert_eq!(metrics.running.get(&Outcome::Ok), 0);
}

#[test]
fn names_without_unit_are_refused() {
    for (kind, name, good) in [
        (Kind::Counter, "attempts", false),
        (Kind::Counter, "attempts_total", true),
        (Kind::Counter, "_tota", false),
        (Kind::Gauge, "running_total", false),
        (Kind::Gauge, "running", true),
        (Kind::Histogram, "took", false),
        (Kind::Histogram, "took_millis", false),
        (Kind::Histogram, "took_seconds", true),
        (Kind::Histogram, "body_bytes", true),
        (Kind::Histogram, "", false),
    ] {
        assert_eq!(declare::is_well_named(kind, name), good, "{name}");
    }
}
