//! The circuit breaker: what opens it, what clients and operators see of it, and how it closes again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aibridge::BreakerSettings;
use aibridge::ProviderKind::Anthropic;
use tokio::sync::Semaphore;

use crate::apis::{Api, Wording, apis, reply, sends};
use crate::ports::TOKEN;
use crate::upstream::{Reply, Step, Upstream, send};
use crate::world::{World, chunk, post, row, with, within};

const OPEN: Wording = Wording("overloaded_error", "server_error", "service_unavailable");

fn world(timeout: Duration) -> World {
    World::with(|settings| {
        settings.breaker = Some(BreakerSettings {
            failure_threshold: 3,
            interval: Duration::from_mins(1),
            timeout,
            max_requests: 1,
        });
        settings.timeouts.first_byte = Duration::from_millis(250);
        settings.timeouts.blocking = Duration::from_millis(250);
        settings.timeouts.stream_idle = Duration::from_millis(250);
    })
}

fn sample(name: &str, api: &Api, model: &str) -> String {
    let route = api.path.strip_prefix("/p").unwrap();
    let route =
        if api.base.is_empty() { route } else { route.strip_prefix("/v1").unwrap_or(route) };
    format!(
        r#"coder_ai_gateway_circuit_breaker_{name}{{provider="p",endpoint="{route}",model="{model}"}}"#
    )
}

/// Providers that are ill, one after the other, with the status that the client gets.
fn illnesses(api: &Api) -> Vec<(u16, bool, Reply)> {
    let mut silent = reply(true, vec![]);
    silent.before = vec![Step::Hang];
    let first = send(&api.frames[0]);
    vec![
        (503, false, Reply::json(503, "{}")),
        (504, true, Reply::json(504, "{}")),
        (529, true, Reply::json(529, "{}")),
        (502, false, Reply { before: vec![Step::Break], ..reply(false, vec![]) }),
        (504, false, silent.clone()),
        (504, true, silent),
        // Three ways to fail once the status is out.
        (200, true, reply(true, vec![first.clone(), Step::Break])),
        (200, true, reply(true, vec![first.clone(), Step::Hang])),
        (200, true, reply(true, vec![first])),
    ]
}

#[tokio::test]
async fn failures_in_a_row_open_the_circuit_of_one_model() {
    for api in apis() {
        for (status, stream, ill) in illnesses(&api) {
            let about = format!("{} {status} {ill:?}", api.path);
            let world = world(Duration::from_secs(30));
            let well = Reply::json(200, api.body);
            let provider = Upstream::start(&world.lifecycle, move |_, seen| {
                let other = String::from_utf8_lossy(&seen.body).contains(r#""model":"other""#);
                if other { well.clone() } else { ill.clone() }
            })
            .await;
            world.install(&[
                row(api.kind, "p", &provider.url(api.base), &["k"]),
                row(api.kind, "q", &provider.url(api.base), &["k"]),
            ]);
            for _ in 0..3 {
                let answer = world.ask(post(api.path, &api.request(stream))).await;
                assert_eq!(answer.status, status, "{about}");
            }
            let asked = provider.seen().len();
            assert_eq!(asked, 3, "{about}");
            for again in 1..=2 {
                let answer = world.ask(post(api.path, &api.request(stream))).await;
                let want = api.error(OPEN, "circuit breaker is open");
                assert_eq!((answer.status, answer.body.as_str()), (503, &*want), "{about}");
                assert_eq!(answer.header("content-type"), Some("application/json"));
                assert_eq!(answer.header("x-coder-error-code"), Some("circuit_open"));
                assert!(matches!(answer.retry_after(), Some(29..=33)), "{answer:?}");
                assert!(answer.headers.contains_key("x-coder-interception-id"), "it is recorded");
                let lines = world.book.lines();
                let end = lines.last().unwrap();
                assert_eq!(end, r#"end "" overloaded circuit breaker is open"#, "{about}");
                assert_eq!(world.metric(&sample("rejects_total", &api, "m")), again, "{about}");
            }
            assert_eq!(provider.seen().len(), asked, "nothing was sent: {about}");
            assert_eq!(world.metric(&sample("trips_total", &api, "m")), 1, "{about}");
            let state = world.sample(&sample("state", &api, "m"));
            assert_eq!(state.as_deref(), Some("1.0"), "{about}");

            // Another model of the same provider, and the same model of another one.
            let other = api.request(false).replace(r#""model":"m""#, r#""model":"other""#);
            assert_eq!(world.ask(post(api.path, &other)).await.status, 200, "{about}");
            let path = api.path.replacen("/p/", "/q/", 1);
            assert_eq!(
                world.ask(post(&path, &api.request(stream))).await.status,
                status,
                "{about}"
            );
            assert_eq!(world.in_flight(), 0, "{about}");
        }
    }
}

#[tokio::test]
async fn rate_limits_of_the_deployments_keys_count_and_those_of_a_callers_own_do_not() {
    let [api, ..] = apis();
    let world = world(Duration::from_secs(30));
    let limited = Reply::json(429, "{}").with("retry-after", "1");
    let provider = Upstream::always(&world.lifecycle, limited).await;
    world.install(&[row(api.kind, "p", &provider.url(api.base), &["k1", "k2", "k3", "k4"])]);
    let own = [("x-coder-ai-governance-token", TOKEN), ("x-api-key", "sk-own")];
    for _ in 0..5 {
        let answer = world.ask(with(api.path, &own, &api.request(true))).await;
        assert_eq!(answer.status, 429);
    }
    assert_eq!(world.sample(&sample("state", &api, "m")), None);
    for _ in 0..2 {
        assert_eq!(world.ask(post(api.path, &api.request(true))).await.status, 429);
        // While all keys rest nobody is asked, so nothing is learnt.
        for _ in 0..5 {
            assert_eq!(world.ask(post(api.path, &api.request(true))).await.status, 429);
        }
        world.clock.advance(Duration::from_secs(2));
    }
    for status in [429, 503] {
        assert_eq!(world.ask(post(api.path, &api.request(true))).await.status, status);
    }
}

#[tokio::test]
async fn answers_that_say_nothing_about_the_providers_health_do_not_count() {
    for api in apis() {
        for (status, body) in [(500, "{}"), (400, "{}"), (404, "{}"), (413, "{}"), (200, api.body)]
        {
            let world = world(Duration::from_secs(30));
            let provider = Upstream::always(&world.lifecycle, Reply::json(status, body)).await;
            world.install(&[row(api.kind, "p", &provider.url(api.base), &["k"])]);
            for _ in 0..10 {
                let answer = world.ask(post(api.path, &api.request(false))).await;
                assert_eq!(answer.status, status, "{}", api.path);
            }
        }
        // Clients that leave.
        let world = world(Duration::from_secs(30));
        let steps = vec![send(&api.frames[0]), Step::Hang];
        let provider = Upstream::always(&world.lifecycle, reply(true, steps)).await;
        world.install(&[row(api.kind, "p", &provider.url(api.base), &["k"])]);
        for _ in 0..10 {
            let response = world.send(post(api.path, &api.request(true))).await;
            assert_eq!(response.status(), 200, "{}", api.path);
            drop(response);
            provider.cancelled().await;
        }
        assert_eq!(world.sample(&sample("state", &api, "m")), None);
    }
}

#[tokio::test]
async fn an_open_circuit_is_tried_after_its_time_and_closes_when_the_provider_is_well() {
    for api in apis() {
        let world = world(Duration::from_millis(20));
        let (well, gate) = (Arc::new(AtomicBool::new(false)), Arc::new(Semaphore::new(0)));
        let mut frames = sends(&api.frames);
        frames.insert(1, Step::Wait(Arc::clone(&gate)));
        let (good, is_well) = (reply(true, frames), Arc::clone(&well));
        let provider = Upstream::start(&world.lifecycle, move |_, _| {
            if is_well.load(Ordering::SeqCst) { good.clone() } else { Reply::json(503, "{}") }
        })
        .await;
        world.install(&[row(api.kind, "p", &provider.url(api.base), &["k"])]);
        let request = || post(api.path, &api.request(true));
        for _ in 0..3 {
            assert_eq!(world.ask(request()).await.header("x-coder-error-code"), None);
        }
        // Its time passes; the one that tries it fails, and it opens again.
        within(async {
            while world.ask(request()).await.header("x-coder-error-code").is_some() {}
        })
        .await;
        assert_eq!(world.metric(&sample("trips_total", &api, "m")), 2, "{}", api.path);
        well.store(true, Ordering::SeqCst);
        let first = within(async {
            loop {
                let response = world.send(request()).await;
                if response.status() == 200 {
                    return response;
                }
            }
        });
        // Its first byte is enough, the stream itself goes on.
        let mut first = first.await.into_body();
        let state = world.sample(&sample("state", &api, "m"));
        assert_eq!(state.as_deref(), Some("0.0"), "{}", api.path);
        let second = world.send(request()).await;
        assert_eq!(second.status(), 200);
        gate.add_permits(9);
        assert_eq!(chunk(&mut first).await.unwrap(), api.frames[0]);
    }
}

#[tokio::test]
async fn without_the_option_nobody_is_refused() {
    let world = World::new();
    let provider = Upstream::always(&world.lifecycle, Reply::json(503, "{}")).await;
    world.install(&[row(Anthropic, "p", &provider.url(""), &["k"])]);
    let [api, ..] = apis();
    for _ in 0..20 {
        assert_eq!(world.ask(post(api.path, &api.request(true))).await.status, 503);
    }
    assert_eq!(provider.seen().len(), 20);
}
