//! Which options this server acts on. One that is set without effect is told, never ignored in silence.

use config::Loaded;

/// Fields, or whole parts (ending in a dot), of the option table that have an effect here.
const EFFECTIVE: &[&str] = &[
    "configuration.",
    "database.url",
    "database.max_open",
    "database.data_dir",
    "database.cache_dir",
    "gateway.enabled",
    "gateway.send_actor_headers",
    "gateway.allow_byok",
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
    "security.external_token_encryption_keys",
    "sessions.duration",
    "sessions.disable_expiry_refresh",
    "sessions.disable_password_auth",
    "sessions.default_token_lifetime",
    "sessions.max_token_lifetime",
    "sessions.max_admin_token_lifetime",
    "tls.enable",
    "tls.strict_transport_security",
];

/// One warning per option that was set and does nothing.
pub(crate) fn without_effect(loaded: &Loaded) -> Vec<String> {
    loaded
        .sources
        .iter()
        .filter(|(field, origin)| origin.is_given() && !is_effective(field))
        .map(|(_, origin)| format!("{} is set but has no effect in this version.", origin.name))
        .collect()
}

fn is_effective(field: &str) -> bool {
    EFFECTIVE.iter().any(|known| {
        *known == field
            || field
                .strip_prefix(known)
                .is_some_and(|rest| known.ends_with('.') || rest.starts_with('_'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::{Daemon, Environment};

    #[test]
    fn every_name_is_a_field_of_the_table() {
        let fields: Vec<&str> = config::rows().map(|row| row.field).collect();
        for known in EFFECTIVE {
            assert!(
                fields.iter().any(|field| field == known || field.starts_with(known)),
                "{known} names no option"
            );
        }
    }

    #[test]
    fn an_option_without_effect_is_told_by_the_name_it_was_set_by() {
        let env = Environment::from_pairs([
            ("CODER_HTTP_ADDRESS", "127.0.0.1:0"),
            ("CODER_AI_GATEWAY_RATE_LIMIT", "5"),
            ("HOME", "/nowhere"),
        ]);
        let loaded = config::load(Daemon::Coderd, &[], &env).unwrap();
        assert_eq!(
            without_effect(&loaded),
            ["CODER_AI_GATEWAY_RATE_LIMIT is set but has no effect in this version."]
        );
    }
}
