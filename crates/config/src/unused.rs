//! Names that belong to the product's other parts or to options that this server does without.
//!
//! They are accepted, so that an environment or a file that was written for the whole product starts
//! this server too, and named in one warning.

/// Options by flag. The variable is the flag in upper case with `CODER_` in front, unless listed.
const FLAGS: &[&str] = &[
    "allow-workspace-renames",
    "browser-only",
    "cluster-host",
    "dangerous-allow-cors-requests",
    "dangerous-allow-path-app-sharing",
    "dangerous-allow-path-app-site-owner-access",
    "dangerous-oidc-email-fallback",
    "dangerous-oidc-skip-issuer-checks",
    "disable-path-apps",
    "disable-user-secret-file-path",
    "enable-authz-recordings",
    "ephemeral",
    "hide-ai-tasks",
    "log-stackdriver",
    "mcp-allowed-private-cidrs",
    "metrics-cache-refresh-interval",
    "prometheus-aggregate-agent-stats-by",
    "prometheus-collect-agent-stats",
    "proxy-health-interval",
    "scim-auth-header",
    "scim-use-legacy",
    "ssh-config-options",
    "ssh-hostname-prefix",
    "ssh-keygen-algorithm",
    "stats-collection-usage-stats-enable",
    "support-links",
    "telemetry",
    "terraform-debug-mode",
    "tls-allow-insecure-ciphers",
    "trace-datadog",
    "trace-honeycomb-api-key",
    "update-check",
    "web-terminal-renderer",
    "wildcard-access-url",
    "workspace-hostname-suffix",
];

/// Beginnings of flags, in the same form.
const FLAG_PREFIXES: &[&str] = &[
    "agent-",
    "autobuild-",
    "chat-",
    "derp-",
    "email-",
    "external-auth-",
    "gitauth-",
    "inbox-",
    "job-",
    "notifications-",
    "oauth2-github-",
    "oidc-",
    "provisioner-",
    "quiet-hours-",
    "allow-custom-quiet-hours",
    "default-quiet-hours-",
    "telemetry-",
    "template-builder-",
    "workspace-prebuilds-",
];

/// Variables whose name does not follow from a flag.
const VARIABLES: &[&str] =
    &["CODER_LOGGING_STACKDRIVER", "CODER_TELEMETRY", "CODER_TELEMETRY_ENABLE"];

/// Variables that other programs of the product read: its command line, its agents.
const FOREIGN: &[&str] = &[
    "CODER_CONFIG_DIR",
    "CODER_EMAIL",
    "CODER_HEADER",
    "CODER_HEADER_COMMAND",
    "CODER_NO_FEATURE_WARNING",
    "CODER_NO_VERSION_WARNING",
    "CODER_ORGANIZATION",
    "CODER_PASSWORD",
    "CODER_SESSION_TOKEN",
    "CODER_USE_KEYRING",
    "CODER_USERNAME",
    "CODER",
];

/// Beginnings of such variables.
const FOREIGN_PREFIXES: &[&str] = &[
    "CODER_AGENT_",
    "CODER_EXTERNAL_TOKEN_ENCRYPTION_DECRYPT_",
    "CODER_EXTERNAL_TOKEN_ENCRYPTION_ENCRYPT_",
    "CODER_EXTERNAL_TOKEN_ENCRYPTION_POSTGRES_",
    "CODER_FIRST_USER_",
    "CODER_SCALETEST_",
    "CODER_TOKEN_",
    "CODER_WORKSPACE_",
];

/// Keys and groups of the YAML file, each with everything below it.
const YAML: &[&str] = &[
    "allowWorkspaceRenames",
    "autobuildPollInterval",
    "chat",
    "client.hideAITasks",
    "client.sshConfigOptions",
    "client.sshHostnamePrefix",
    "client.webTerminalRenderer",
    "client.workspaceHostnameSuffix",
    "dangerous",
    "disablePathApps",
    "disableUserSecretFilePath",
    "email",
    "ephemeralDeployment",
    "externalAuthGithubDefaultProviderEnable",
    "externalAuthProviders",
    "inbox",
    "introspection.logging.stackdriverPath",
    "introspection.prometheus.aggregate_agent_stats_by",
    "introspection.prometheus.collect_agent_stats",
    "introspection.statsCollection",
    "introspection.tracing.dataDog",
    "jobHangDetectorInterval",
    "mcp",
    "networking.browserOnly",
    "networking.derp",
    "networking.http.proxyHealthInterval",
    "networking.tls.tlsAllowInsecureCiphers",
    "networking.wildcardAccessURL",
    "notifications",
    "oauth2",
    "oidc",
    "provisioning",
    "scimUseLegacy",
    "sshKeygenAlgorithm",
    "supportLinks",
    "telemetry",
    "template_builder",
    "updateCheck",
    "userQuietHoursSchedule",
    "workspace_prebuilds",
];

/// Whether a flag (without dashes) is known and read by nobody here.
pub(crate) fn is_flag(name: &str) -> bool {
    FLAGS.contains(&name) || FLAG_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a variable is known and read by nobody here.
pub(crate) fn is_variable(name: &str) -> bool {
    VARIABLES.contains(&name)
        || name
            .strip_prefix("CODER_")
            .is_some_and(|rest| is_flag(&rest.to_ascii_lowercase().replace('_', "-")))
}

/// Whether a variable belongs to another program of the product.
pub(crate) fn is_foreign(name: &str) -> bool {
    FOREIGN.contains(&name) || FOREIGN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a path of the YAML file is known and read by nobody here.
pub(crate) fn is_yaml(path: &str) -> bool {
    YAML.contains(&path)
}

/// Whether such paths stand below `path`.
pub(crate) fn is_yaml_above(path: &str) -> bool {
    let group = format!("{path}.");
    YAML.iter().any(|known| known.starts_with(&group))
}
