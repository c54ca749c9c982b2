//! The forward proxy for AI tools.

use std::path::PathBuf;

use ipnet::IpNet;
use stdx::Secret;
use url::Url;

use super::options;
use crate::check;
use crate::groups::AI_PROXY;
use crate::row::Daemon;
use crate::value::HostPort;

/// coderd shows the values in its deployment endpoint; aibridgeproxyd acts on them.
const PROXY: &[Daemon] = &[Daemon::Coderd, Daemon::Aibridgeproxyd];

/// The names of an option from the time when the gateway was called AI Bridge.
macro_rules! old_names {
    ($env:literal, $flag:literal, $yaml:literal) => {
        &[$crate::row::Alias {
            env: concat!("CODER_AIBRIDGE_PROXY_", $env),
            flag: concat!("aibridge-proxy-", $flag),
            yaml: concat!("aibridgeproxy.", $yaml),
            deprecated: true,
        }]
    };
}

options! {
    /// The forward proxy for AI tools.
    GatewayProxy at "gateway_proxy" {
        /// Run the proxy.
        enabled: bool = "false" {
            name: "AI Gateway Proxy Enabled", env: "CODER_AI_GATEWAY_PROXY_ENABLED",
            flag: "ai-gateway-proxy-enabled", yaml: "enabled", group: &AI_PROXY, daemons: PROXY,
            json: "ai.aibridge_proxy.enabled",
            aliases: old_names!("ENABLED", "enabled", "enabled"),
        },
        /// The address on which the proxy listens.
        listen_addr: HostPort = ":8888" {
            name: "AI Gateway Proxy Listen Address", env: "CODER_AI_GATEWAY_PROXY_LISTEN_ADDR",
            flag: "ai-gateway-proxy-listen-addr", yaml: "listen_addr", group: &AI_PROXY,
            daemons: PROXY, json: "ai.aibridge_proxy.listen_addr", json_as_text: true,
            aliases: old_names!("LISTEN_ADDR", "listen-addr", "listen_addr"),
        },
        /// Base URL of the gateway. May have a path, must have no query.
        target: Option<Url> = "" {
            name: "AI Gateway Proxy Target", env: "CODER_AI_GATEWAY_PROXY_TARGET",
            flag: "ai-gateway-proxy-target", yaml: "target", group: &AI_PROXY, daemons: PROXY,
            json: "ai.aibridge_proxy.target", check: Some(check::base_url),
            default_note: "/api/v2/ai-gateway below the access URL",
        },
        /// Certificate of the proxy's own listener, in PEM. Needs the key.
        tls_cert_file: Option<PathBuf> = "" {
            name: "AI Gateway Proxy TLS Certificate File",
            env: "CODER_AI_GATEWAY_PROXY_TLS_CERT_FILE", flag: "ai-gateway-proxy-tls-cert-file",
            yaml: "tls_cert_file", group: &AI_PROXY, daemons: PROXY,
            json: "ai.aibridge_proxy.tls_cert_file",
            aliases: old_names!("TLS_CERT_FILE", "tls-cert-file", "tls_cert_file"),
        },
        /// Key of the proxy's own listener, in PEM.
        tls_key_file: Option<PathBuf> = "" {
            name: "AI Gateway Proxy TLS Key File", env: "CODER_AI_GATEWAY_PROXY_TLS_KEY_FILE",
            flag: "ai-gateway-proxy-tls-key-file", yaml: "tls_key_file", group: &AI_PROXY,
            daemons: PROXY, json: "ai.aibridge_proxy.tls_key_file",
            aliases: old_names!("TLS_KEY_FILE", "tls-key-file", "tls_key_file"),
        },
        /// Certificate of the authority that signs for the hosts of providers, in PEM.
        cert_file: Option<PathBuf> = "" {
            name: "AI Gateway Proxy MITM CA Certificate File",
            env: "CODER_AI_GATEWAY_PROXY_CERT_FILE", flag: "ai-gateway-proxy-cert-file",
            yaml: "cert_file", group: &AI_PROXY, daemons: PROXY,
            json: "ai.aibridge_proxy.cert_file",
            aliases: old_names!("CERT_FILE", "cert-file", "cert_file"),
        },
        /// Key of that authority, in PEM.
        key_file: Option<PathBuf> = "" {
            name: "AI Gateway Proxy MITM CA Key File", env: "CODER_AI_GATEWAY_PROXY_KEY_FILE",
            flag: "ai-gateway-proxy-key-file", yaml: "key_file", group: &AI_PROXY, daemons: PROXY,
            json: "ai.aibridge_proxy.key_file",
            aliases: old_names!("KEY_FILE", "key-file", "key_file"),
        },
        /// No effect: the hosts come from the base URLs of the providers.
        domain_allowlist: Vec<String> = "" {
            name: "AI Gateway Proxy Domain Allowlist",
            env: "CODER_AI_GATEWAY_PROXY_DOMAIN_ALLOWLIST",
            flag: "ai-gateway-proxy-domain-allowlist", yaml: "domain_allowlist", group: &AI_PROXY,
            daemons: PROXY, json: "ai.aibridge_proxy.domain_allowlist", hidden: true,
            use_instead: "the base URLs of the providers",
            aliases: old_names!("DOMAIN_ALLOWLIST", "domain-allowlist", "domain_allowlist"),
        },
        /// Another proxy that plain tunnels go through: `http://[user:password@]host:port`.
        upstream_proxy: Option<Secret<String>> = "" {
            name: "AI Gateway Proxy Upstream", env: "CODER_AI_GATEWAY_PROXY_UPSTREAM",
            flag: "ai-gateway-proxy-upstream", yaml: "upstream_proxy", group: &AI_PROXY,
            daemons: PROXY, json: "ai.aibridge_proxy.upstream_proxy",
            check: Some(check::upstream_proxy),
            aliases: old_names!("UPSTREAM", "upstream", "upstream_proxy"),
        },
        /// A further authority in PEM that is trusted for an https upstream proxy.
        upstream_proxy_ca: Option<PathBuf> = "" {
            name: "AI Gateway Proxy Upstream CA", env: "CODER_AI_GATEWAY_PROXY_UPSTREAM_CA",
            flag: "ai-gateway-proxy-upstream-ca", yaml: "upstream_proxy_ca", group: &AI_PROXY,
            daemons: PROXY, json: "ai.aibridge_proxy.upstream_proxy_ca",
            aliases: old_names!("UPSTREAM_CA", "upstream-ca", "upstream_proxy_ca"),
        },
        /// Private networks that tunnels may lead to although such ranges are blocked.
        allowed_private_cidrs: Vec<IpNet> = "" {
            name: "AI Gateway Proxy Allowed Private CIDRs",
            env: "CODER_AI_GATEWAY_PROXY_ALLOWED_PRIVATE_CIDRS",
            flag: "ai-gateway-proxy-allowed-private-cidrs", yaml: "allowed_private_cidrs",
            group: &AI_PROXY, daemons: PROXY, json: "ai.aibridge_proxy.allowed_private_cidrs",
            aliases: old_names!(
                "ALLOWED_PRIVATE_CIDRS", "allowed-private-cidrs", "allowed_private_cidrs"
            ),
        },
        /// Directory for dumps of decrypted requests, for debugging only. Empty writes none.
        dump_dir: Option<PathBuf> = "" {
            name: "AI Gateway Proxy API Dump Directory", env: "CODER_AI_GATEWAY_PROXY_DUMP_DIR",
            flag: "ai-gateway-proxy-dump-dir", yaml: "api_dump_dir", group: &AI_PROXY,
            daemons: PROXY, json: "ai.aibridge_proxy.api_dump_dir",
            aliases: old_names!("DUMP_DIR", "dump-dir", "api_dump_dir"),
        },
    }
}
