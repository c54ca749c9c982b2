//! Which options this server acts on. One that is set without effect is told, never ignored in silence.

use aibridge::GatewaySettings;

/// Fields, or whole parts (ending in a dot), of the option table that have an effect here.
pub(crate) fn effective() -> Vec<&'static str> {
    [OURS, GatewaySettings::OPTIONS, process::SPOOL_OPTIONS].concat()
}

const OURS: &[&str] = &[
    "configuration.",
    "database.url",
    "database.max_open",
    "database.data_dir",
    "database.cache_dir",
    "gateway.enabled",
    "gateway.retention",
    "gateway_seed.",
    "introspection.verbose",
    "introspection.log_filter",
    "introspection.log_human",
    "introspection.log_json",
    "introspection.prometheus_enable",
    "introspection.prometheus_address",
    "networking.access_url",
    "networking.address",
    "networking.http_address",
    "networking.proxy_trusted_headers",
    "networking.proxy_trusted_origins",
    "networking.secure_auth_cookie",
    "networking.samesite_auth_cookie",
    "retention.api_keys",
    "retention.audit_logs",
    "retention.connection_logs",
    "security.disable_chat_sharing",
    "security.disable_owner_workspace_access",
    "security.disable_workspace_sharing",
    "security.external_token_encryption_keys",
    "sessions.duration",
    "sessions.disable_expiry_refresh",
    "sessions.disable_password_auth",
    "sessions.default_token_lifetime",
    "sessions.max_token_lifetime",
    "sessions.max_admin_token_lifetime",
    "tls.",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_field_of_the_table() {
        let fields: Vec<&str> = config::rows().map(|row| row.field).collect();
        for known in effective() {
            assert!(
                fields.iter().any(|field| *field == known || field.starts_with(known)),
                "{known} names no option"
            );
        }
    }
}
