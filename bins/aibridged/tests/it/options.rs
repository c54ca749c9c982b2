//! What cannot work is told at the start, by the name of the option, and nothing serves.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use testkit::Program;
use testkit::program::free_port;
use testkit::provider::FakeProvider;
use tokio::net::TcpListener;

use crate::place::{Place, WORD};

/// Shaped like a gateway key.
const KEY: &str = "cgw_canary000000000000000000000000000000000";

/// Runs the daemon with nothing but these until it ends: whether it called that a success, and what it said.
async fn run(dir: &Path, args: &[&str], settings: &[(&str, &str)]) -> (bool, String) {
    let log = dir.join("run.log");
    // Each says its own.
    let _ = fs::remove_file(&log);
    let path = Path::new(env!("CARGO_BIN_EXE_aibridged"));
    let mut program = Program::start(path, args, settings.iter().copied(), &log);
    (program.ended().await, program.log())
}

/// What options may point at, by the names that rows use in braces.
struct Ground {
    dir: TempDir,
    /// Has the address that is taken.
    _holder: TcpListener,
    names: Vec<(&'static str, String)>,
}

impl Ground {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let large = "x".repeat(100_000);
        for (name, content) in [("empty", "\n"), ("text", "no PEM"), ("large", &large)] {
            fs::write(path(name), content).unwrap();
        }
        let mut names: Vec<_> = ["empty", "text", "large", "absent", "spool", "text/spool"]
            .into_iter()
            .map(|name| (name, path(name)))
            .collect();
        names.push(("taken", holder.local_addr().unwrap().to_string()));
        names.push(("free", format!("127.0.0.1:{}", free_port())));
        names.push(("key", KEY.to_owned()));
        Self { dir, _holder: holder, names }
    }

    fn fill(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), value)
        })
    }

    /// Each row spoils good options, and says what the daemon must say before it ends with a failure.
    async fn refuses(&self, rows: &[(&str, &[&str])]) {
        for (spoilt, wanted) in rows {
            let pairs = |text: &str| -> Vec<(String, String)> {
                let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
                pairs.map(|(name, value)| (name.to_owned(), self.fill(value))).collect()
            };
            let spoilt_pairs = pairs(spoilt);
            let mut settings = pairs(GOOD);
            settings.retain(|(name, _)| spoilt_pairs.iter().all(|(other, _)| other != name));
            settings.extend(spoilt_pairs);
            let settings: Vec<_> =
                settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let (success, said) = run(self.dir.path(), &[], &settings).await;
            assert!(!success, "{spoilt}: {said}");
            for word in *wanted {
                let word = self.fill(word);
                assert!(said.contains(&word), "{spoilt}: {word} is not in {said}");
            }
            for secret in [WORD, KEY, "canary", "panicked"] {
                assert!(!said.contains(secret), "{spoilt}: {said}");
            }
        }
    }
}

/// A set of options with which a daemon starts, each of which may be spoilt.
const GOOD: &str = "CODER_URL=http://127.0.0.1:9 CODER_AI_GATEWAY_KEY={key} \
    CODER_AI_GATEWAY_LISTEN_ADDR={free} CODER_AI_GATEWAY_SPOOL_DIR={spool}";

#[tokio::test(flavor = "multi_thread")]
async fn without_a_usable_coderd_or_key_nothing_starts() {
    const URL: &str = "CODER_URL";
    const KEY_OR_FILE: &str = "CODER_AI_GATEWAY_KEY or CODER_AI_GATEWAY_KEY_FILE";
    const FILE: &str = "CODER_AI_GATEWAY_KEY_FILE";
    Ground::new()
        .await
        .refuses(&[
            ("CODER_URL=", &[URL, "is required"]),
            ("CODER_URL=coderd:3000", &[URL, "http:// or https://"]),
            ("CODER_URL=127.0.0.1:3000", &[URL, "https://coder.example.com"]),
            ("CODER_URL=ftp://127.0.0.1", &[URL, "http:// or https://"]),
            ("CODER_URL=http://127.0.0.1/?a=b", &[URL, "query"]),
            ("CODER_URL=http://me:canary@127.0.0.1/", &[URL, "password"]),
            ("CODER_URL=https://x CODER_URL_CA_FILE={absent}", &["CODER_URL_CA_FILE", "{absent}"]),
            ("CODER_URL=https://x CODER_URL_CA_FILE={text}", &["CODER_URL_CA_FILE", "{text}"]),
            ("CODER_AI_GATEWAY_KEY=", &[KEY_OR_FILE, "is required"]),
            ("CODER_AI_GATEWAY_KEY=marzipan", &[KEY_OR_FILE, "\"cgw_\" and 39"]),
            ("CODER_AI_GATEWAY_KEY={key}x", &[KEY_OR_FILE, "\"cgw_\" and 39"]),
            (
                "CODER_AI_GATEWAY_KEY= CODER_AI_GATEWAY_KEY_FILE={absent}",
                &[FILE, "{absent}", "cannot be opened"],
            ),
            (
                "CODER_AI_GATEWAY_KEY= CODER_AI_GATEWAY_KEY_FILE={empty}",
                &[FILE, "{empty}", "is empty"],
            ),
            (
                "CODER_AI_GATEWAY_KEY= CODER_AI_GATEWAY_KEY_FILE={large}",
                &[FILE, "{large}", "is larger than"],
            ),
            (
                "CODER_AI_GATEWAY_KEY= CODER_AI_GATEWAY_KEY_FILE={text}",
                &[KEY_OR_FILE, "\"cgw_\" and 39"],
            ),
            ("CODER_AI_GATEWAY_KEY= CODER_AI_GATEWAY_KEY_FILE=/", &[FILE, "cannot be read"]),
            (
                "CODER_AI_GATEWAY_KEY_FILE={text}",
                &["CODER_AI_GATEWAY_KEY and CODER_AI_GATEWAY_KEY_FILE", "are both set"],
            ),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_place_to_listen_or_to_record_nothing_starts() {
    const LISTEN: &str = "CODER_AI_GATEWAY_LISTEN_ADDR";
    const SPOOL: &str = "CODER_AI_GATEWAY_SPOOL_DIR";
    Ground::new()
        .await
        .refuses(&[
            ("CODER_AI_GATEWAY_LISTEN_ADDR={taken}", &[LISTEN, "{taken}"]),
            ("CODER_AI_GATEWAY_LISTEN_ADDR=nowhere", &[LISTEN]),
            (
                "CODER_PROMETHEUS_ENABLE=true CODER_PROMETHEUS_ADDRESS={taken}",
                &["CODER_PROMETHEUS_ADDRESS", "{taken}"],
            ),
            ("CODER_AI_GATEWAY_SPOOL_DIR=", &[SPOOL, "STATE_DIRECTORY"]),
            ("CODER_AI_GATEWAY_SPOOL_DIR={text}", &[SPOOL, "{text}"]),
            ("CODER_AI_GATEWAY_SPOOL_DIR={text/spool}", &[SPOOL, "{text/spool}"]),
            ("CODER_AI_GATEWAY_SPOOL_MAX_BYTES=1", &["CODER_AI_GATEWAY_SPOOL_MAX_BYTES"]),
            ("CODER_AI_GATEWAY_IDENTITY_GRACE=-1s", &["CODER_AI_GATEWAY_IDENTITY_GRACE"]),
            ("CODER_AI_GATEWAY_THREADS=many", &["CODER_AI_GATEWAY_THREADS"]),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_usable_certificate_nothing_starts() {
    const CERT: &str = "CODER_TLS_CERT_FILE";
    Ground::new()
        .await
        .refuses(&[
            ("CODER_TLS_ENABLE=true", &["CODER_TLS_CERT_FILE and CODER_TLS_KEY_FILE"]),
            (
                "CODER_TLS_ENABLE=true CODER_TLS_CERT_FILE={text}",
                &["--tls-cert-file and --tls-key-file"],
            ),
            (
                "CODER_TLS_ENABLE=true CODER_TLS_CERT_FILE={absent} CODER_TLS_KEY_FILE={absent}",
                &[CERT, "{absent}"],
            ),
            (
                "CODER_TLS_ENABLE=true CODER_TLS_CERT_FILE={text} CODER_TLS_KEY_FILE={text}",
                &[CERT, "{text}"],
            ),
            (
                "CODER_TLS_ENABLE=true CODER_TLS_CERT_FILE={text} CODER_TLS_KEY_FILE={text} \
                 CODER_TLS_CLIENT_AUTH=request",
                &["CODER_TLS_CLIENT_AUTH=request"],
            ),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_command_is_told() {
    let dir = TempDir::new().unwrap();
    for (args, wanted) in [
        (&["--ai-gateway-kee", "x"][..], "--ai-gateway-key"),
        (&["serv"], "neither a command nor a flag"),
        (&["ledger"], "verify"),
        (&["ledger", "verify", "--dir"], "--dir needs a directory"),
        (&["ledger", "verify", "--dir=a", "--dir=b"], "--dir is given twice"),
    ] {
        let (success, said) = run(dir.path(), args, &[]).await;
        assert!(!success && said.contains(wanted), "{args:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_names_the_commands_and_every_option_that_counts() {
    let dir = TempDir::new().unwrap();
    for args in [&["--help"][..], &["-h"], &["serve", "--help"], &["ledger", "verify", "--help"]] {
        let (success, said) = run(dir.path(), args, &[]).await;
        assert!(success, "{args:?}: {said}");
        for word in [
            "aibridged [serve]",
            "aibridged ledger verify [--dir DIR]",
            "aibridged version",
            "$CODER_URL\n",
            "$CODER_AI_GATEWAY_KEY\n",
            "CODER_AI_GATEWAY_SPOOL_DIR",
        ] {
            assert!(said.contains(word), "{args:?}: {word} is not in {said}");
        }
    }
    let (success, said) = run(dir.path(), &["version"], &[]).await;
    assert!(success && said.starts_with("aibridged "), "{said}");
}

/// One process, one spool: the second says so and the first goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_spool_in_use_and_a_key_that_coderd_does_not_know_end_the_start() {
    let place = Place::new().await;
    let mut first = place.daemon("first", &[]).await;
    let spool = place.spool("first");
    let spool = spool.to_str().unwrap();
    let mut second = place.begin("second", &[("CODER_AI_GATEWAY_SPOOL_DIR", spool)]);
    assert!(!second.program.ended().await);
    let said = second.program.log();
    let wanted = ["CODER_AI_GATEWAY_SPOOL_DIR", "in use by another process", spool];
    assert!(wanted.iter().all(|word| said.contains(word)), "{said}");
    first.ready(&place.http).await;

    fs::write(place.path("wrong.key"), KEY).unwrap();
    let wrong = place.path("wrong.key");
    let mut third = place.begin("third", &[("CODER_AI_GATEWAY_KEY_FILE", wrong.to_str().unwrap())]);
    assert!(!third.program.ended().await);
    let said = third.program.log();
    let last = said.lines().last().unwrap();
    let wanted = ["aibridged: ", "CODER_AI_GATEWAY_KEY", "CODER_AI_GATEWAY_KEY_FILE"];
    assert!(wanted.iter().all(|word| last.contains(word)), "{said}");
    assert!(!said.contains(KEY), "{said}");
    place.close(vec![first]).await;
}

/// Files of secrets are often mounted for everybody to read; the daemon takes them as they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_of_coderd_is_told_and_tried_again() {
    let place = Place::new().await;
    let everybody = fs::Permissions::from_mode(0o644);
    fs::set_permissions(place.key_file(), everybody).unwrap();
    let other = FakeProvider::start_default().await.unwrap();
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let deep = format!("{}/deeper", place.coderd_url());
    let mut daemons = Vec::new();
    for (name, url, wanted) in [
        ("nobody", nobody.as_str(), &["coderd does not answer yet", "cannot be reached"][..]),
        ("other", &other.url(), &["coderd does not answer yet", "check CODER_URL"]),
        ("deep", &deep, &["coderd does not answer yet", "check CODER_URL"]),
    ] {
        let mut daemon = place.begin(name, &[("CODER_URL", url)]);
        daemon.logs(wanted).await;
        let waits = |status: reqwest::StatusCode, ready: &serde_json::Value| {
            let check = |name: &str| {
                let mut checks = ready["checks"].as_array().unwrap().iter();
                checks.find(|check| check["name"] == name).unwrap()
            };
            let detail = check("coderd")["detail"].as_str().unwrap();
            status == 503
                && ready["ready"] == json!(false)
                && detail.starts_with("coderd has not answered since")
                && check("ai_providers")["ok"] == json!(false)
                && check("spool")["ok"] == json!(true)
        };
        daemon.readyz(&place.http, "it says that it waits", waits).await;
        assert_eq!(daemon.program.exited(), None);
        daemons.push(daemon);
    }
    place.close(daemons).await;
}
