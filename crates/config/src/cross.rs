//! Rules that look at more than one option. They run after all sources are merged, so that values of
//! every source are checked alike. A rule is left out while one of its options is itself wrong.

use url::Url;

use crate::report::Problem;
use crate::resolve::Resolution;
use crate::row::Daemon;
use crate::table::{self, Options};
use crate::value::{SameSite, TlsVersion, format_duration};

/// Experiments whose work is done: accepted, always on.
pub(crate) const FINISHED_EXPERIMENTS: [&str; 2] = ["oauth2", "mcp-server-http"];

/// All experiments that clients may name.
const EXPERIMENTS: [&str; 14] = [
    "agent-lifecycle-hooks",
    "ai-gateway-seat-exclusion",
    "auto-fill-parameters",
    "chat-advisor",
    "chat-virtual-desktop",
    "example",
    "mcp-server-http",
    "mcp-tool-search",
    "nats_pubsub",
    "notifications",
    "oauth2",
    "workspace-build-updates",
    "workspace-capable-licensing",
    "workspace-usage",
];

/// Fills in what follows from other options.
pub(crate) fn complete(daemon: Daemon, options: &mut Options, values: &mut Resolution) {
    if daemon != Daemon::Coderd {
        return;
    }
    replace_address(options);
    derive_access_url(options, values);
    settle_experiments(options, values);
}

/// `CODER_ADDRESS` sets the one listener that counts and switches the other off.
fn replace_address(options: &mut Options) {
    let Some(address) = options.networking.address.clone() else {
        return;
    };
    if options.tls.enable {
        options.tls.address = Some(address);
        options.networking.http_address = None;
    } else {
        options.networking.http_address = Some(address);
    }
}

fn derive_access_url(options: &mut Options, values: &mut Resolution) {
    let networking = &mut options.networking;
    if let Some(url) = &networking.access_url {
        if is_local(url) {
            values.warn(format!(
                "The access URL {url} only works on this machine; set CODER_ACCESS_URL to one that \
                 users can reach."
            ));
        }
        return;
    }
    if !values.sound(&["networking.access_url"]) {
        return;
    }
    let (scheme, address) = match (options.tls.enable, &options.tls.address) {
        (true, Some(address)) => ("https", Some(address)),
        _ => ("http", networking.http_address.as_ref()),
    };
    // With port 0 the port is not known before the server listens.
    let Some(address) = address.filter(|address| address.port != 0) else {
        return;
    };
    let everywhere = address.host.is_empty()
        || address.host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_unspecified());
    let mut reachable = address.clone();
    if everywhere {
        "localhost".clone_into(&mut reachable.host);
    }
    networking.access_url = Url::parse(&format!("{scheme}://{reachable}/")).ok();
    values.warn(format!(
        "CODER_ACCESS_URL is not set; {scheme}://{reachable} is used, which only works on this machine."
    ));
}

/// Whether a URL leads to this machine.
fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Lower case, known names only, finished ones included.
fn settle_experiments(options: &mut Options, values: &mut Resolution) {
    let mut on: Vec<String> = FINISHED_EXPERIMENTS.map(str::to_owned).to_vec();
    for name in &options.security.experiments {
        let name = name.to_ascii_lowercase();
        if name == "*" {
            values.warn("The experiment * enables nothing: no experiment is safe.".to_owned());
        } else if !EXPERIMENTS.contains(&name.as_str()) {
            values.warn(format!("The experiment {name:?} is not known and has no effect."));
        } else if !on.contains(&name) {
            on.push(name);
        }
    }
    options.security.experiments = on;
}

/// Judges the rules and adds a problem for each that is broken.
pub(crate) fn check(daemon: Daemon, options: &Options, values: &mut Resolution) {
    let mut rules = Rules { values };
    match daemon {
        Daemon::Coderd => {
            listeners(options, &mut rules);
            tls(options, &mut rules);
            sessions(options, &mut rules);
            cookies(options, &mut rules);
            database(options, &mut rules);
        }
        Daemon::Aibridged => {
            satellite(options, &mut rules, true);
            tls(options, &mut rules);
        }
        Daemon::Aibridgeproxyd => {
            satellite(options, &mut rules, false);
            proxy(options, &mut rules);
        }
    }
    everywhere(options, &mut rules);
}

struct Rules<'a> {
    values: &'a mut Resolution,
}

impl Rules<'_> {
    /// Adds a problem if `broken`, unless one of the `fields` is itself wrong.
    fn refuse(&mut self, broken: bool, fields: &[&str], reason: impl Into<String>, fix: &str) {
        if broken && self.values.sound(fields) {
            let name = fields.first().and_then(|field| table::row(field));
            self.values.problems.push(Problem {
                option: name.map_or_else(String::new, |row| row.name.to_owned()),
                ..Problem::general(reason, fix)
            });
        }
    }
}

fn listeners(options: &Options, rules: &mut Rules<'_>) {
    let tls = &options.tls;
    rules.refuse(
        tls.enable && tls.address.is_none(),
        &["tls.address", "tls.enable", "networking.address"],
        "TLS address must be set if TLS is enabled",
        "set CODER_TLS_ADDRESS or switch TLS off",
    );
    rules.refuse(
        !tls.enable && options.networking.http_address.is_none(),
        &["networking.http_address", "tls.enable", "networking.address"],
        "TLS is disabled. Enable with --tls-enable or specify a HTTP address",
        "set CODER_HTTP_ADDRESS, or CODER_TLS_ENABLE=true",
    );
}

fn tls(options: &Options, rules: &mut Rules<'_>) {
    let tls = &options.tls;
    rules.refuse(
        tls.cert_files.len() != tls.key_files.len(),
        &["tls.cert_files", "tls.key_files"],
        "--tls-cert-file and --tls-key-file must be used the same amount of times",
        "give one key for each certificate, in the same order",
    );
    rules.refuse(
        tls.client_cert_file.is_some() != tls.client_key_file.is_some(),
        &["tls.client_cert_file", "tls.client_key_file"],
        "--tls-client-cert-file and --tls-client-key-file must be used together",
        "set both or neither",
    );
    rules.refuse(
        tls.min_version == TlsVersion::Tls13 && !tls.ciphers.is_empty(),
        &["tls.ciphers", "tls.min_version"],
        "cipher suites cannot be chosen for TLS 1.3, which is the lowest version here",
        "remove CODER_TLS_CIPHERS, or allow TLS 1.2",
    );
}

fn sessions(options: &Options, rules: &mut Rules<'_>) {
    let sessions = &options.sessions;
    let (refresh, session) = (sessions.default_oauth_refresh_lifetime, sessions.duration);
    rules.refuse(
        refresh <= session,
        &["sessions.default_oauth_refresh_lifetime", "sessions.duration"],
        format!(
            "default OAuth refresh lifetime ({}) must be strictly greater than session duration ({})",
            format_duration(refresh),
            format_duration(session)
        ),
        "set --default-oauth-refresh-lifetime to a value greater than --session-duration",
    );
    if sessions.default_token_lifetime > sessions.max_token_lifetime {
        rules.values.warn(format!(
            "CODER_DEFAULT_TOKEN_LIFETIME is longer than CODER_MAX_TOKEN_LIFETIME; tokens last at \
             most {}.",
            format_duration(sessions.max_token_lifetime)
        ));
    }
    if sessions.max_admin_token_lifetime > sessions.max_token_lifetime {
        rules.values.warn(
            "CODER_MAX_ADMIN_TOKEN_LIFETIME is longer than CODER_MAX_TOKEN_LIFETIME: owners may \
             create tokens that last longer than those of users."
                .to_owned(),
        );
    }
}

fn cookies(options: &Options, rules: &mut Rules<'_>) {
    let networking = &options.networking;
    let secure = networking.has_secure_cookies();
    rules.refuse(
        networking.samesite_auth_cookie == SameSite::None && !secure,
        &[
            "networking.samesite_auth_cookie",
            "networking.secure_auth_cookie",
            "networking.access_url",
        ],
        "browsers refuse a SameSite=None cookie that is not secure",
        "set CODER_SECURE_AUTH_COOKIE=true, or CODER_SAMESITE_AUTH_COOKIE=lax",
    );
    rules.refuse(
        networking.host_prefix_cookie && !secure,
        &[
            "networking.host_prefix_cookie",
            "networking.secure_auth_cookie",
            "networking.access_url",
        ],
        "browsers refuse a __Host- cookie that is not secure",
        "set CODER_SECURE_AUTH_COOKIE=true, or CODER_HOST_PREFIX_COOKIE=false",
    );
}

fn database(options: &Options, rules: &mut Rules<'_>) {
    let database = &options.database;
    rules.refuse(
        database.idle_connections_max() > database.max_open,
        &["database.max_idle", "database.max_open"],
        format!(
            "compute max idle connections: {} idle connections are more than {} open ones",
            database.idle_connections_max(),
            database.max_open
        ),
        "lower CODER_PG_CONN_MAX_IDLE, or set it to auto",
    );
}

/// What the daemons need that ask coderd. The proxy may find the gateway by its target alone.
fn satellite(options: &Options, rules: &mut Rules<'_>, key_needed: bool) {
    let daemon = &options.gateway_daemon;
    if let Some(url) = &daemon.coderd_url
        && url.scheme() == "http"
        && !is_local(url)
    {
        rules.values.warn(format!(
            "{url} (CODER_URL) is not encrypted: tokens of users and keys of providers go there. Use https \
             unless the network in between is trusted."
        ));
    }
    rules.refuse(
        daemon.coderd_url.is_none(),
        &["gateway_daemon.coderd_url"],
        "is required",
        "set CODER_URL to the URL of coderd",
    );
    rules.refuse(
        key_needed && daemon.key.is_none(),
        &["gateway_daemon.key"],
        "is required",
        "set CODER_AI_GATEWAY_KEY or CODER_AI_GATEWAY_KEY_FILE to a key made by coderd",
    );
    rules.refuse(
        key_needed && daemon.spool_dir.is_none(),
        &["gateway_daemon.spool_dir"],
        "is required, since neither STATE_DIRECTORY nor HOME is set",
        "set CODER_AI_GATEWAY_SPOOL_DIR",
    );
}

fn proxy(options: &Options, rules: &mut Rules<'_>) {
    let proxy = &options.gateway_proxy;
    rules.refuse(
        proxy.tls_cert_file.is_some() != proxy.tls_key_file.is_some(),
        &["gateway_proxy.tls_cert_file", "gateway_proxy.tls_key_file"],
        "tls cert file and tls key file must both be set",
        "set both or neither",
    );
    rules.refuse(
        proxy.enabled && (proxy.cert_file.is_none() || proxy.key_file.is_none()),
        &["gateway_proxy.cert_file", "gateway_proxy.key_file", "gateway_proxy.enabled"],
        "MITM CA cert file and key file are required",
        "set CODER_AI_GATEWAY_PROXY_CERT_FILE and CODER_AI_GATEWAY_PROXY_KEY_FILE",
    );
}

fn everywhere(options: &Options, rules: &mut Rules<'_>) {
    let networking = &options.networking;
    rules.refuse(
        !networking.proxy_trusted_headers.is_empty() && networking.proxy_trusted_origins.is_empty(),
        &["networking.proxy_trusted_headers", "networking.proxy_trusted_origins"],
        "trusted headers without trusted origins would be believed from nobody",
        "set CODER_PROXY_TRUSTED_ORIGINS to the networks of the proxies in front",
    );
    rules.refuse(
        !options.tls.strict_transport_security_options.is_empty()
            && options.tls.strict_transport_security == 0,
        &["tls.strict_transport_security_options", "tls.strict_transport_security"],
        "has no effect while no Strict-Transport-Security header is sent",
        "set CODER_STRICT_TRANSPORT_SECURITY to a number of seconds",
    );
    let pprof = &options.introspection;
    rules.refuse(
        pprof.pprof_enable && !pprof.pprof_address.is_loopback(),
        &["introspection.pprof_address", "introspection.pprof_enable"],
        "profiles are served without a login and so only on this machine",
        "set CODER_PPROF_ADDRESS to an address such as 127.0.0.1:6060",
    );
}
