//! Which options this daemon acts on. One that is set without effect is told, never ignored in silence.

use aibridge::GatewaySettings;

/// Fields, or whole parts (ending in a dot), of the option table that have an effect here.
pub(crate) fn effective() -> Vec<&'static str> {
    [OURS, GatewaySettings::OPTIONS, process::SPOOL_OPTIONS].concat()
}

const OURS: &[&str] = &[
    "configuration.",
    "gateway_daemon.coderd_url",
    "gateway_daemon.coderd_ca_file",
    "gateway_daemon.key",
    "gateway_daemon.listen_addr",
    "gateway_daemon.threads",
    "gateway_daemon.identity_grace",
    "introspection.verbose",
    "introspection.log_filter",
    "introspection.log_human",
    "introspection.log_json",
    "introspection.prometheus_enable",
    "introspection.prometheus_address",
    "networking.proxy_trusted_headers",
    "networking.proxy_trusted_origins",
    "tls.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_field_of_the_table() {
        let fields: Vec<&str> = config::rows()
            .filter(|row| row.is_read_by(config::Daemon::Aibridged))
            .map(|row| row.field)
            .collect();
        for known in effective() {
            assert!(
                fields.iter().any(|field| *field == known || field.starts_with(known)),
                "{known} names no option of this daemon"
            );
        }
    }
}
