use config::{Daemon, Environment};

use crate::given::{coderd, file, path, run};

/// Flags, variables, and what the one problem says.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

/// The problems as shown, one a line.
fn problems(args: &[&str], vars: &[(&str, &str)]) -> Vec<String> {
    let report = coderd(args, vars).unwrap_err();
    report.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_bad_value_names_option_source_text_rule_and_cure() {
    for (var, text, want) in [
        (
            "CODER_HTTP_ADDRESS",
            "3000",
            "HTTP Address: CODER_HTTP_ADDRESS = \"3000\": the port is missing; give host:port such as 127.0.0.1:3000",
        ),
        (
            "CODER_ACCESS_URL",
            "coder.example.com",
            "Access URL: CODER_ACCESS_URL = \"coder.example.com\": not an absolute URL: relative URL without a base; give an absolute URL such as https://coder.example.com",
        ),
        (
            "CODER_ACCESS_URL",
            "ftp://x",
            "Access URL: CODER_ACCESS_URL = \"ftp://x\": must include a scheme (http:// or https://); give an absolute URL such as https://coder.example.com",
        ),
        (
            "CODER_TLS_ENABLE",
            "maybe",
            "TLS Enable: CODER_TLS_ENABLE = \"maybe\": not a truth value; give true or false",
        ),
        (
            "CODER_SESSION_DURATION",
            "1 day",
            "Session Duration: CODER_SESSION_DURATION = \"1 day\": unknown unit (known: ns, us, ms, s, m, h, d); give a duration such as 1h30m, 60d or 0",
        ),
        (
            "CODER_SESSION_DURATION",
            "0",
            "Session Duration: CODER_SESSION_DURATION = \"0\": must be longer than 0; give a duration such as 1h30m, 60d or 0",
        ),
        (
            "CODER_SAMESITE_AUTH_COOKIE",
            "strict",
            "SameSite Auth Cookie: CODER_SAMESITE_AUTH_COOKIE = \"strict\": not one of the allowed values; give one of lax, none",
        ),
        (
            "CODER_PG_CONN_MAX_OPEN",
            "0",
            "Postgres Connection Max Open: CODER_PG_CONN_MAX_OPEN = \"0\": must be greater than zero; give a whole number between 1 and 10000",
        ),
        (
            "CODER_AI_GATEWAY_MAX_CONCURRENCY",
            "-1",
            "AI Gateway Max Concurrency: CODER_AI_GATEWAY_MAX_CONCURRENCY = \"-1\": must be between 0 and 4294967295; give a whole number",
        ),
        (
            "CODER_TLS_MIN_VERSION",
            "tls11",
            "TLS Minimum Version: CODER_TLS_MIN_VERSION = \"tls11\": TLS below 1.2 is not offered; give one of tls12, tls13",
        ),
        (
            "CODER_PROXY_TRUSTED_ORIGINS",
            "10.0.0.0/8,x",
            "Proxy Trusted Origins: CODER_PROXY_TRUSTED_ORIGINS = \"10.0.0.0/8,x\": entry 2: neither an IP address nor a network such as 10.0.0.0/8; give comma-separated values",
        ),
        (
            "CODER_AI_GATEWAY_SPOOL_MAX_BYTES",
            "1GB",
            "AI Gateway Spool Max Bytes: CODER_AI_GATEWAY_SPOOL_MAX_BYTES = \"1GB\": not a number of bytes; give a number of bytes such as 1048576, 512MiB or 1GiB",
        ),
        (
            "CODER_PG_CONNECTION_URL",
            "mysql://h",
            "Postgres Connection URL: CODER_PG_CONNECTION_URL: must start with postgres:// or postgresql://; correct the value behind CODER_PG_CONNECTION_URL",
        ),
    ] {
        assert_eq!(problems(&[], &[(var, text)]), [want]);
    }
}

#[test]
fn values_of_every_source_are_checked_even_those_that_lose() {
    let yaml = file("pgConnMaxOpen: 0\nnetworking:\n  http:\n    sessionDuration: soon\n");
    let vars = [("CODER_CONFIG_PATH", path(&yaml)), ("CODER_PG_CONN_MAX_OPEN", "none")];
    let found = problems(&["--postgres-conn-max-open=5"], &vars);
    let file = path(&yaml);
    assert_eq!(
        found,
        [
            format!("Session Duration: {file}:4: networking.http.sessionDuration = \"soon\": not a duration; give a duration such as 1h30m, 60d or 0"),
            "Postgres Connection Max Open: CODER_PG_CONN_MAX_OPEN = \"none\": not a whole number; give a whole number between 1 and 10000".to_owned(),
            format!("Postgres Connection Max Open: {file}:1: pgConnMaxOpen = \"0\": must be greater than zero; give a whole number between 1 and 10000"),
        ]
    );
}

#[test]
fn all_problems_are_reported_together() {
    let report = coderd(
        &["--http-adress=:1", "--tls-enable=perhaps"],
        &[("CODER_API_KEYS_RETENTION", "-1h"), ("CODER_AI_GATEWAY_PROVIDER_0_NAME", "x")],
    )
    .unwrap_err();
    let text = report.to_string();
    assert!(text.starts_with("the configuration has 4 problems:\n  1. --http-adress: unknown flag; did you mean --http-address?\n  2. "), "{text}");
    for part in
        ["TLS Enable: --tls-enable", "CODER_API_KEYS_RETENTION", "provider 0: TYPE is required"]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn rules_over_several_options_name_the_way_out() {
    let yaml = file("networking:\n  proxyTrustedHeaders: [X-Forwarded-For]\n");
    let from_file = [("CODER_CONFIG_PATH", path(&yaml))];
    let cases: [Case<'_>; 15] = [
        (
            &["--http-address="],
            &[],
            "TLS is disabled. Enable with --tls-enable or specify a HTTP address",
        ),
        (&["--tls-enable", "--tls-address="], &[], "TLS address must be set if TLS is enabled"),
        (
            &["--tls-cert-file=a", "--tls-cert-file=b", "--tls-key-file=c"],
            &[],
            "--tls-cert-file and --tls-key-file must be used the same amount of times",
        ),
        (
            &["--tls-client-cert-file=a"],
            &[],
            "--tls-client-cert-file and --tls-client-key-file must be used together",
        ),
        (
            &["--tls-min-version=tls13", "--tls-ciphers=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
            &[],
            "cipher suites cannot be chosen for TLS 1.3",
        ),
        (
            &["--default-oauth-refresh-lifetime=24h"],
            &[],
            "default OAuth refresh lifetime (24h0m0s) must be strictly greater than session duration (24h0m0s); set --default-oauth-refresh-lifetime to a value greater than --session-duration",
        ),
        (
            &["--samesite-auth-cookie=none", "--secure-auth-cookie=false"],
            &[],
            "browsers refuse a SameSite=None cookie that is not secure",
        ),
        (
            &["--host-prefix-cookie", "--secure-auth-cookie=false"],
            &[],
            "browsers refuse a __Host- cookie that is not secure",
        ),
        (
            &["--postgres-conn-max-idle=11"],
            &[],
            "compute max idle connections: 11 idle connections are more than 10 open ones",
        ),
        (
            &["--proxy-trusted-headers=X-Forwarded-For"],
            &[],
            "trusted headers without trusted origins",
        ),
        (&[], &from_file, "trusted headers without trusted origins"),
        (
            &["--strict-transport-security-options=preload"],
            &[],
            "has no effect while no Strict-Transport-Security header is sent",
        ),
        (
            &["--pprof-enable", "--pprof-address=0.0.0.0:6060"],
            &[],
            "profiles are served without a login",
        ),
        (
            &[],
            &[
                ("CODER_AI_GATEWAY_ANTHROPIC_KEY", "k"),
                ("CODER_AI_GATEWAY_BEDROCK_ACCESS_KEY", "a"),
            ],
            "CODER_AI_GATEWAY_ANTHROPIC_KEY and CODER_AI_GATEWAY_BEDROCK_* are mutually exclusive",
        ),
        (&["--config=/nonexistent.yaml"], &[], "cannot be opened"),
    ];
    for (args, vars, part) in cases {
        let found = problems(args, vars);
        assert_eq!(found.len(), 1, "{args:?}: {found:?}");
        assert!(found[0].contains(part), "{args:?}: {found:?}");
        assert!(found[0].contains("; "), "no cure: {found:?}");
    }
}

#[test]
fn a_rule_is_silent_while_one_of_its_options_is_itself_wrong() {
    let found =
        problems(&["--session-duration=forever", "--default-oauth-refresh-lifetime=1h"], &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("Session Duration: "), "{found:?}");
}

#[test]
fn a_daemon_says_what_it_needs() {
    for (daemon, options) in [
        (Daemon::Aibridged, vec!["Coder URL", "AI Gateway Key", "AI Gateway Spool Directory"]),
        (Daemon::Aibridgeproxyd, vec!["Coder URL"]),
    ] {
        let report = run(daemon, &[], &Environment::default()).unwrap_err();
        let found: Vec<&str> = report.problems.iter().map(|p| p.option.as_str()).collect();
        assert_eq!(found, options);
    }
    let vars = [
        ("CODER_URL", "https://c"),
        ("CODER_AI_GATEWAY_PROXY_ENABLED", "1"),
        ("CODER_AI_GATEWAY_PROXY_TLS_KEY_FILE", "k"),
    ];
    let report = run(Daemon::Aibridgeproxyd, &[], &Environment::from_pairs(vars)).unwrap_err();
    assert_eq!(report.problems.len(), 2, "{report}");
}

#[test]
fn an_unencrypted_way_to_coderd_is_warned_of_unless_it_stays_on_this_machine() {
    for (url, warned) in [
        ("http://coder.internal:3000", true),
        ("http://10.0.0.1", true),
        ("https://coder.internal", false),
        ("http://localhost:3000", false),
        ("http://127.0.0.1:3000", false),
        ("http://[::1]:3000", false),
    ] {
        let vars = [("CODER_URL", url), ("CODER_AI_GATEWAY_KEY", "cgw_x"), ("HOME", "/home/x")];
        let env = Environment::from_pairs(vars);
        let loaded = run(Daemon::Aibridged, &[], &env).unwrap();
        let told = loaded.warnings.iter().any(|text| text.contains("is not encrypted"));
        assert_eq!(told, warned, "{url}: {:?}", loaded.warnings);
    }
}
