use config::{EnvProvider, Environment, ProviderSource, ProviderType, ai_providers};

use crate::given::{coderd, file, path};

const SONNET: &str = "global.anthropic.claude-sonnet-4-5-20250929-v1:0";

type Vars<'a> = &'a [(&'a str, &'a str)];
/// Name, type, base URL, whether Bedrock.
type Want = (&'static str, ProviderType, &'static str, bool);

/// The providers that coderd finds, and its warnings.
fn found(vars: &[(&str, &str)]) -> (Vec<EnvProvider>, Vec<String>) {
    let loaded = coderd(&[], vars).expect("valid");
    let env = Environment::from_pairs(vars.iter().copied());
    let providers = ai_providers(&env, &loaded.options).expect("valid");
    (providers, loaded.warnings)
}

/// Indexed variables in the new spelling: `0_TYPE` and so on.
fn indexed<'a>(vars: &[(&str, &'a str)]) -> Vec<(String, &'a str)> {
    let name = |field: &str| format!("CODER_AI_GATEWAY_PROVIDER_{field}");
    vars.iter().map(|(field, value)| (name(field), *value)).collect()
}

fn found_indexed(vars: &[(&str, &str)]) -> (Vec<EnvProvider>, Vec<String>) {
    let named = indexed(vars);
    let vars: Vec<(&str, &str)> =
        named.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    found(&vars)
}

/// Shape of a provider for tables: name, type, base URL, keys, whether Bedrock.
fn shape(provider: &EnvProvider) -> (String, ProviderType, String, Vec<String>, bool) {
    (
        provider.name.clone(),
        provider.provider_type,
        provider.base_url.to_string(),
        provider.keys.iter().map(|key| key.expose().clone()).collect(),
        provider.bedrock.is_some(),
    )
}

#[test]
fn legacy_options_give_one_provider_of_each_kind() {
    use ProviderType::{Anthropic, OpenAi};
    let cases: [(Vars<'_>, Vec<Want>); 7] = [
        (&[], vec![]),
        (&[("CODER_AI_GATEWAY_OPENAI_BASE_URL", "https://x/")], vec![]),
        (&[("CODER_AI_GATEWAY_BEDROCK_MODEL", "m")], vec![]),
        (
            &[("CODER_AI_GATEWAY_OPENAI_KEY", "k")],
            vec![("openai", OpenAi, "https://api.openai.com/v1/", false)],
        ),
        (
            &[
                ("CODER_AI_GATEWAY_ANTHROPIC_KEY", "k"),
                ("CODER_AIBRIDGE_BEDROCK_REGION", "us-east-1"),
                ("CODER_AI_GATEWAY_OPENAI_KEY", "k"),
            ],
            vec![
                ("anthropic", Anthropic, "https://api.anthropic.com/", false),
                ("openai", OpenAi, "https://api.openai.com/v1/", false),
            ],
        ),
        (
            &[("CODER_AIBRIDGE_BEDROCK_REGION", "us-east-1")],
            vec![(
                "anthropic",
                Anthropic,
                "https://bedrock-runtime.us-east-1.amazonaws.com/",
                true,
            )],
        ),
        (
            &[
                ("CODER_AI_GATEWAY_BEDROCK_REGION", "us-east-1"),
                ("CODER_AI_GATEWAY_BEDROCK_BASE_URL", "https://proxy.internal/bedrock"),
                ("CODER_AI_GATEWAY_BEDROCK_ACCESS_KEY", "a"),
                ("CODER_AI_GATEWAY_BEDROCK_ACCESS_KEY_SECRET", "s"),
            ],
            vec![("anthropic", Anthropic, "https://proxy.internal/bedrock", true)],
        ),
    ];
    for (vars, want) in cases {
        let (providers, _) = found(vars);
        let seen: Vec<_> = providers.iter().map(shape).collect();
        let seen: Vec<_> =
            seen.iter().map(|(n, t, u, _, b)| (n.as_str(), *t, u.as_str(), *b)).collect();
        assert_eq!(seen, want, "{vars:?}");
        assert!(providers.iter().all(|provider| provider.source == ProviderSource::Legacy));
    }
}

#[test]
fn indexed_variables_give_providers_sorted_by_name() {
    let (providers, warnings) = found_indexed(&[
        ("0_TYPE", "openai"),
        ("0_NAME", "zeta"),
        ("0_KEYS", "a, b,c"),
        ("1_TYPE", "Anthropic"),
        ("1_BASE_URL", "https://claude.internal"),
        ("1_KEY", "k"),
        ("2_TYPE", "bedrock"),
        ("2_BEDROCK_REGION", "eu-west-1"),
        ("2_BEDROCK_ACCESS_KEY", "id"),
        ("2_BEDROCK_ACCESS_KEY_SECRET", "secret"),
        ("3_TYPE", "copilot"),
        ("4_TYPE", "future-ai"),
        ("5_TYPE", "openai-compat"),
        ("5_BASE_URL", "http://localhost:8000/v1"),
        ("5_COLOUR", "blue"),
    ]);
    let seen: Vec<_> = providers.iter().map(shape).collect();
    let text = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        seen,
        [
            (
                "anthropic".to_owned(),
                ProviderType::Anthropic,
                "https://claude.internal/".to_owned(),
                text(&["k"]),
                false
            ),
            (
                "bedrock".to_owned(),
                ProviderType::Bedrock,
                "https://bedrock-runtime.eu-west-1.amazonaws.com/".to_owned(),
                vec![],
                true
            ),
            (
                "copilot".to_owned(),
                ProviderType::Copilot,
                "https://api.individual.githubcopilot.com/".to_owned(),
                vec![],
                false
            ),
            (
                "openai-compat".to_owned(),
                ProviderType::OpenAiCompat,
                "http://localhost:8000/v1".to_owned(),
                vec![],
                false
            ),
            (
                "zeta".to_owned(),
                ProviderType::OpenAi,
                "https://api.openai.com/v1/".to_owned(),
                text(&["a", "b", "c"]),
                false
            ),
        ]
    );
    let bedrock = providers[1].bedrock.as_ref().expect("settings");
    assert_eq!((bedrock.region.as_str(), bedrock.model.as_str()), ("eu-west-1", SONNET));
    assert_eq!(bedrock.credentials.as_ref().expect("both").access_key.expose(), "id");
    assert_eq!(providers[4].source, ProviderSource::Indexed { index: 0 });
    assert_eq!(
        warnings,
        [
            "CODER_AI_GATEWAY_PROVIDER_5_COLOUR: ignoring unknown AI provider field (check for typos).",
            "Provider variables only seed the database; once seeded, remove them and manage providers there.",
            "provider 4: the TYPE \"future-ai\" is not known and the entry is skipped (known: anthropic, azure, bedrock, copilot, google, openai, openai-compat, openrouter, vercel).",
        ]
    );
}

#[test]
fn metadata_of_bedrock_beside_a_key_is_dropped() {
    let (providers, _) = found_indexed(&[
        ("0_TYPE", "anthropic"),
        ("0_KEY", "k"),
        ("0_BEDROCK_REGION", "us-east-1"),
        ("0_BEDROCK_BASE_URL", "https://b"),
    ]);
    assert_eq!(shape(&providers[0]).2, "https://api.anthropic.com/");
    assert!(providers[0].bedrock.is_none());
}

#[test]
fn the_bedrock_base_url_beats_the_plain_one() {
    let (providers, _) = found_indexed(&[
        ("0_TYPE", "bedrock"),
        ("0_BASE_URL", "https://plain"),
        ("0_BEDROCK_BASE_URL", "https://own"),
    ]);
    assert_eq!(shape(&providers[0]).2, "https://own/");
}

#[test]
fn the_old_prefix_works_and_warns() {
    let vars =
        [("CODER_AIBRIDGE_PROVIDER_0_TYPE", "openai"), ("coder_aibridge_provider_0_name", "mine")];
    let (providers, warnings) = found(&vars);
    assert_eq!(providers[0].name, "mine");
    assert_eq!(
        warnings[0],
        "CODER_AIBRIDGE_PROVIDER_* is deprecated, please use CODER_AI_GATEWAY_PROVIDER_* instead."
    );
}

#[test]
fn keys_can_be_in_files() {
    let key = file("from-file\n");
    let (providers, _) = found_indexed(&[("0_TYPE", "openai"), ("0_KEY_FILE", path(&key))]);
    assert_eq!(shape(&providers[0]).3, ["from-file"]);
}

#[test]
fn ten_comes_after_nine() {
    let vars: Vec<(String, String)> = (0..11)
        .flat_map(|n| {
            [(format!("{n}_TYPE"), "openai".to_owned()), (format!("{n}_NAME"), format!("p{n}"))]
        })
        .collect();
    let vars: Vec<(&str, &str)> = vars.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(found_indexed(&vars).0.len(), 11);
}

#[test]
fn what_is_wrong_with_a_provider_is_named() {
    let cases: [(&[(&str, &str)], &str); 25] = [
        (
            &[("0_NAME", "x")],
            "provider 0: TYPE is required; set CODER_AI_GATEWAY_PROVIDER_0_TYPE to one of",
        ),
        (&[("1_TYPE", "openai")], "provider num 0 skipped: CODER_AI_GATEWAY_PROVIDER_1_* is set"),
        (
            &[("0_TYPE", "openai"), ("2_TYPE", "anthropic")],
            "provider num 1 skipped: CODER_AI_GATEWAY_PROVIDER_2_* is set",
        ),
        (&[("X_TYPE", "openai")], "parse number: CODER_AI_GATEWAY_PROVIDER_X_TYPE"),
        (&[("+0_TYPE", "openai")], "parse number: CODER_AI_GATEWAY_PROVIDER_+0_TYPE"),
        (&[("0", "openai")], "invalid env var: CODER_AI_GATEWAY_PROVIDER_0"),
        (&[("0_", "openai")], "invalid env var: CODER_AI_GATEWAY_PROVIDER_0_"),
        (
            &[("0_TYPE", "openai"), ("0_KEY", "a"), ("0_KEYS", "b")],
            "provider 0 (openai): KEY and KEYS are mutually exclusive, use one or the other",
        ),
        (
            &[
                ("0_TYPE", "bedrock"),
                ("0_BEDROCK_ACCESS_KEY", "a"),
                ("0_BEDROCK_ACCESS_KEYS", "b"),
                ("0_BEDROCK_REGION", "r"),
            ],
            "BEDROCK_ACCESS_KEY and BEDROCK_ACCESS_KEYS are mutually exclusive, use one or the other",
        ),
        (
            &[("0_TYPE", "openai"), ("0_BEDROCK_REGION", "r")],
            "BEDROCK_* fields are only supported with TYPE \"anthropic\" or \"bedrock\"",
        ),
        (
            &[("0_TYPE", "bedrock"), ("0_BEDROCK_MODEL", "m")],
            "TYPE \"bedrock\" requires BEDROCK_* fields to be configured",
        ),
        (
            &[("0_TYPE", "bedrock"), ("0_BEDROCK_REGION", "r"), ("0_KEY", "k")],
            "KEY/KEYS are not supported for TYPE \"bedrock\"",
        ),
        (
            &[("0_TYPE", "copilot"), ("0_KEYS", "k")],
            "KEY/KEYS are not supported for TYPE \"copilot\"",
        ),
        (
            &[
                ("0_TYPE", "anthropic"),
                ("0_KEY", "k"),
                ("0_BEDROCK_ACCESS_KEY", "a"),
                ("0_BEDROCK_ACCESS_KEY_SECRET", "s"),
            ],
            "KEY/KEYS and BEDROCK_* fields are mutually exclusive",
        ),
        (&[("0_TYPE", "openai"), ("0_KEYS", "1,2,3,4,5,6")], "too many keys (6), maximum is 5"),
        (&[("0_TYPE", "openai"), ("0_KEYS", "1, ,3")], "key at index 1 is empty"),
        (&[("0_TYPE", "openai"), ("0_KEYS", "1,2,1")], "duplicate key at index 2"),
        (
            &[
                ("0_TYPE", "bedrock"),
                ("0_BEDROCK_ACCESS_KEYS", "a,b"),
                ("0_BEDROCK_ACCESS_KEY_SECRETS", "s"),
                ("0_BEDROCK_REGION", "r"),
            ],
            "BEDROCK_ACCESS_KEYS count (2) must match BEDROCK_ACCESS_KEY_SECRETS count (1)",
        ),
        (
            &[("0_TYPE", "openai"), ("1_TYPE", "openai")],
            "providers 0 and 1 have duplicate NAME \"openai\"",
        ),
        (
            &[("0_TYPE", "openai"), ("0_NAME", "My AI")],
            "NAME \"My AI\" is not lower-case letters and digits",
        ),
        (
            &[("0_TYPE", "openai"), ("0_NAME", "a--b")],
            "NAME \"a--b\" is not lower-case letters and digits",
        ),
        (
            &[("0_TYPE", "openai"), ("0_NAME", "proxy")],
            "NAME \"proxy\" is taken by the gateway's own routes",
        ),
        (&[("0_TYPE", "azure")], "BASE_URL is required for TYPE \"azure\""),
        (&[("0_TYPE", "openai"), ("0_BASE_URL", "ftp://x")], "BASE_URL: must include a scheme"),
        (
            &[("0_TYPE", "bedrock"), ("0_BEDROCK_REGION", "x.evil.com/")],
            "the region is not the name of an AWS region",
        ),
    ];
    for (vars, part) in cases {
        let named = indexed(vars);
        let vars: Vec<(&str, &str)> = named.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        let report = coderd(&[], &vars).unwrap_err();
        assert_eq!(report.problems.len(), 1, "{vars:?}: {report}");
        let text = report.problems[0].to_string();
        assert!(text.contains(part), "{text}");
        assert!(text.contains("; "), "no cure: {text}");
    }
}

#[test]
fn prefixes_do_not_mix() {
    let vars = [
        ("CODER_AIBRIDGE_PROVIDER_0_TYPE", "openai"),
        ("CODER_AI_GATEWAY_PROVIDER_1_TYPE", "anthropic"),
    ];
    assert_eq!(
        coderd(&[], &vars).unwrap_err().problems[0].to_string(),
        "cannot mix CODER_AIBRIDGE_PROVIDER_* and CODER_AI_GATEWAY_PROVIDER_* environment variables; \
         please consolidate onto CODER_AI_GATEWAY_PROVIDER_*"
    );
}

#[test]
fn a_legacy_provider_keeps_its_name() {
    let vars =
        [("CODER_AI_GATEWAY_OPENAI_KEY", "k"), ("CODER_AI_GATEWAY_PROVIDER_0_TYPE", "openai")];
    let report = coderd(&[], &vars).unwrap_err().to_string();
    assert!(report.contains("provider 0 has the NAME \"openai\", which the legacy variables CODER_AI_GATEWAY_OPENAI_* define already; give each provider a NAME of its own"), "{report}");
}

#[test]
fn half_a_pair_of_aws_credentials_is_refused() {
    let vars =
        [("CODER_AI_GATEWAY_BEDROCK_REGION", "r"), ("CODER_AI_GATEWAY_BEDROCK_ACCESS_KEY", "a")];
    let report = coderd(&[], &vars).unwrap_err().to_string();
    assert!(report.contains("belong together; set both or neither"), "{report}");
}
