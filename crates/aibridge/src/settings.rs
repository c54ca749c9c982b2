//! How a gateway behaves, and which options of the deployment say so.

use stdx::Lifecycle;

use crate::breaker::BreakerSettings;
use crate::driver::Timeouts;
use crate::limits::LimitSettings;

/// How a gateway behaves.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Spawns what must outlive a request, and tells when the process stops.
    pub lifecycle: Lifecycle,
    /// Whether callers may bring their own provider credentials.
    pub allow_byok: bool,
    /// Whether providers are told who is calling (`X-AI-Bridge-Actor-…`).
    pub send_actor_headers: bool,
    /// Whether metrics carry the caller's user id.
    pub metrics_by_initiator: bool,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// What one replica takes on at most.
    pub limits: LimitSettings,
    /// When a provider that fails is left alone; never if absent.
    pub breaker: Option<BreakerSettings>,
}

impl GatewaySettings {
    /// The documented defaults.
    #[must_use]
    pub fn new(lifecycle: Lifecycle) -> Self {
        Self {
            lifecycle,
            allow_byok: true,
            send_actor_headers: false,
            metrics_by_initiator: false,
            timeouts: Timeouts::default(),
            limits: LimitSettings::default(),
            breaker: None,
        }
    }

    /// What the deployment's options say. The same for every daemon that serves AI requests; how long
    /// answers may still take at the end of the process is for the daemon to set.
    #[must_use]
    pub fn of(options: &config::Gateway, lifecycle: Lifecycle) -> Self {
        Self {
            allow_byok: options.allow_byok,
            send_actor_headers: options.send_actor_headers,
            limits: LimitSettings {
                max_concurrency: options.max_concurrency,
                rate_per_second: options.rate_limit,
                memory_max_bytes: options.memory_max.0,
            },
            breaker: options.circuit_breaker_enabled.then_some(BreakerSettings {
                failure_threshold: options.circuit_breaker_failure_threshold,
                interval: options.circuit_breaker_interval,
                timeout: options.circuit_breaker_timeout,
                max_requests: options.circuit_breaker_max_requests,
            }),
            timeouts: Timeouts {
                first_byte: options.first_byte_timeout,
                stream_idle: options.stream_idle_timeout,
                blocking: options.blocking_timeout,
                ..Timeouts::default()
            },
            ..Self::new(lifecycle)
        }
    }

    /// The options that [`Self::of`] reads, as fields of the option table: a daemon that lists which options
    /// have an effect there adds these.
    pub const OPTIONS: &[&str] = &[
        "gateway.allow_byok",
        "gateway.send_actor_headers",
        "gateway.max_concurrency",
        "gateway.rate_limit",
        "gateway.memory_max",
        "gateway.first_byte_timeout",
        "gateway.stream_idle_timeout",
        "gateway.blocking_timeout",
        "gateway.circuit_breaker_enabled",
        "gateway.circuit_breaker_failure_threshold",
        "gateway.circuit_breaker_interval",
        "gateway.circuit_breaker_timeout",
        "gateway.circuit_breaker_max_requests",
    ];
}

#[cfg(test)]
mod tests {
    use config::{Daemon, Environment};

    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> String {
        let needed = [
            ("CODER_URL", "http://127.0.0.1:1"),
            ("CODER_AI_GATEWAY_KEY", "cgw_x"),
            ("HOME", "/x"),
        ];
        let env = Environment::from_pairs(needed.into_iter().chain(pairs.iter().copied()));
        let loaded = config::load(Daemon::Aibridged, &[], &env).unwrap();
        format!("{:?}", GatewaySettings::of(&loaded.options.gateway, Lifecycle::new()))
    }

    #[test]
    fn every_option_that_is_said_to_have_an_effect_has_one() {
        // What there is to say about circuits matters only once there are some.
        const ON: (&str, &str) = ("CODER_AI_GATEWAY_CIRCUIT_BREAKER_ENABLED", "true");
        let plain = settings(&[ON]);
        for field in GatewaySettings::OPTIONS {
            let row = config::rows().find(|row| row.field == *field).unwrap();
            let values = ["false", "true", "7", "7s", "7MiB"];
            let changed = values.into_iter().filter(|value| {
                let env = Environment::from_pairs([(row.env, *value), ("HOME", "/x")]);
                let read = config::load(Daemon::Coderd, &[], &env);
                read.is_ok() && settings(&[ON, (row.env, *value)]) != plain
            });
            assert!(changed.count() > 0, "{field}");
        }
    }

    #[test]
    fn the_defaults_of_the_options_are_those_of_the_settings() {
        let defaults = format!("{:?}", GatewaySettings::new(Lifecycle::new()));
        assert_eq!(settings(&[]), defaults);
    }
}
