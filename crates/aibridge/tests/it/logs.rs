//! What the gateway writes into its log, and what it never does.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aibridge::BreakerSettings;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::apis::{apis, reply};
use crate::upstream::{Reply, Step, Upstream, send};
use crate::world::{World, post, row, with};

/// Keeps every field of every event as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0.lock().unwrap(), "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, of: &Metadata<'_>) -> bool {
        of.target().starts_with("aibridge")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

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
