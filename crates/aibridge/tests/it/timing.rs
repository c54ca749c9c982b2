//! Deadlines and keep-alives, with limits short enough to wait for.

use std::time::Duration;

use aibridge::ProviderKind::{self, Anthropic, OpenAi};
use aibridge::Timeouts;
use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};

use crate::broken::{BLOCKING, STREAM};
use crate::happy::{CHAT_STREAM, MESSAGE, MESSAGE_STREAM, response_stream};
use crate::ports::TOKEN;
use crate::upstream::{Reply, Step, Upstream, send};
use crate::world::{World, chunk, post, read, row, within};

/// Short, yet long enough for a busy machine to get a request to the provider and its first bytes back.
const SOON: Duration = Duration::from_millis(250);

async fn world(
    kind: ProviderKind,
    reply: Reply,
    adjust: impl FnOnce(&mut Timeouts),
) -> (World, Upstream) {
    let world = World::with(|settings| adjust(&mut settings.timeouts));
    let provider = Upstream::always(&world.lifecycle, reply).await;
    world.install(&[row(kind, "p", &provider.url(""), &["k"])]);
    (world, provider)
}

#[tokio::test]
async fn a_provider_that_never_answers_is_504_and_cancelled() {
    for (request, before, body) in [
        (BLOCKING, vec![Step::Hang], vec![]),
        (STREAM, vec![Step::Hang], vec![]),
        (STREAM, vec![], vec![Step::Hang]),
    ] {
        let mut reply = Reply::stream(body);
        reply.before = before;
        let (world, provider) = world(Anthropic, reply, |limits| {
            limits.blocking = SOON;
            limits.first_byte = SOON;
        })
        .await;
        let answer = world.ask(post("/p/v1/messages", request)).await;
        assert_eq!(answer.status, 504, "{answer:?}");
        assert!(answer.body.contains("timeout_error"), "{}", answer.body);
        let end = world.book.lines().pop().unwrap();
        assert!(end.starts_with(r#"end "..." timeout provider "p" did not answer"#), "{end}");
        provider.cancelled().await;
    }
}

#[tokio::test]
async fn a_stream_that_falls_silent_ends_with_an_error_event() {
    let steps = vec![send(MESSAGE_STREAM[0]), Step::Hang];
    let (world, provider) =
        world(Anthropic, Reply::stream(steps), |limits| limits.stream_idle = SOON).await;
    let answer = world.ask(post("/p/v1/messages", STREAM)).await;
    let trailer = answer.body.strip_prefix(MESSAGE_STREAM[0]).unwrap();
    assert!(trailer.starts_with("event: error\n"), "{trailer:?}");
    let end = world.book.lines().pop().unwrap();
    assert_eq!(end, r#"end "..." timeout the provider stopped sending its answer"#);
    provider.cancelled().await;
}

#[tokio::test]
async fn a_blocking_answer_that_stalls_is_cut() {
    let mut reply = Reply::stream(vec![send(&MESSAGE[..50]), Step::Hang]);
    reply.headers = vec![("content-type", "application/json".to_owned())];
    let (world, _provider) = world(Anthropic, reply, |limits| limits.blocking = 10 * SOON).await;
    let answer = world.ask(post("/p/v1/messages", BLOCKING)).await;
    assert!(!answer.whole, "{answer:?}");
    let end = world.book.lines().pop().unwrap();
    assert_eq!(end, r#"end "..." timeout provider p took too long to answer"#);
}

#[tokio::test]
async fn silence_is_bridged_by_what_each_api_ignores() {
    for (kind, path, first, ping) in [
        (
            Anthropic,
            "/p/v1/messages",
            MESSAGE_STREAM[0],
            "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        ),
        (OpenAi, "/p/v1/chat/completions", CHAT_STREAM[0], ": keep-alive\n\n"),
        (OpenAi, "/p/v1/responses", &response_stream()[0], ": keep-alive\n\n"),
    ] {
        let steps = vec![send(first), Step::Hang];
        let (world, _provider) =
            world(kind, Reply::stream(steps), |limits| limits.keep_alive = SOON).await;
        let mut body = world.send(post(path, STREAM)).await.into_body();
        assert_eq!(chunk(&mut body).await.unwrap(), first);
        for _ in 0..3 {
            assert_eq!(chunk(&mut body).await.unwrap(), ping, "{path}");
        }
    }
}

#[tokio::test]
async fn a_request_body_that_never_arrives_is_408() {
    let (world, provider) =
        world(Anthropic, Reply::json(200, MESSAGE), |limits| limits.request_body = SOON).await;
    let stuck = futures_util::stream::pending::<Result<http_body::Frame<Bytes>, std::io::Error>>();
    let request = http::Request::builder()
        .method("POST")
        .uri("/p/v1/messages")
        .header("x-api-key", TOKEN)
        .body(StreamBody::new(stuck).boxed_unsync())
        .unwrap();
    let answer = within(async { read(world.gateway.handle(request).await).await }).await;
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(provider.seen().is_empty() && world.book.facts().is_empty());
}

#[tokio::test]
async fn a_stopping_process_ends_streams_after_its_grace() {
    let steps = vec![send(MESSAGE_STREAM[0]), Step::Hang];
    let (world, provider) =
        world(Anthropic, Reply::stream(steps), |limits| limits.shutdown = SOON).await;
    let response = world.send(post("/p/v1/messages", STREAM)).await;
    world.lifecycle.begin_stop();
    let answer = within(read(response)).await;
    assert!(answer.body.contains("event: error") || !answer.whole, "{answer:?}");
    provider.cancelled().await;
    let end = world.book.lines().pop().unwrap();
    assert!(end.starts_with(r#"end "...""#) && !end.ends_with("ok"), "{end}");
}

/// A body that is announced and never comes.
struct Stuck;

impl http_body::Body for Stuck {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(5)
    }
}

#[tokio::test]
async fn a_passthrough_body_that_never_arrives_is_408() {
    let (world, provider) =
        world(Anthropic, Reply::json(200, "{}"), |limits| limits.request_body = SOON).await;
    let path = "/p/v1/messages/count_tokens";
    let request = http::Request::post(path).header("x-api-key", TOKEN).body(Stuck).unwrap();
    let answer = within(async { read(world.gateway.handle(request).await).await }).await;
    let want = r#"{"error":{"message":"the request body did not arrive within 0 seconds","type":"timeout_error"},"type":"error"}"#;
    assert_eq!((answer.status, answer.body.as_str()), (408, want));
    assert!(provider.seen().is_empty());
}

#[tokio::test]
async fn passthrough_waits_for_no_provider_for_ever() {
    let mut silent = Reply::json(200, "{}");
    silent.before = vec![Step::Hang];
    let (world, provider) = world(Anthropic, silent, |limits| limits.first_byte = SOON).await;
    let answer = world.ask(post("/p/v1/models", "")).await;
    let want =
        r#"{"error":{"message":"upstream proxy error","type":"timeout_error"},"type":"error"}"#;
    assert_eq!((answer.status, answer.body.as_str()), (504, want));
    provider.cancelled().await;

    let steps = vec![send("one"), Step::Hang];
    let (world, provider) =
        self::world(Anthropic, Reply::stream(steps), |limits| limits.stream_idle = SOON).await;
    let answer = world.ask(post("/p/v1/models", "")).await;
    assert_eq!((answer.status, answer.body.as_str(), answer.whole), (200, "one", false));
    provider.cancelled().await;
}

#[tokio::test]
async fn a_stopping_process_ends_passthrough_after_its_grace() {
    let steps = vec![send("one"), Step::Hang];
    let (world, provider) =
        world(Anthropic, Reply::stream(steps), |limits| limits.shutdown = SOON).await;
    let response = world.send(post("/p/v1/models", "")).await;
    world.lifecycle.begin_stop();
    let answer = within(read(response)).await;
    assert_eq!((answer.body.as_str(), answer.whole), ("one", false));
    provider.cancelled().await;
}
