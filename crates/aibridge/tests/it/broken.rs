//! Providers that fail and clients that leave: what the client gets and what is recorded.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use aibridge::ProviderKind::{Anthropic, OpenAi};
use bytes::Bytes;
use http_body::Body as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::happy::{CHAT_STREAM, MESSAGE, MESSAGE_STREAM};
use crate::ports::TOKEN;
use crate::upstream::{Reply, Step, Upstream, send};
use crate::world::{World, chunk, post, row, within};

pub(crate) const STREAM: &str =
    r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;
pub(crate) const BLOCKING: &str = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#;

const START: &str = r#"start anthropic p m "Unknown" centralized "" session=None result-of=None"#;

pub(crate) async fn anthropic(reply: Reply) -> (World, Upstream) {
    let world = World::new();
    let provider = Upstream::always(&world.lifecycle, reply).await;
    world.install(&[row(Anthropic, "p", &provider.url(""), &["k"])]);
    (world, provider)
}

fn error(kind: &str, message: &str) -> String {
    let message = message.replace('"', "\\\"");
    format!(r#"{{"error":{{"message":"{message}","type":"{kind}"}},"type":"error"}}"#)
}

#[tokio::test]
async fn an_unreachable_provider_is_502_and_recorded() {
    // Bound and dropped: nobody listens there.
    let nobody = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    for request in [STREAM, BLOCKING] {
        let world = World::new();
        world.install(&[row(Anthropic, "p", &format!("http://{nobody}"), &["k"])]);
        let answer = world.ask(post("/p/v1/messages", request)).await;
        let text = r#"provider "p" cannot be reached"#;
        assert_eq!((answer.status, answer.body), (502, error("api_error", text)));
        assert!(answer.headers.contains_key("x-coder-interception-id"));
        let lines = world.book.lines();
        assert_eq!(lines.first().map(String::as_str), Some(START));
        let end = lines.last().unwrap();
        assert_eq!(end, &format!(r#"end "..." server_error {text}"#));
    }
}

#[tokio::test]
async fn a_provider_that_breaks_before_the_first_byte_is_502_not_an_empty_200() {
    for body in [vec![Step::Break], vec![]] {
        let (world, _provider) = anthropic(Reply::stream(body)).await;
        let answer = world.ask(post("/p/v1/messages", STREAM)).await;
        assert_eq!(answer.status, 502, "{answer:?}");
        assert!(answer.body.contains("api_error"), "{}", answer.body);
        let end = world.book.lines().pop().unwrap();
        assert!(end.starts_with(r#"end "..." server_error provider "p" "#), "{end}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_inside_a_frame_ends_with_the_apis_error_event() {
    let half = &MESSAGE_STREAM[2][..40];
    let steps = vec![send(MESSAGE_STREAM[0]), send(MESSAGE_STREAM[1]), send(half), Step::Break];
    let (world, _provider) = anthropic(Reply::stream(steps)).await;
    let answer = world.ask(post("/p/v1/messages", STREAM)).await;
    assert_eq!(answer.status, 200);
    let relayed = MESSAGE_STREAM[..2].concat();
    let trailer = answer.body.strip_prefix(&relayed).expect("whole frames came through");
    assert!(trailer.starts_with("event: error\ndata: {"), "{trailer:?}");
    assert!(trailer.ends_with("}\n\n"), "{trailer:?}");
    assert!(!answer.body.contains("Hello"), "half a frame is not passed on");
    let lines = world.book.lines();
    let end = lines.last().unwrap();
    assert_eq!(
        end,
        r#"end "..." server_error the provider broke off before its answer was complete"#
    );
    let tokens = lines.iter().find(|line| line.starts_with("tokens")).expect("a partial count");
    assert!(tokens.contains("in=10") && tokens.contains("partial=true"), "{tokens}");
}

#[tokio::test]
async fn a_chat_stream_that_breaks_gets_an_error_chunk() {
    let world = World::new();
    let steps = vec![send(CHAT_STREAM[0]), Step::Break];
    let provider = Upstream::always(&world.lifecycle, Reply::stream(steps)).await;
    world.install(&[row(OpenAi, "p", &provider.url("/v1"), &["k"])]);
    let answer = world.ask(post("/p/v1/chat/completions", STREAM)).await;
    let trailer = answer.body.strip_prefix(CHAT_STREAM[0]).expect("the whole frame");
    assert!(trailer.starts_with("data: {\"error\":{"), "{trailer:?}");
    let end = world.book.lines().pop().unwrap();
    assert!(end.contains("server_error"), "{end}");
}

#[tokio::test]
async fn a_stream_without_its_terminator_is_not_a_success() {
    let steps = MESSAGE_STREAM[..4].iter().map(|frame| send(frame)).collect();
    let (world, _provider) = anthropic(Reply::stream(steps)).await;
    let answer = world.ask(post("/p/v1/messages", STREAM)).await;
    assert!(answer.body.contains("event: error") || !answer.whole, "{answer:?}");
    let end = world.book.lines().pop().unwrap();
    assert!(end.contains("server_error"), "{end}");
}

#[tokio::test]
async fn a_blocking_answer_that_breaks_is_cut_not_short() {
    let (head, rest) = MESSAGE.split_at(60);
    let mut reply = Reply::stream(vec![send(head), send(&rest[..20]), Step::Break]);
    reply.headers = vec![("content-type", "application/json".to_owned())];
    let (world, _provider) = anthropic(reply).await;
    let answer = world.ask(post("/p/v1/messages", BLOCKING)).await;
    assert!(!answer.whole, "{answer:?}");
    let end = world.book.lines().pop().unwrap();
    assert_eq!(end, r#"end "..." server_error provider p broke off its answer"#);
}

#[tokio::test]
async fn invalid_utf8_is_relayed_untouched_and_recorded_as_text() {
    let bad = Bytes::from_static(
        b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\xff\xfe\"}}\n\n",
    );
    let mut steps: Vec<_> = MESSAGE_STREAM.iter().map(|frame| send(frame)).collect();
    steps.insert(2, Step::Send(bad.clone()));
    let (world, _provider) = anthropic(Reply::stream(steps)).await;
    let mut body = world.send(post("/p/v1/messages", STREAM)).await.into_body();
    let mut all = Vec::new();
    while let Some(bytes) = chunk(&mut body).await {
        all.extend_from_slice(&bytes);
    }
    let want =
        [MESSAGE_STREAM[..2].concat().as_bytes(), &bad, MESSAGE_STREAM[2..].concat().as_bytes()]
            .concat();
    assert!(all == want);
    let end = world.book.lines().pop().unwrap();
    assert_eq!(end, r#"end "..." ok"#);
}

#[tokio::test]
async fn a_line_of_10_mb_passes_and_the_rest_is_still_understood() {
    let text = "a".repeat(10 * 1024 * 1024);
    let line = format!(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
    );
    let mut steps: Vec<_> = MESSAGE_STREAM.iter().map(|frame| send(frame)).collect();
    steps.splice(
        2..3,
        line.as_bytes().chunks(64 * 1024).map(|part| Step::Send(Bytes::copy_from_slice(part))),
    );
    let (world, _provider) = anthropic(Reply::stream(steps)).await;
    let answer = world.ask(post("/p/v1/messages", STREAM)).await;
    assert!(
        answer.body
            == [&MESSAGE_STREAM[..2].concat(), &line, &MESSAGE_STREAM[3..].concat()]
                .map(String::as_str)
                .concat()
    );
    let lines = world.book.lines();
    assert!(
        lines.iter().any(|line| line.starts_with("tokens") && line.contains("out=7")),
        "{lines:?}"
    );
    assert_eq!(lines.last().unwrap(), r#"end "..." ok"#);
}

#[tokio::test]
async fn errors_of_the_provider_pass_verbatim() {
    for (status, error_type) in
        [(400, "bad_request"), (404, "bad_request"), (500, "server_error"), (529, "overloaded")]
    {
        let body = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_9"}"#;
        let reply =
            Reply::json(status, body).with("retry-after", "3").with("x-should-retry", "true");
        let reply =
            reply.with("anthropic-ratelimit-requests-limit", "50").with("set-cookie", "a=b");
        let (world, _provider) = anthropic(reply).await;
        let answer = world.ask(post("/p/v1/messages", STREAM)).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("retry-after"), Some("3"));
        assert_eq!(answer.header("anthropic-ratelimit-requests-limit"), Some("50"));
        assert_eq!(answer.header("set-cookie"), None);
        let end = world.book.lines().pop().unwrap();
        assert_eq!(end, format!(r#"end "..." {error_type} provider p answered {status}"#));
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (world, provider) =
        anthropic(Reply::json(307, "{}").with("location", "http://127.0.0.1:1/")).await;
    let answer = world.ask(post("/p/v1/messages", BLOCKING)).await;
    assert_eq!(answer.status, 502);
    assert!(
        answer.body.contains("redirect (307)") && answer.body.contains("base_url"),
        "{}",
        answer.body
    );
    assert_eq!(answer.header("location"), None);
    assert_eq!(provider.seen().len(), 1);
}

#[tokio::test]
async fn json_instead_of_the_stream_that_was_asked_for_is_relayed_and_understood() {
    let (world, _provider) = anthropic(Reply::json(200, MESSAGE)).await;
    let answer = world.ask(post("/p/v1/messages", STREAM)).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, MESSAGE));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let lines = world.book.lines();
    assert!(
        lines.iter().any(|line| line.starts_with("tokens") && line.contains("out=7")),
        "{lines:?}"
    );
    assert_eq!(lines.last().unwrap(), r#"end "..." ok"#);
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_cancels_it_upstream_at_once() {
    let steps = vec![send(MESSAGE_STREAM[0]), Step::Hang];
    let (world, provider) = anthropic(Reply::stream(steps)).await;
    let mut body = world.send(post("/p/v1/messages", STREAM)).await.into_body();
    assert_eq!(chunk(&mut body).await.unwrap(), MESSAGE_STREAM[0]);
    drop(body);
    provider.cancelled().await;
    let lines = world.book.ended().await;
    let end = lines.last().unwrap();
    assert!(end.starts_with(r#"end "..." client_gone"#), "{end}");
    let tokens = lines.iter().find(|line| line.starts_with("tokens")).expect("a partial count");
    assert!(tokens.contains("partial=true"), "{tokens}");
}

#[tokio::test]
async fn a_client_that_leaves_after_the_last_event_is_no_failure() {
    let mut steps: Vec<_> = MESSAGE_STREAM.iter().map(|frame| send(frame)).collect();
    steps.push(Step::Hang);
    let (world, provider) = anthropic(Reply::stream(steps)).await;
    let mut body = world.send(post("/p/v1/messages", STREAM)).await.into_body();
    let mut read = 0;
    while read < MESSAGE_STREAM.concat().len() {
        read += chunk(&mut body).await.unwrap().len();
    }
    drop(body);
    provider.cancelled().await;
    let lines = world.book.ended().await;
    assert!(
        lines.iter().any(|line| line.starts_with("tokens") && line.contains("out=7")),
        "{lines:?}"
    );
    assert_eq!(lines.last().unwrap(), r#"end "..." ok"#);
}

#[tokio::test]
async fn a_complete_stream_whose_connection_then_breaks_is_no_failure() {
    let mut steps: Vec<_> = MESSAGE_STREAM.iter().map(|frame| send(frame)).collect();
    steps.push(Step::Break);
    let (world, _provider) = anthropic(Reply::stream(steps)).await;
    let answer = world.ask(post("/p/v1/messages", STREAM)).await;
    assert_eq!((answer.body, answer.whole), (MESSAGE_STREAM.concat(), true));
    assert_eq!(world.book.lines().pop().unwrap(), r#"end "..." ok"#);
}

#[tokio::test]
async fn a_stream_that_breaks_inside_its_first_frame_still_gets_an_error_event() {
    let steps = vec![send(&MESSAGE_STREAM[0][..30]), Step::Break];
    let (world, _provider) = anthropic(Reply::stream(steps)).await;
    let answer = world.ask(post("/p/v1/messages", STREAM)).await;
    assert_eq!((answer.status, answer.whole), (200, true));
    assert!(answer.body.starts_with("event: error\ndata: {"), "{answer:?}");
}

#[tokio::test]
async fn an_event_too_long_to_hold_back_is_closed_before_the_error_event() {
    let long = format!("event: content_block_delta\ndata: {}", "x".repeat(2 * 1024 * 1024));
    let steps = vec![send(MESSAGE_STREAM[0]), send(&long), Step::Break];
    let (world, _provider) = anthropic(Reply::stream(steps)).await;
    let answer = world.ask(post("/p/v1/messages", STREAM)).await;
    let (before, error) =
        answer.body.rsplit_once("\n\nevent: error\n").expect("an event of its own");
    assert!(error.ends_with("}\n\n"), "{error:?}");
    let start = before.strip_prefix(MESSAGE_STREAM[0]).unwrap();
    assert!(!start.is_empty() && long.starts_with(start), "what was relayed is the provider's");
}

#[tokio::test]
async fn a_break_after_the_providers_own_error_event_adds_nothing_and_is_no_good_end() {
    let overloaded = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let steps = vec![send(MESSAGE_STREAM[0]), send(overloaded), Step::Break];
    let (world, _provider) = anthropic(Reply::stream(steps)).await;
    let answer = world.ask(post("/p/v1/messages", STREAM)).await;
    assert_eq!(answer.body, [MESSAGE_STREAM[0], overloaded].concat());
    assert!(!answer.whole);
    assert_eq!(world.book.lines().pop().unwrap(), r#"end "..." overloaded Overloaded"#);
}

#[tokio::test]
async fn frames_are_written_out_before_they_are_understood() {
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let steps = vec![send(&MESSAGE_STREAM[..2].concat()), Step::Hang];
    let (world, _provider) = anthropic(Reply::stream(steps)).await;
    let mut body = world.send(post("/p/v1/messages", STREAM)).await.into_body();
    for frame in &MESSAGE_STREAM[..2] {
        assert_eq!(chunk(&mut body).await.unwrap(), frame);
    }
    // The body asks to be polled again at once and does nothing else: the server's turn to write.
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let polled = Pin::new(&mut body).poll_frame(&mut Context::from_waker(&waker));
    assert!(polled.is_pending() && woken.0.load(Ordering::SeqCst));
}

#[tokio::test]
async fn an_answer_without_content_is_recorded_as_what_it_is() {
    for (status, end) in [
        (500, r#"end "..." server_error provider p answered 500"#),
        (200, r#"end "..." server_error provider "p" answered with nothing"#),
    ] {
        let (world, _provider) = anthropic(Reply::json(status, "")).await;
        let mut socket = TcpStream::connect(world.serve().await).await.unwrap();
        let length = BLOCKING.len();
        let asked = format!(
            "POST /p/v1/messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-api-key: {TOKEN}\r\n\
             content-length: {length}\r\n\r\n{BLOCKING}"
        );
        socket.write_all(asked.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(socket.read_to_string(&mut answer)).await.unwrap();
        let got = if status == 200 { 502 } else { status };
        assert!(answer.starts_with(&format!("HTTP/1.1 {got}")), "{answer}");
        assert_eq!(world.book.ended().await.pop().unwrap(), end);
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_cancels_it_too() {
    let mut reply = Reply::json(200, MESSAGE);
    reply.before = vec![Step::Hang];
    let (world, provider) = anthropic(reply).await;
    {
        let answer = world.gateway.handle(post("/p/v1/messages", BLOCKING));
        tokio::select! {
            _ = answer => panic!("there is no answer"),
            () = provider.arrived() => {}
        }
    }
    provider.cancelled().await;
    let end = world.book.ended().await.pop().unwrap();
    assert!(end.starts_with(r#"end "..." client_gone"#), "{end}");
}

#[tokio::test]
async fn a_closed_client_connection_is_noticed_on_the_wire() {
    let steps = vec![send(MESSAGE_STREAM[0]), Step::Hang];
    let (world, provider) = anthropic(Reply::stream(steps)).await;
    let address = world.serve().await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /p/v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {TOKEN}\r\ncontent-length: {}\r\n\r\n{STREAM}",
        STREAM.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("message_start") {
        let mut part = [0; 1024];
        let read = within(socket.read(&mut part)).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&part[..read]);
    }
    drop(socket);
    provider.cancelled().await;
    let end = world.book.ended().await.pop().unwrap();
    assert!(end.contains("client_gone"), "{end}");
}

#[tokio::test]
async fn a_slow_client_slows_the_provider_down() {
    // Far more than all socket buffers on the way can hold.
    const FRAMES: usize = 768;
    let filler = format!(": {}\n\n", "x".repeat(64 * 1024 - 4));
    let mut steps = vec![send(MESSAGE_STREAM[0])];
    steps.extend((0..FRAMES).map(|_| send(&filler)));
    steps.extend(MESSAGE_STREAM[1..].iter().map(|frame| send(frame)));
    let (world, provider) = anthropic(Reply::stream(steps)).await;
    let mut body = world.send(post("/p/v1/messages", STREAM)).await.into_body();
    assert_eq!(chunk(&mut body).await.unwrap(), MESSAGE_STREAM[0]);

    // On this one thread everybody gets a turn per yield: a provider that stands still for so many turns
    // is blocked, and one that is not blocked would go on to the end.
    let (mut sent, mut still) = (provider.sent(), 0);
    while still < 2_000 {
        tokio::task::yield_now().await;
        still = if provider.sent() == sent { still + 1 } else { 0 };
        sent = provider.sent();
    }
    assert!(sent < FRAMES * filler.len() / 2, "{sent} bytes were taken from the provider");

    let mut read = MESSAGE_STREAM[0].len();
    while let Some(bytes) = chunk(&mut body).await {
        read += bytes.len();
    }
    assert_eq!(read, MESSAGE_STREAM.concat().len() + FRAMES * filler.len(), "no frame is lost");
    assert_eq!(world.book.lines().pop().unwrap(), r#"end "..." ok"#);
}

#[tokio::test]
async fn requests_under_way_keep_the_provider_they_began_with() {
    let gate = Arc::new(Semaphore::new(0));
    let mut steps = vec![send(MESSAGE_STREAM[0]), Step::Wait(Arc::clone(&gate))];
    steps.extend(MESSAGE_STREAM[1..].iter().map(|frame| send(frame)));
    let (world, _provider) = anthropic(Reply::stream(steps)).await;
    let mut body = world.send(post("/p/v1/messages", STREAM)).await.into_body();
    assert_eq!(chunk(&mut body).await.unwrap(), MESSAGE_STREAM[0]);
    world.install(&[]);
    gate.add_permits(1);
    let mut rest = String::new();
    while let Some(bytes) = chunk(&mut body).await {
        rest.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    assert_eq!(rest, MESSAGE_STREAM[1..].concat());
    assert_eq!(world.ask(post("/p/v1/messages", STREAM)).await.status, 404);
}

#[tokio::test]
async fn chunks_of_many_tiny_events_pass_untouched() {
    // Comments and blank lines leave together, others one by one; none of them means anything.
    for (tiny, frames_max) in [("\n", 64), (":\n\n", 64), ("data: 1\n\n", usize::MAX)] {
        let many = tiny.repeat(300_000 / tiny.len());
        let mut steps: Vec<_> = MESSAGE_STREAM.iter().map(|frame| send(frame)).collect();
        steps.insert(1, send(&many));
        let (world, _provider) = anthropic(Reply::stream(steps)).await;
        let mut body = world.send(post("/p/v1/messages", STREAM)).await.into_body();
        let (mut seen, mut frames) = (String::new(), 0);
        while let Some(bytes) = chunk(&mut body).await {
            seen.push_str(std::str::from_utf8(&bytes).unwrap());
            frames += 1;
        }
        let want = [MESSAGE_STREAM[0], &many, &MESSAGE_STREAM[1..].concat()].concat();
        assert!(seen == want, "{tiny:?}");
        assert!(frames < frames_max, "{tiny:?} made {frames} frames");
        assert_eq!(world.book.lines().pop().unwrap(), r#"end "..." ok"#, "{tiny:?}");
    }
}
