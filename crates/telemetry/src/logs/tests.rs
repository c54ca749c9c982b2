use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use stdx::{ManualClock, Secret};
use time::macros::datetime;

use super::*;

const CANARY: &str = "sk-canary-5a1f";

fn clock() -> SharedClock {
    ManualClock::new(datetime!(2026-01-02 03:04:05.678 UTC))
}

/// Runs `body` under both formats and returns what they wrote.
fn logged(filter: &str, body: impl Fn()) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let (human, json) = (dir.path().join("human.log"), dir.path().join("json.log"));
    let settings = Settings {
        human: Some(Output::File(human.clone())),
        json: Some(Output::File(json.clone())),
        filter: filter.to_owned(),
        clock: clock(),
    };
    let (subscriber, guard) = build(settings).unwrap();
    tracing::subscriber::with_default(subscriber, body);
    drop(guard);
    (std::fs::read_to_string(human).unwrap(), std::fs::read_to_string(json).unwrap())
}

#[test]
fn bad_settings_are_refused_with_their_name() {
    let settings = Settings { filter: "store=loud".into(), ..Settings::new(clock()) };
    let error = build(settings).err().unwrap();
    assert!(matches!(error, InitError::Filter { .. }));
    assert!(error.to_string().contains("store=loud"), "{error}");

    let path = Output::File("/nonexistent/dir/coderd.log".into());
    let settings = Settings { json: Some(path), ..Settings::new(clock()) };
    let error = build(settings).err().unwrap();
    assert_eq!(error.to_string(), "cannot open the log file /nonexistent/dir/coderd.log");
}

#[test]
fn starting_twice_is_an_error_and_not_a_panic() {
    let quiet = || Settings { human: None, ..Settings::new(clock()) };
    let first = init(quiet());
    assert!(first.is_ok());
    assert!(matches!(init(quiet()), Err(InitError::AlreadyStarted)));
    tracing::info!("goes nowhere");
}

#[test]
fn one_event_is_one_line_in_either_format() {
    let (human, json) = logged("info", || {
        let span = tracing::info_span!("request", request_id = "r1", late = tracing::field::Empty);
        let _entered = span.enter();
        span.record("late", 7);
        tracing::warn!(target: "httpmw", path = "/a b", status = 503, ok = false, took = 0.5, "GET\nforged");
    });
    assert_eq!(
        human,
        "2026-01-02T03:04:05.678Z [warn] httpmw: GET\\nforged  \
         request_id=r1 late=7 path=\"/a b\" status=503 ok=false took=0.5\n"
    );
    assert_eq!(
        json,
        "{\"time\":\"2026-01-02T03:04:05.678Z\",\"level\":\"WARN\",\"target\":\"httpmw\",\
         \"message\":\"GET\\nforged\",\"request_id\":\"r1\",\"late\":7,\"path\":\"/a b\",\
         \"status\":503,\"ok\":false,\"took\":0.5}\n"
    );
}

#[test]
fn the_filter_decides_by_target_and_level() {
    let (human, _) = logged("warn,store=debug", || {
        tracing::info!(target: "httpmw", "hidden");
        tracing::debug!(target: "store", "shown");
        tracing::trace!(target: "store", "hidden");
    });
    assert_eq!(human.lines().count(), 1);
    assert!(human.contains("store: shown"), "{human}");
}

#[test]
fn a_planted_secret_reaches_no_line() {
    #[derive(Debug)]
    #[expect(dead_code, reason = "only its Debug form is of interest")]
    struct Provider {
        name: &'static str,
        key: Secret<String>,
    }
    let (human, json) = logged("trace", || {
        let secret = Secret::from(CANARY);
        let provider = Provider { name: "main", key: secret.clone() };
        let span =
            tracing::info_span!("request", ?secret, password = CANARY, client_secret = CANARY);
        let _entered = span.enter();
        span.record("password", CANARY);
        tracing::error!(?provider, key = ?secret, "provider {:?} failed", secret);
        tracing::info!(session_token = CANARY, authorization = %format!("Bearer {CANARY}"), "login");
        tracing::info!(api_key = ?CANARY, api_key_id = "abcdefghij", "key");
    });
    for text in [&human, &json] {
        assert!(!text.contains(CANARY), "{text}");
        assert!(text.contains("[secret]") && text.contains("[redacted]"), "{text}");
        assert!(text.contains("abcdefghij"), "ids of keys stay readable: {text}");
        assert_eq!(text.lines().count(), 3);
    }
}

#[test]
fn errors_are_logged_with_their_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot read")]
    struct Outer(#[source] std::num::ParseIntError);
    let error = Outer("x".parse::<u8>().unwrap_err());
    let (_, json) = logged("info", || {
        tracing::info!(error = &error as &(dyn std::error::Error + 'static), "failed");
    });
    assert!(json.contains("cannot read: invalid digit"), "{json}");
}

/// An output that blocks until the test lets each write through.
struct Gated {
    gate: Receiver<()>,
    begun: Sender<()>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.begun.send(());
        let _ = self.gate.recv();
        self.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stuck_output_loses_lines_and_says_how_many() {
    let (open, gate) = channel();
    let (begun, has_begun) = channel();
    let written = Arc::new(Mutex::new(Vec::new()));
    let out = Gated { gate, begun, written: Arc::clone(&written) };
    let (sink, writer) = Sink::start_with_queue(Box::new(out), Format::Json, 2).unwrap();
    sink.send(b"1\n".to_vec());
    has_begun.recv().unwrap();
    for line in ["2\n", "3\n", "4\n", "5\n"] {
        sink.send(line.into());
    }
    drop(open);
    drop(writer);
    let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    for line in ["1\n", "2\n", "3\n", "\"count\":2}\n"] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("4\n"), "{text}");
}

#[test]
fn outputs_are_named_like_devices_or_paths() {
    for (text, want) in [
        ("/dev/stderr", Output::Stderr),
        ("/dev/stdout", Output::Stdout),
        ("/var/log/coderd.log", Output::File("/var/log/coderd.log".into())),
    ] {
        assert_eq!(text.parse(), Ok(want));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn no_text_breaks_the_line_or_the_json(text in "\\PC{0,20}[\n\r\u{0}\u{1b}\"\\\\]{0,4}\\PC{0,5}") {
        let (human, json) = logged("info", || tracing::info!(value = text.as_str(), "{text}"));
        prop_assert_eq!(human.lines().count(), 1);
        let escapes = human.matches('\u{1b}').count();
        prop_assert_eq!(escapes, 0);
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&parsed["message"], &text);
        prop_assert_eq!(&parsed["value"], &text);
    }
}
