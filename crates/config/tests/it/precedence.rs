use config::{ByteSize, Daemon, Environment, ValueSource};

use crate::given::{coderd, file, path, run};

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let yaml = file("ai_gateway:\n  max_concurrency: 3\n");
    for (flag, env, in_file, want, source) in [
        (true, true, true, 1, ValueSource::Flag),
        (true, false, true, 1, ValueSource::Flag),
        (true, true, false, 1, ValueSource::Flag),
        (false, true, true, 2, ValueSource::Env),
        (false, true, false, 2, ValueSource::Env),
        (false, false, true, 3, ValueSource::Yaml),
        (false, false, false, 0, ValueSource::Default),
    ] {
        let mut args = Vec::new();
        let mut vars = Vec::new();
        if flag {
            args.push("--ai-gateway-max-concurrency=1");
        }
        if env {
            vars.push(("CODER_AI_GATEWAY_MAX_CONCURRENCY", "2"));
        }
        if in_file {
            vars.push(("CODER_CONFIG_PATH", path(&yaml)));
        }
        let loaded = coderd(&args, &vars).expect("valid");
        assert_eq!(loaded.options.gateway.max_concurrency, want);
        let origin = &loaded.sources["gateway.max_concurrency"];
        assert_eq!(origin.source, source);
        assert_eq!(loaded.warnings, Vec::<String>::new());
    }
}

#[test]
fn an_old_name_works_and_warns_with_the_new_name_of_its_kind() {
    let yaml = file("aibridge:\n  rate_limit: 7\n");
    for (args, vars, old, new) in [
        (
            vec!["--aibridge-rate-limit=7"],
            vec![],
            "--aibridge-rate-limit",
            "--ai-gateway-rate-limit",
        ),
        (
            vec![],
            vec![("CODER_AIBRIDGE_RATE_LIMIT", "7")],
            "CODER_AIBRIDGE_RATE_LIMIT",
            "CODER_AI_GATEWAY_RATE_LIMIT",
        ),
        (
            vec![],
            vec![("CODER_CONFIG_PATH", path(&yaml))],
            "aibridge.rate_limit",
            "ai_gateway.rate_limit",
        ),
    ] {
        let loaded = coderd(&args, &vars).expect("valid");
        assert_eq!(loaded.options.gateway.rate_limit, 7);
        assert_eq!(loaded.warnings, [format!("{old} is deprecated, please use {new} instead.")]);
    }
}

#[test]
fn of_old_and_new_the_new_wins_in_one_source_and_the_rank_across_sources() {
    const NEW: &str = "CODER_AI_GATEWAY_RATE_LIMIT";
    const OLD: &str = "CODER_AIBRIDGE_RATE_LIMIT";
    let conflict = |winner: &str, other: &str| {
        format!("{winner} and {other} are both set, to different values; {winner} wins.")
    };
    let yaml = file("ai_gateway:\n  rate_limit: 3\naibridge:\n  rate_limit: 4\n");
    for (args, vars, want, warning) in [
        (vec![], vec![(NEW, "1"), (OLD, "2")], 1, conflict(NEW, OLD)),
        (
            vec!["--aibridge-rate-limit=5"],
            vec![(NEW, "1")],
            5,
            conflict("--aibridge-rate-limit", NEW),
        ),
        (
            vec!["--ai-gateway-rate-limit=5"],
            vec![(OLD, "1")],
            5,
            conflict("--ai-gateway-rate-limit", OLD),
        ),
        (
            vec![],
            vec![("CODER_CONFIG_PATH", path(&yaml))],
            3,
            conflict("ai_gateway.rate_limit", "aibridge.rate_limit"),
        ),
    ] {
        let loaded = coderd(&args, &vars).expect("a conflict never stops the start");
        assert_eq!(loaded.options.gateway.rate_limit, want);
        assert!(loaded.warnings.contains(&warning), "{:?}", loaded.warnings);
    }
}

#[test]
fn old_and_new_with_the_same_value_are_no_conflict() {
    let vars = [("CODER_AI_GATEWAY_RETENTION", "60d"), ("CODER_AIBRIDGE_RETENTION", "1440h")];
    let loaded = coderd(&[], &vars).expect("valid");
    assert_eq!(
        loaded.warnings,
        ["CODER_AIBRIDGE_RETENTION is deprecated, please use CODER_AI_GATEWAY_RETENTION instead."]
    );
}

#[test]
fn an_empty_variable_is_a_value_only_where_empty_has_a_meaning() {
    let vars = [
        ("CODER_LOGGING_HUMAN", ""),
        ("CODER_HTTP_ADDRESS", ""),
        ("CODER_TLS_ENABLE", "true"),
        ("CODER_SESSION_DURATION", ""),
        ("CODER_PG_CONNECTION_URL", ""),
    ];
    let options = coderd(&[], &vars).expect("valid").options;
    assert_eq!(options.introspection.log_human, None);
    assert_eq!(options.networking.http_address, None);
    assert_eq!(options.sessions.duration.as_secs(), 24 * 3600);
    assert!(options.database.url.is_none());
}

#[test]
fn typos_in_variables_are_warned_about_with_the_nearest_name() {
    let vars = [
        ("CODER_HTTP_ADRESS", ":1"),
        ("CODER_XYZZY_PLUGH", "1"),
        ("CODER_SESSION_TOKEN", "belongs to the client"),
        ("CODER_OIDC_CLIENT_ID", "x"),
        ("UNRELATED", "x"),
    ];
    assert_eq!(
        coderd(&["--derp-server-enable"], &vars).expect("valid").warnings,
        [
            "CODER_HTTP_ADRESS is not a known variable and has no effect. Did you mean CODER_HTTP_ADDRESS?",
            "CODER_XYZZY_PLUGH is not a known variable and has no effect.",
            "Not used by this server: --derp-server-enable, CODER_OIDC_CLIENT_ID.",
        ]
    );
}

#[test]
fn every_old_gateway_variable_still_sets_its_option() {
    let mut seen = 0;
    for row in config::rows() {
        for alias in row.aliases.iter().filter(|alias| alias.env.starts_with("CODER_AIBRIDGE_")) {
            let new = alias.env.replacen("CODER_AIBRIDGE_", "CODER_AI_GATEWAY_", 1);
            assert_eq!(row.env, new);
            assert!(alias.deprecated, "{}", alias.env);
            seen += 1;
        }
    }
    assert_eq!(seen, 34, "13 gateway, 10 seed and 11 proxy options had another name");
}

#[test]
fn the_address_option_replaces_the_listener_that_counts() {
    let plain = coderd(&["-a", ":80"], &[]).expect("valid");
    assert_eq!(plain.options.networking.http_address.map(|a| a.port), Some(80));
    assert_eq!(
        plain.warnings,
        ["--address is deprecated, please use CODER_HTTP_ADDRESS or CODER_TLS_ADDRESS instead."]
    );
    let tls = coderd(&["--address=:443", "--tls-enable"], &[]).expect("valid").options;
    assert_eq!(tls.networking.http_address, None);
    assert_eq!(tls.tls.address.map(|a| a.port), Some(443));
}

#[test]
fn a_missing_access_url_is_derived_with_a_warning() {
    for (args, want) in [
        (vec!["--http-address=0.0.0.0:3000"], Some("http://localhost:3000/")),
        (vec!["--http-address=127.0.0.1:3000"], Some("http://127.0.0.1:3000/")),
        (vec!["--tls-enable"], Some("https://127.0.0.1:3443/")),
        (vec!["--http-address=127.0.0.1:0"], None),
    ] {
        let loaded = run(Daemon::Coderd, &args, &Environment::default()).expect("valid");
        let url = loaded.options.networking.access_url.map(String::from);
        assert_eq!(url.as_deref(), want, "{args:?}");
        let warned =
            loaded.warnings.iter().any(|text| text.starts_with("CODER_ACCESS_URL is not set"));
        assert_eq!(warned, want.is_some(), "{args:?}");
    }
}

#[test]
fn experiments_are_known_names_in_lower_case() {
    let loaded = coderd(&[], &[("CODER_EXPERIMENTS", "Example,*,nope,oauth2")]).expect("valid");
    assert_eq!(loaded.options.security.experiments, ["oauth2", "mcp-server-http", "example"]);
    assert_eq!(
        loaded.warnings,
        [
            "The experiment * enables nothing: no experiment is safe.",
            "The experiment \"nope\" is not known and has no effect.",
        ]
    );
}

#[test]
fn each_daemon_reads_its_own_options() {
    let vars = [
        ("CODER_URL", "https://coder.example.com"),
        ("CODER_AI_GATEWAY_KEY", "cgw_x"),
        ("CODER_AI_GATEWAY_SPOOL_MAX_BYTES", "2MiB"),
        ("CODER_PG_CONN_MAX_OPEN", "not for this daemon"),
        ("STATE_DIRECTORY", "/var/lib/aibridged"),
    ];
    let env = Environment::from_pairs(vars);
    let loaded = run(Daemon::Aibridged, &["--ai-gateway-spool-full=pass"], &env).expect("valid");
    let daemon = loaded.options.gateway_daemon;
    assert_eq!(daemon.spool_max_bytes, ByteSize(2 << 20));
    assert_eq!(daemon.spool_full, config::SpoolFull::Pass);
    assert_eq!(daemon.spool_dir.as_deref(), Some("/var/lib/aibridged/spool/aibridged".as_ref()));
    assert_eq!(daemon.listen_addr.to_string(), "127.0.0.1:4001");
    assert!(!loaded.sources.contains_key("database.max_open"));
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn daemons_of_one_user_do_not_share_a_spool() {
    let vars = [
        ("CODER_URL", "https://coder.example.com"),
        ("CODER_AI_GATEWAY_KEY", "cgw_x"),
        ("HOME", "/home/op"),
    ];
    let env = Environment::from_pairs(vars);
    for (daemon, dir) in [
        (Daemon::Coderd, "/home/op/.local/state/coder/spool/coderd"),
        (Daemon::Aibridged, "/home/op/.local/state/coder/spool/aibridged"),
    ] {
        let options = run(daemon, &[], &env).expect("valid").options;
        assert_eq!(options.gateway_daemon.spool_dir.as_deref(), Some(dir.as_ref()));
    }
}
