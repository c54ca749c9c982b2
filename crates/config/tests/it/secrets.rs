use crate::given::{coderd, file, path};

const URL: &str = "postgres://u:planted-secret@db/coder";

#[test]
fn a_secret_can_be_given_by_the_name_of_a_file() {
    for line_end in ["", "\n", "\r\n"] {
        let secret = file(&format!("{URL}{line_end}"));
        let by_flag = format!("--postgres-url-file={}", path(&secret));
        for (args, vars) in [
            (vec![], vec![("CODER_PG_CONNECTION_URL_FILE", path(&secret))]),
            (vec![by_flag.as_str()], vec![]),
            // Compose files set variables that nobody filled in to the empty text.
            (
                vec![],
                vec![
                    ("CODER_PG_CONNECTION_URL", ""),
                    ("CODER_PG_CONNECTION_URL_FILE", path(&secret)),
                ],
            ),
        ] {
            let options = coderd(&args, &vars).expect("valid").options;
            assert_eq!(options.database.url.expect("set").expose(), URL);
        }
    }
}

#[test]
fn a_file_ranks_as_the_source_that_names_it() {
    let secret = file("postgres://from-file/db");
    let flag = format!("--postgres-url-file={}", path(&secret));
    let vars = [("CODER_PG_CONNECTION_URL", URL)];
    let loaded = coderd(&[&flag], &vars).expect("valid");
    assert_eq!(loaded.options.database.url.expect("set").expose(), "postgres://from-file/db");
    assert_eq!(loaded.sources["database.url"].name, "--postgres-url-file");

    let vars = [("CODER_PG_CONNECTION_URL_FILE", path(&secret))];
    let loaded = coderd(&["--postgres-url", URL], &vars).expect("valid");
    assert_eq!(loaded.options.database.url.expect("set").expose(), URL);
}

#[test]
fn old_names_of_secrets_take_files_too() {
    let secret = file("sk-x\n");
    let loaded = coderd(&[], &[("CODER_AIBRIDGE_OPENAI_KEY_FILE", path(&secret))]).expect("valid");
    assert_eq!(loaded.options.gateway_seed.openai_key.expect("set").expose(), "sk-x");
}

#[test]
fn plain_and_file_together_are_refused() {
    let secret = file(URL);
    let vars = [("CODER_PG_CONNECTION_URL", URL), ("CODER_PG_CONNECTION_URL_FILE", path(&secret))];
    let report = coderd(&[], &vars).unwrap_err().to_string();
    assert_eq!(
        report,
        "the configuration has a problem: Postgres Connection URL: CODER_PG_CONNECTION_URL and \
         CODER_PG_CONNECTION_URL_FILE: are both set; keep one of them"
    );
}

#[test]
fn files_that_hold_no_secret_are_refused() {
    let empty = file("\n");
    let large = file(&"x".repeat(70_000));
    for (name, reason) in [
        (path(&empty), "is empty"),
        (path(&large), "is larger than 65536 bytes"),
        ("/nonexistent/secret", "cannot be opened"),
    ] {
        let report = coderd(&[], &[("CODER_PG_CONNECTION_URL_FILE", name)]).unwrap_err();
        assert!(report.problems[0].reason.starts_with(reason), "{report}");
        assert!(report.problems[0].source.contains(name), "{report}");
    }
}

#[test]
fn a_secret_is_shown_nowhere() {
    let proxy = file("ai_gateway_proxy:\n  upstream_proxy: http://u:planted-secret@proxy:1\n");
    let vars = [
        ("CODER_PG_CONNECTION_URL", URL),
        ("CODER_AI_GATEWAY_OPENAI_KEY", "planted-secret-a"),
        ("CODER_AIBRIDGE_OPENAI_KEY", "planted-secret-b"),
        ("CODER_EXTERNAL_TOKEN_ENCRYPTION_KEYS", "cGxhbnRlZC1zZWNyZXQtcGxhbnRlZC1zZWNyZXQtcGw="),
        ("CODER_AI_GATEWAY_PROVIDER_0_TYPE", "anthropic"),
        ("CODER_AI_GATEWAY_PROVIDER_0_KEY", "planted-secret-c"),
        ("CODER_CONFIG_PATH", path(&proxy)),
    ];
    let loaded = coderd(&[], &vars).expect("valid");
    let described = serde_json::to_string(&config::describe(&loaded)).expect("JSON");
    let warnings = loaded.warnings.join("\n");
    assert!(warnings.contains("CODER_AI_GATEWAY_OPENAI_KEY wins"), "{warnings}");
    for text in [format!("{loaded:?}"), described, config::write_config(&loaded), warnings] {
        for planted in ["planted-secret", "cGxhbnRlZC1"] {
            assert!(!text.contains(planted), "{text}");
        }
    }
}

#[test]
fn a_refused_secret_is_not_in_the_report() {
    let vars = [
        ("CODER_PG_CONNECTION_URL", "mysql://planted-secret"),
        ("CODER_PUBSUB_URL", "redis://planted-secret"),
        ("CODER_EXTERNAL_TOKEN_ENCRYPTION_KEYS", "planted-secret"),
        ("CODER_AI_GATEWAY_PROVIDER_0_TYPE", "anthropic"),
        ("CODER_AI_GATEWAY_PROVIDER_0_KEYS", "planted-secret,planted-secret"),
    ];
    let report = coderd(&["--ai-gateway-proxy-upstream=planted-secret"], &vars).unwrap_err();
    assert_eq!(report.problems.len(), 5, "{report}");
    assert!(!report.to_string().contains("planted-secret"), "{report}");
    assert!(!format!("{report:?}").contains("planted-secret"), "{report:?}");
}

#[test]
fn credentials_in_a_refused_url_or_argument_are_not_repeated() {
    for args in [
        vec!["--access-url=https://user:planted-secret@coder.example.com"],
        vec!["--access-url=user:planted-secret@coder.example.com"],
        vec!["--ai-gateway-openai-base-url=ftp://user:planted-secret@x/"],
        vec!["--postgres-ulr", "postgres://user:planted-secret@db/x"],
        vec!["--tls-enable", "planted-secret"],
        vec!["--", "planted-secret"],
    ] {
        let report = coderd(&args, &[]).unwrap_err();
        assert_eq!(report.problems.len(), 1, "{report}");
        assert!(!format!("{report} {report:?}").contains("planted-secret"), "{report}");
    }
}
