//! Keys: failover, exhaustion, keys that callers bring.

use std::time::Duration;

use aibridge::ProviderKind::{Anthropic, Copilot, OpenAi};

use crate::broken::{BLOCKING, STREAM};
use crate::happy::{MESSAGE, MESSAGE_STREAM};
use crate::ports::TOKEN;
use crate::upstream::{Reply, Upstream, send};
use crate::world::{World, post, request, row, with};

const KEYS: [&str; 3] =
    ["sk-first-key-000000000001", "sk-second-key-00000000002", "sk-third-key-000000000003"];
const REFUSED: &str =
    r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#;

/// A provider that answers by key: the status of the first rule whose text the key contains.
async fn provider(world: &World, rules: &'static [(&'static str, u16)]) -> Upstream {
    Upstream::start(&world.lifecycle, move |_, seen| {
        let key = seen.header("x-api-key").or(seen.header("authorization")).unwrap_or_default();
        let rule = rules.iter().find(|(text, _)| key.contains(text));
        match rule.map_or(200, |(_, status)| *status) {
            200 if seen.body.windows(8).any(|part| part == b"\"stream\"") => {
                Reply::stream(MESSAGE_STREAM.iter().map(|frame| send(frame)).collect())
            }
            200 => Reply::json(200, MESSAGE),
            429 => Reply::json(429, REFUSED).with("retry-after", "17"),
            status => Reply::json(status, REFUSED),
        }
    })
    .await
}

#[tokio::test]
async fn the_next_key_is_tried_when_one_is_turned_away() {
    for status in [401, 403, 429] {
        for request in [BLOCKING, STREAM] {
            let world = World::new();
            let rules: &[_] = match status {
                401 => &[("first", 401)],
                403 => &[("first", 403)],
                _ => &[("first", 429)],
            };
            let provider = provider(&world, rules).await;
            world.install(&[row(Anthropic, "p", &provider.url(""), &KEYS)]);
            for expected in [2, 3] {
                let answer = world.ask(post("/p/v1/messages", request)).await;
                assert_eq!(answer.status, 200, "{status}");
                // The second request goes straight to the second key.
                assert_eq!(provider.seen().len(), expected, "{status}");
            }
            let lines = world.book.lines();
            assert!(
                lines.iter().filter(|line| *line == r#"end "sk-s...0002" ok"#).count() == 2,
                "{lines:?}"
            );
            assert!(!format!("{lines:?}").contains("second-key"), "no key is recorded");
            let reason = match status {
                401 => "unauthorized",
                403 => "forbidden",
                _ => "rate_limited",
            };
            let sample = format!(
                r#"coder_ai_gateway_key_pool_state_transitions_total{{provider="p",reason="{reason}"}}"#
            );
            assert_eq!(world.metric(&sample), 1);
        }
    }
}

#[tokio::test]
async fn an_exhausted_pool_says_when_to_come_back() {
    for (rules, status, kind, message, retry_after, error_type) in [
        (
            &[("sk-", 429)][..],
            429,
            "rate_limit_error",
            "all configured keys are rate-limited",
            17..=19,
            "rate_limited",
        ),
        (
            &[("first", 401), ("second", 403), ("third", 401)],
            502,
            "api_error",
            "all configured keys failed authentication",
            60..=66,
            "unauthorized",
        ),
        (
            &[("first", 401), ("second", 429), ("third", 403)],
            429,
            "rate_limit_error",
            "all configured keys are rate-limited",
            17..=19,
            "rate_limited",
        ),
    ] {
        let world = World::new();
        let provider = provider(&world, rules).await;
        world.install(&[row(Anthropic, "p", &provider.url(""), &KEYS)]);
        for _ in 0..2 {
            let answer = world.ask(post("/p/v1/messages", STREAM)).await;
            let body =
                format!(r#"{{"error":{{"message":"{message}","type":"{kind}"}},"type":"error"}}"#);
            assert_eq!((answer.status, &answer.body), (status, &body));
            let pause = answer.retry_after().unwrap();
            assert!(retry_after.contains(&pause), "{pause} is not in {retry_after:?}");
            let pointless = (status == 502).then_some("false");
            assert_eq!(answer.header("x-should-retry"), pointless);
            let end = world.book.lines().pop().unwrap();
            assert!(end.ends_with(&format!("{error_type} {message}")), "{end}");
        }
        assert_eq!(provider.seen().len(), 3, "each key once, then none until one is back");
        world.clock.advance(Duration::from_mins(1));
        world.ask(post("/p/v1/messages", STREAM)).await;
        assert!(provider.seen().len() > 3, "keys come back by themselves");
    }
}

#[tokio::test]
async fn other_failures_are_not_blamed_on_the_key() {
    let world = World::new();
    let provider = provider(&world, &[("first", 529)]).await;
    world.install(&[row(Anthropic, "p", &provider.url(""), &KEYS)]);
    for expected in [1, 2] {
        assert_eq!(world.ask(post("/p/v1/messages", STREAM)).await.status, 529);
        assert_eq!(provider.seen().len(), expected);
    }
}

#[tokio::test]
async fn passthrough_fails_over_too() {
    let world = World::new();
    let provider = provider(&world, &[("first", 401)]).await;
    world.install(&[row(Anthropic, "p", &provider.url(""), &KEYS)]);
    let answer = world.ask(post("/p/v1/messages/count_tokens", r#"{"model":"m"}"#)).await;
    assert_eq!(answer.status, 200);
    let bodies: Vec<_> = provider.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [r#"{"model":"m"}"#; 2]);
}

#[tokio::test]
async fn a_brought_key_is_used_as_it_is_and_its_refusal_passes_verbatim() {
    let world = World::new();
    let provider = provider(&world, &[("own", 401)]).await;
    world.install(&[
        row(Anthropic, "claude", &provider.url(""), &KEYS),
        row(OpenAi, "gpt", &provider.url(""), &[]),
        row(Copilot, "copilot", &provider.url(""), &[]),
    ]);
    for (path, header, value) in [
        ("/claude/v1/messages", "x-api-key", "sk-own-0000000000000001"),
        ("/claude/v1/messages", "authorization", "Bearer sk-own-0000000000000001"),
        ("/gpt/v1/chat/completions", "authorization", "Bearer sk-own-0000000000000001"),
        ("/copilot/chat/completions", "authorization", "Bearer ghu-own-000000000000001"),
    ] {
        let before = provider.seen().len();
        let headers = [("x-coder-ai-governance-token", TOKEN), (header, value)];
        let answer = world.ask(with(path, &headers, BLOCKING)).await;
        assert_eq!((answer.status, answer.body.as_str()), (401, REFUSED), "{path}");
        let seen = provider.seen();
        assert_eq!(seen.len(), before + 1, "no failover");
        let seen = seen.last().unwrap();
        assert_eq!(seen.header(header), Some(value));
        assert_eq!(seen.header("x-coder-ai-governance-token"), None);
        let lines = world.book.lines();
        let start = lines.iter().rfind(|line| line.starts_with("start")).unwrap();
        let hint = stdx::mask(value.trim_start_matches("Bearer "));
        assert!(start.contains(&format!("byok {hint:?}")), "{start}");
        let end = lines.last().unwrap();
        assert!(end.starts_with(&format!("end {hint:?} unauthorized")), "{end}");
    }
}

#[tokio::test]
async fn without_a_brought_key_the_central_one_is_used_and_our_token_never_leaves() {
    let world = World::new();
    let provider = provider(&world, &[]).await;
    world.install(&[row(Anthropic, "p", &provider.url(""), &KEYS)]);
    let bearer = format!("Bearer {TOKEN}");
    for headers in [
        vec![("x-coder-ai-governance-token", TOKEN)],
        vec![("x-coder-ai-governance-token", TOKEN), ("authorization", bearer.as_str())],
        vec![("x-coder-ai-governance-token", TOKEN), ("x-api-key", TOKEN)],
    ] {
        for (method, path) in [("POST", "/p/v1/messages"), ("GET", "/p/v1/models")] {
            let answer = world.ask(request(method, path, &headers, BLOCKING)).await;
            assert_eq!(answer.status, 200, "{headers:?}");
            let seen = provider.seen().pop().unwrap();
            assert_eq!(seen.header("x-api-key"), Some(KEYS[0]));
            assert_eq!(seen.header("authorization"), None);
            assert!(!format!("{seen:?}").contains(TOKEN), "{seen:?}");
        }
    }
}
