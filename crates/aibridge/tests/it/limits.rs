//! What one replica takes on at most: refused in the words of each API, counted, and free again afterwards.

use std::sync::Arc;

use aibridge::GatewaySettings;
use tokio::sync::Semaphore;

use crate::apis::{Api, Wording, apis, reply, sends};
use crate::ports::{BOB, TOKEN};
use crate::upstream::{Reply, Step, Upstream, send};
use crate::world::{Answer, World, chunk, post, request, row, with, within};

const CAPACITY: Wording = Wording("overloaded_error", "server_error", "at_capacity");
const MEMORY: Wording = Wording("overloaded_error", "server_error", "memory_exhausted");
const RATE: Wording = Wording("rate_limit_error", "rate_limit_exceeded", "user_rate_limited");

const AT_CAPACITY: &str = "AI Gateway is currently at capacity. Please try again later.";
const TOO_FAST: &str = "You've been rate limited. Please try again later.";
const NO_ROOM: &str =
    "AI Gateway holds as many bytes as it may at the moment. Please try again later.";

async fn limited(
    api: &Api,
    reply: Reply,
    adjust: impl FnOnce(&mut GatewaySettings),
) -> (World, Upstream) {
    let world = World::with(adjust);
    let provider = Upstream::always(&world.lifecycle, reply).await;
    world.install(&[row(api.kind, "p", &provider.url(api.base), &["k"])]);
    (world, provider)
}

/// A refusal in the API's own shape that says when to come back.
fn assert_refused(api: &Api, answer: &Answer, status: u16, wording: Wording, message: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (status, &*api.error(wording, message)));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-coder-error-code"), Some(wording.2));
    assert!(matches!(answer.retry_after(), Some(1..=3)), "{answer:?}");
    assert_eq!(answer.header("x-coder-interception-id"), None, "it is not recorded");
}

fn refusals(world: &World, reason: &str) -> u64 {
    world.metric(&format!(r#"coder_ai_gateway_refusals_total{{reason="{reason}"}}"#))
}

#[tokio::test]
async fn a_replica_at_capacity_says_so_until_the_last_byte_of_an_answer_is_out() {
    for api in apis() {
        let gate = Arc::new(Semaphore::new(0));
        let mut steps = sends(&api.frames);
        steps.insert(1, Step::Wait(Arc::clone(&gate)));
        let (world, provider) =
            limited(&api, reply(true, steps), |settings| settings.limits.max_concurrency = 1).await;
        let first = world.send(post(api.path, &api.request(true))).await;
        let mut first = first.into_body();
        assert_eq!(chunk(&mut first).await.unwrap(), api.frames[0]);

        for path in [api.path, "/p/v1/models"] {
            let answer = world.ask(post(path, &api.request(false))).await;
            let dialect =
                if path == api.path { &api } else { &apis()[usize::from(api.base == "/v1")] };
            assert_refused(dialect, &answer, 503, CAPACITY, AT_CAPACITY);
        }
        assert_eq!(world.ask(post("/nobody/v1/models", "")).await.status, 404, "no AI request");
        assert_eq!(world.metric("coder_ai_gateway_slots_taken"), 1);
        assert_eq!(refusals(&world, "at_capacity"), 2);
        assert_eq!(provider.seen().len(), 1, "what is refused is not sent");

        gate.add_permits(9);
        while chunk(&mut first).await.is_some() {}
        drop(first);
        assert_eq!(world.metric("coder_ai_gateway_slots_taken"), 0);
        assert_eq!(world.ask(post(api.path, &api.request(true))).await.status, 200);
        assert_eq!(world.metric("coder_ai_gateway_slots_taken"), 0);
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_and_a_refused_credential_free_their_places() {
    let [api, ..] = apis();
    let steps = vec![send(&api.frames[0]), Step::Hang];
    let (world, provider) =
        limited(&api, reply(true, steps), |settings| settings.limits.max_concurrency = 1).await;
    for _ in 0..3 {
        let body = world.send(post(api.path, &api.request(true))).await.into_body();
        drop(body);
        provider.cancelled().await;
        let answer = world.ask(with(api.path, &[("x-api-key", "wrong")], "{}")).await;
        assert_eq!(answer.status, 403);
        assert_eq!(world.ask(post(api.path, "nonsense")).await.status, 400);
    }
    assert_eq!(world.metric("coder_ai_gateway_slots_taken"), 0);
}

#[tokio::test]
async fn a_user_who_asks_too_often_is_refused_and_others_are_not() {
    for api in apis() {
        let (world, provider) = limited(&api, reply(false, vec![send(api.body)]), |settings| {
            settings.limits.rate_per_second = 2;
        })
        .await;
        // With a provider's key of one's own one is still the same user.
        let own = [("x-coder-ai-governance-token", TOKEN), ("authorization", "Bearer sk-own")];
        let mut refused = Vec::new();
        // Far more than a slow machine can spread over the seconds that they are allowed in.
        for number in 0..100 {
            let body = api.request(false);
            let asked =
                if number % 2 == 0 { post(api.path, &body) } else { with(api.path, &own, &body) };
            let answer = world.ask(asked).await;
            if answer.status != 200 {
                refused.push(answer);
            }
        }
        assert!(refused.len() > 50, "{} of 100", refused.len());
        for answer in &refused {
            assert_refused(&api, answer, 429, RATE, TOO_FAST);
        }
        assert_eq!(refusals(&world, "user_rate_limited"), refused.len() as u64);
        assert_eq!(provider.seen().len(), 100 - refused.len(), "what is refused is not sent");

        // Who it is is known before anything is counted, and lists of models are free.
        let answer = world.ask(with(api.path, &[("x-api-key", "wrong")], "{}")).await;
        assert_eq!(answer.status, 403);
        let bob = [("x-api-key", BOB)];
        assert_eq!(world.ask(with(api.path, &bob, &api.request(false))).await.status, 200);
        for _ in 0..20 {
            let path = "/p/v1/models";
            let answer = world.ask(request("GET", path, &[("x-api-key", TOKEN)], "")).await;
            assert_eq!(answer.status, 200);
        }
    }
}

#[tokio::test]
async fn no_more_bytes_are_held_than_there_is_memory_for() {
    for api in apis() {
        let (heads, rest) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let mut held_back = reply(true, sends(&api.frames));
        held_back.before = vec![Step::Wait(Arc::clone(&heads))];
        held_back.body.insert(1, Step::Wait(Arc::clone(&rest)));
        let (world, provider) = limited(&api, held_back, |settings| {
            settings.limits.memory_max_bytes = 100_000;
        })
        .await;
        let large =
            api.request(true).replacen('}', &format!(",\"pad\":{:?}}}", "x".repeat(60_000)), 1);
        let (large, small) = (large.as_str(), api.request(true));

        let first = world.gateway.handle(post(api.path, large));
        let second = async {
            provider.arrived().await;
            let answer = world.ask(post(api.path, large)).await;
            assert_refused(&api, &answer, 503, MEMORY, NO_ROOM);
            assert_eq!(refusals(&world, "memory_exhausted"), 1);
            assert!(world.metric("coder_ai_gateway_held_bytes") >= 60_000);
            heads.add_permits(2);
            world.send(post(api.path, &small)).await
        };
        let (first, second) = within(async { tokio::join!(first, second) }).await;
        assert_eq!([first.status().as_u16(), second.status().as_u16()], [200, 200]);

        // Both streams are open; their requests are not held any more.
        assert_eq!(world.metric("coder_ai_gateway_held_bytes"), 0);
        heads.add_permits(1);
        rest.add_permits(3);
        assert_eq!(world.ask(post(api.path, large)).await.status, 200);
        drop((first, second));
        assert_eq!(world.metric("coder_ai_gateway_held_bytes"), 0);
    }
}

#[tokio::test]
async fn answers_that_are_copied_count_as_memory_and_are_never_given_up_for_it() {
    let [api, ..] = apis();
    let gate = Arc::new(Semaphore::new(0));
    let steps = vec![
        send(&api.body.replace("Hello", &"x".repeat(50_000))),
        Step::Wait(Arc::clone(&gate)),
        send(" "),
    ];
    let (world, _provider) = limited(&api, reply(false, steps), |settings| {
        settings.limits.memory_max_bytes = 40_000;
    })
    .await;
    let mut first = world.send(post(api.path, &api.request(false))).await.into_body();
    within(async {
        while world.metric("coder_ai_gateway_held_bytes") < 50_000 {
            // Takes what has come; the last piece does not.
            let _ = futures_util::poll!(Box::pin(chunk(&mut first)));
            tokio::task::yield_now().await;
        }
    })
    .await;
    let answer = world.ask(post(api.path, &api.request(false))).await;
    assert_refused(&api, &answer, 503, MEMORY, NO_ROOM);
    gate.add_permits(9);
    while chunk(&mut first).await.is_some() {}
    drop(first);
    assert_eq!(world.book.lines().pop().unwrap(), r#"end "..." ok"#);
    assert_eq!(world.metric("coder_ai_gateway_held_bytes"), 0);
}
