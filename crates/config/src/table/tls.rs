//! Serving and asking by TLS.

use std::path::PathBuf;

use super::{ALL, GATEWAYS, options};
use crate::check;
use crate::groups::TLS;
use crate::value::{HostPort, TlsClientAuth, TlsVersion};

options! {
    /// Serving and asking by TLS.
    Tls at "tls" {
        /// Serve by TLS. aibridged then serves nothing else on its address.
        enable: bool = "false" {
            name: "TLS Enable", env: "CODER_TLS_ENABLE", flag: "tls-enable", yaml: "enable",
            group: &TLS, json: "tls.enable", daemons: GATEWAYS,
        },
        /// The address on which TLS is served, if it is on.
        address: Option<HostPort> = "127.0.0.1:3443" {
            name: "TLS Address", env: "CODER_TLS_ADDRESS", flag: "tls-address", yaml: "address",
            group: &TLS, json: "tls.address",
        },
        /// Certificate chains in PEM, the server's own first. As many as there are key files.
        ///
        /// A client gets the first certificate that fits the name it asks for.
        cert_files: Vec<PathBuf> = "" {
            name: "TLS Certificate Files", env: "CODER_TLS_CERT_FILE", flag: "tls-cert-file",
            yaml: "certFiles", group: &TLS, json: "tls.cert_file", daemons: GATEWAYS,
        },
        /// Private keys in PEM, in the order of the certificate files.
        key_files: Vec<PathBuf> = "" {
            name: "TLS Key Files", env: "CODER_TLS_KEY_FILE", flag: "tls-key-file",
            yaml: "keyFiles", group: &TLS, json: "tls.key_file", daemons: GATEWAYS,
        },
        /// Authorities in PEM that sign the certificates of clients.
        client_ca_file: Option<PathBuf> = "" {
            name: "TLS Client CA File", env: "CODER_TLS_CLIENT_CA_FILE",
            flag: "tls-client-ca-file", yaml: "clientCAFile", group: &TLS,
            json: "tls.client_ca_file", daemons: GATEWAYS,
        },
        /// What is asked of clients.
        client_auth: TlsClientAuth = "none" {
            name: "TLS Client Auth", env: "CODER_TLS_CLIENT_AUTH", flag: "tls-client-auth",
            yaml: "clientAuth", group: &TLS, json: "tls.client_auth", daemons: GATEWAYS,
        },
        /// The lowest TLS version that is accepted.
        min_version: TlsVersion = "tls12" {
            name: "TLS Minimum Version", env: "CODER_TLS_MIN_VERSION", flag: "tls-min-version",
            yaml: "minVersion", group: &TLS, json: "tls.min_version", daemons: GATEWAYS,
        },
        /// Certificate that the server shows when it asks login providers. Needs the key.
        client_cert_file: Option<PathBuf> = "" {
            name: "TLS Client Cert File", env: "CODER_TLS_CLIENT_CERT_FILE",
            flag: "tls-client-cert-file", yaml: "clientCertFile", group: &TLS,
            json: "tls.client_cert_file",
        },
        /// Key of the certificate that the server shows when it asks login providers.
        client_key_file: Option<PathBuf> = "" {
            name: "TLS Client Key File", env: "CODER_TLS_CLIENT_KEY_FILE",
            flag: "tls-client-key-file", yaml: "clientKeyFile", group: &TLS,
            json: "tls.client_key_file",
        },
        /// Cipher suites that are offered with TLS 1.2. Empty offers all secure ones.
        ciphers: Vec<String> = "" {
            name: "TLS Ciphers", env: "CODER_TLS_CIPHERS", flag: "tls-ciphers",
            yaml: "tlsCiphers", group: &TLS, json: "tls.supported_ciphers",
            check: Some(check::ciphers), daemons: GATEWAYS,
        },
        /// Seconds for which browsers shall insist on https (`max-age` of the
        /// `Strict-Transport-Security` header). 0 sends no header.
        strict_transport_security: u32 = "0" {
            name: "Strict-Transport-Security", env: "CODER_STRICT_TRANSPORT_SECURITY",
            flag: "strict-transport-security", yaml: "strictTransportSecurity", group: &TLS,
            json: "strict_transport_security", daemons: ALL,
        },
        /// Extras of that header: `includeSubDomains`, `preload`.
        strict_transport_security_options: Vec<String> = "" {
            name: "Strict-Transport-Security Options",
            env: "CODER_STRICT_TRANSPORT_SECURITY_OPTIONS",
            flag: "strict-transport-security-options", yaml: "strictTransportSecurityOptions",
            group: &TLS, json: "strict_transport_security_options",
            check: Some(check::hsts_options), daemons: ALL,
        },
    }
}
