//! Logs, metrics, traces, health.

use std::path::PathBuf;
use std::time::Duration;

use super::{ALL, options};
use crate::check;
use crate::groups::{HEALTH, LOGGING, PPROF, PROMETHEUS, TRACING};
use crate::row::Alias;
use crate::value::HostPort;

options! {
    /// Logs, metrics, traces, health.
    Introspection at "introspection" {
        /// Write debug lines.
        verbose: bool = "false" {
            name: "Verbose", env: "CODER_VERBOSE", flag: "verbose", short: Some('v'),
            yaml: "verbose", group: &LOGGING, json: "verbose", hidden: true,
            use_instead: "CODER_LOG_FILTER", daemons: ALL,
        },
        /// Regular expressions on logger names whose debug lines are written. `.*` means all.
        log_filter: Vec<String> = "" {
            name: "Log Filter", env: "CODER_LOG_FILTER", flag: "log-filter", short: Some('l'),
            yaml: "filter", group: &LOGGING, json: "logging.log_filter",
            check: Some(check::regexes), daemons: ALL,
            aliases: &[Alias {
                env: "CODER_LOGGING_FILTER", flag: "", yaml: "", deprecated: false,
            }],
        },
        /// File for log lines that people read. Empty writes none.
        log_human: Option<PathBuf> = "/dev/stderr" {
            name: "Human Log Location", env: "CODER_LOGGING_HUMAN", flag: "log-human",
            yaml: "humanPath", group: &LOGGING, json: "logging.human", daemons: ALL,
            aliases: &[Alias { env: "CODER_LOG_HUMAN", flag: "", yaml: "", deprecated: false }],
        },
        /// File for log lines in JSON. Empty writes none.
        log_json: Option<PathBuf> = "" {
            name: "JSON Log Location", env: "CODER_LOGGING_JSON", flag: "log-json",
            yaml: "jsonPath", group: &LOGGING, json: "logging.json", daemons: ALL,
            aliases: &[Alias { env: "CODER_LOG_JSON", flag: "", yaml: "", deprecated: false }],
        },
        /// Serve metrics for Prometheus.
        prometheus_enable: bool = "false" {
            name: "Prometheus Enable", env: "CODER_PROMETHEUS_ENABLE", flag: "prometheus-enable",
            yaml: "enable", group: &PROMETHEUS, json: "prometheus.enable", daemons: ALL,
        },
        /// The address on which metrics are served.
        prometheus_address: HostPort = "127.0.0.1:2112" {
            name: "Prometheus Address", env: "CODER_PROMETHEUS_ADDRESS",
            flag: "prometheus-address", yaml: "address", group: &PROMETHEUS,
            json: "prometheus.address", daemons: ALL,
        },
        /// Give every database query a metric of its own. Makes many series.
        prometheus_collect_db_metrics: bool = "false" {
            name: "Prometheus Collect Database Metrics",
            env: "CODER_PROMETHEUS_COLLECT_DB_METRICS", flag: "prometheus-collect-db-metrics",
            yaml: "collect_db_metrics", group: &PROMETHEUS, json: "prometheus.collect_db_metrics",
        },
        /// Serve profiles.
        pprof_enable: bool = "false" {
            name: "pprof Enable", env: "CODER_PPROF_ENABLE", flag: "pprof-enable", yaml: "enable",
            group: &PPROF, json: "pprof.enable", daemons: ALL,
        },
        /// The address on which profiles are served. Must be on this machine: there is no login.
        pprof_address: HostPort = "127.0.0.1:6060" {
            name: "pprof Address", env: "CODER_PPROF_ADDRESS", flag: "pprof-address",
            yaml: "address", group: &PPROF, json: "pprof.address", daemons: ALL,
        },
        /// Send traces by OTLP, to where the standard `OTEL_*` variables say.
        trace_enable: bool = "false" {
            name: "Trace Enable", env: "CODER_TRACE_ENABLE", flag: "trace", yaml: "enable",
            group: &TRACING, json: "trace.enable", daemons: ALL,
        },
        /// Attach log lines to traces as events.
        trace_logs: bool = "false" {
            name: "Capture Logs in Traces", env: "CODER_TRACE_LOGS", flag: "trace-logs",
            yaml: "captureLogs", group: &TRACING, json: "trace.capture_logs", daemons: ALL,
        },
        /// How old a health report may get before it is made anew.
        health_refresh: Duration = "10m" {
            name: "Health Check Refresh", env: "CODER_HEALTH_CHECK_REFRESH",
            flag: "health-check-refresh", yaml: "refresh", group: &HEALTH,
            json: "healthcheck.refresh",
        },
        /// Database latency (median of five) from which on the report warns.
        health_threshold_database: Duration = "15ms" {
            name: "Health Check Threshold: Database", env: "CODER_HEALTH_CHECK_THRESHOLD_DATABASE",
            flag: "health-check-threshold-database", yaml: "thresholdDatabase", group: &HEALTH,
            json: "healthcheck.threshold_database",
        },
    }
}
