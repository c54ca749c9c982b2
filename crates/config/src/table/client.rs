//! What clients are told, and where the configuration itself is.

use std::path::PathBuf;

use url::Url;

use super::{ALL, options};
use crate::check;
use crate::groups::{CLIENT, NETWORKING};

options! {
    /// What clients are told.
    Client at "client" {
        /// Where links to the documentation lead.
        docs_url: Option<Url> = "" {
            name: "Docs URL", env: "CODER_DOCS_URL", flag: "docs-url", yaml: "docsURL",
            group: &NETWORKING, json: "docs_url", check: Some(check::http_url),
        },
        /// Where users find help; shown as the support link.
        support_url: Option<Url> = "" {
            name: "Support URL", env: "CODER_SUPPORT_URL", flag: "support-url",
            yaml: "supportURL", group: &CLIENT, check: Some(check::http_url),
        },
        /// Terms that users must accept; linked from the login page.
        terms_of_service_url: Option<Url> = "" {
            name: "Terms of Service URL", env: "CODER_TERMS_OF_SERVICE_URL",
            flag: "terms-of-service-url", yaml: "termsOfServiceURL", json: "terms_of_service_url",
            check: Some(check::http_url),
        },
        /// What a client is told when its version differs from the server's.
        cli_upgrade_message: String = "" {
            name: "CLI Upgrade Message", env: "CODER_CLI_UPGRADE_MESSAGE",
            flag: "cli-upgrade-message", yaml: "cliUpgradeMessage", group: &CLIENT,
            json: "cli_upgrade_message",
        },
    }
}

options! {
    /// Where the configuration itself is.
    Configuration at "configuration" {
        /// File with options in YAML.
        path: Option<PathBuf> = "" {
            name: "Config Path", env: "CODER_CONFIG_PATH", flag: "config", short: Some('c'),
            json: "config", daemons: ALL,
        },
        /// Print the effective configuration as YAML, without secrets, and exit.
        write: bool = "false" {
            name: "Write Config", flag: "write-config", json: "write_config", daemons: ALL,
        },
    }
}
