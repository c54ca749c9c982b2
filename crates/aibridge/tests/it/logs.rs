//! What the gateway writes into its log, and what it never does.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aibridge::BreakerSettings;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::apis::{apis, reply};
use crate::faults::{Stage, matrix};
use crate::upstream::{Reply, Step, Upstream, send};
use crate::world::{Answer, World, post, row, with};

/// Keeps every field of every event as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>, Of);

/// Whose events are kept.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Of {
    /// The gateway's.
    #[default]
    Gateway,
    /// Those of everything it is made of, too.
    All,
}

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0.lock().unwrap(), "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, of: &Metadata<'_>) -> bool {
        self.1 == Of::All || of.target().starts_with("aibridge")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
        self.0.lock().unwrap().push('\n');
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_circuit_that_changes_its_state_is_told_with_its_names() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let [api, ..] = apis();
    let world = World::with(|settings| {
        settings.breaker = Some(BreakerSettings {
            failure_threshold: 1,
            timeout: Duration::ZERO,
            max_requests: 1,
            ..BreakerSettings::default()
        });
    });
    let provider = Upstream::start(&world.lifecycle, move |number, _| match number {
        0 => Reply::json(503, "{}"),
        _ => Reply::json(200, crate::happy::MESSAGE),
    })
    .await;
    world.install(&[row(api.kind, "p", &provider.url(api.base), &["k"])]);
    for status in [503, 200] {
        assert_eq!(world.ask(post(api.path, &api.request(false))).await.status, status);
    }
    let text = log.0.lock().unwrap().clone();
    let told: Vec<&str> = text.lines().filter(|line| line.contains("circuit breaker")).collect();
    let want = |from: &str, to: &str| {
        format!(
            "message=circuit breaker changed its state provider=\"p\" endpoint=\"/v1/messages\" model=\"m\" \
             from=\"{from}\" to=\"{to}\" "
        )
    };
    let changes = [("closed", "open"), ("open", "half-open"), ("half-open", "closed")];
    assert_eq!(told, changes.map(|(from, to)| want(from, to)));
}

#[tokio::test]
async fn logs_name_causes_and_hold_neither_secrets_nor_words_of_people() {
    const KEY: &str = "sk-planted-key-0123456789abcdef";
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let quoting =
        r#"{"error":{"type":"invalid_request_error","message":"you wrote planted words"}}"#;
    for api in apis() {
        for stream in [false, true] {
            let told =
                if stream { format!("event: error\ndata: {quoting}\n\n") } else { quoting.into() };
            for answer in [
                Reply::json(401, quoting),
                Reply::json(429, quoting),
                Reply::json(500, quoting),
                reply(stream, vec![send(&told)]),
                reply(stream, vec![send("data: planted"), Step::Break]),
                reply(stream, vec![Step::Break]),
            ] {
                let world = World::new();
                let provider = crate::upstream::Upstream::always(&world.lifecycle, answer).await;
                world.install(&[row(api.kind, "p", &provider.url("/v1"), &[KEY])]);
                let request = api.request(stream).replace("Hi", "planted words");
                world.ask(post(&format!("{}?planted=1", api.path), &request)).await;
                let endless = format!("/p/{}", "x".repeat(5000));
                world
                    .ask(with(
                        &endless,
                        &[("x-api-key", "planted"), ("authorization", "Bearer planted2")],
                        &request,
                    ))
                    .await;
            }
        }
    }
    let text = log.0.lock().unwrap().clone();
    for cause in ["interception failed", "provider turned a key away", "request refused"] {
        assert!(text.contains(cause), "{cause:?} is not in the log:\n{text}");
    }
    assert!(!text.contains("planted") && !text.contains("secretsecret"), "{text}");
    assert!(text.lines().all(|line| line.len() < 1000), "{text}");
}

#[tokio::test]
async fn whatever_fails_no_level_of_any_log_holds_a_secret_or_a_word_of_the_exchange() {
    const KEYS: [&str; 2] = ["sk-planted-key-0000000000000001", "sk-planted-key-0000000000000002"];
    let log = Log(Arc::default(), Of::All);
    let _guard = tracing::subscriber::set_default(log.clone());
    for api in apis() {
        for stream in [false, true] {
            let mut faults: Vec<&str> =
                matrix(&api, stream).into_iter().map(|(fault, _)| fault).collect();
            faults.extend(["flapping:1", "dead-key:sk-planted-key-0000000000000001"]);
            for fault in faults {
                let stage = Stage::new(&api, &KEYS, Duration::from_millis(150)).await;
                let answers = [
                    stage.ask(&api, stream, Some(fault)).await,
                    stage.ask(&api, stream, None).await,
                ];
                let text = std::mem::take(&mut *log.0.lock().unwrap());
                let about = format!("{fault} {} stream={stream}", api.path);
                assert!(text.contains("interception started"), "{about}: nothing was logged");
                for secret in ["planted", "secretsecret", "Hello there", "prompt is too long"] {
                    let line = text.lines().find(|line| line.contains(secret));
                    assert_eq!(line, None, "{about}");
                }
                // What the provider said, in pieces long enough not to be a coincidence.
                let theirs = |answer: &&Answer| answer.header("x-coder-error-code").is_none();
                let [failed, good] = &answers;
                let failed = Some(failed).filter(|answer| theirs(answer) && answer.status != 200);
                let good = Some(good).filter(theirs);
                for said in failed.into_iter().chain(good).flat_map(|a| a.body.split('"')) {
                    assert!(said.len() < 16 || !text.contains(said), "{about}: {said}");
                }
            }
        }
    }
}
