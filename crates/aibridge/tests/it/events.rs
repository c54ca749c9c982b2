//! Answers whose pieces are odd: too long, compressed, silent after their head, interrupted by silence.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::apis::{Api, Wording, apis, reply, sends};
use crate::upstream::{Reply, Step, Upstream, send};
use crate::world::{World, chunk, post, row, within};

const SOON: Duration = Duration::from_millis(30);
const UPSTREAM: Wording = Wording("api_error", "server_error", "upstream_error");
const TIMEOUT: Wording = Wording("timeout_error", "server_error", "upstream_timeout");

/// A gateway with short limits.
async fn hasty(api: &Api, reply: Reply) -> (World, Upstream) {
    let world = World::with(|settings| {
        settings.timeouts.keep_alive = SOON;
        settings.timeouts.first_byte = 10 * SOON;
        settings.timeouts.blocking = 10 * SOON;
        settings.timeouts.stream_idle = 10 * SOON;
    });
    let provider = Upstream::always(&world.lifecycle, reply).await;
    world.install(&[row(api.kind, "p", &provider.url(api.base), &["k"])]);
    (world, provider)
}

fn keep_alive(api: &Api) -> &'static str {
    if api.path.ends_with("messages") {
        "event: ping\ndata: {\"type\": \"ping\"}\n\n"
    } else {
        ": keep-alive\n\n"
    }
}

#[tokio::test]
async fn a_provider_that_sends_a_head_and_then_nothing_is_504() {
    for api in apis() {
        for stream in [false, true] {
            let about = format!("{} stream={stream}", api.path);
            let (world, provider) = hasty(&api, reply(stream, vec![Step::Hang])).await;
            let answer = world.ask(post(api.path, &api.request(stream))).await;
            let message = r#"provider "p" did not answer within 0 seconds"#;
            let got = (answer.status, answer.body.as_str());
            assert_eq!(got, (504, &*api.error(TIMEOUT, message)), "{about}");
            provider.cancelled().await;
            let end = format!(r#"end "..." timeout {message}"#);
            assert_eq!(world.book.lines(), api.book_without_answer(&end), "{about}");
        }
    }
}

#[tokio::test]
async fn a_keep_alive_never_comes_inside_an_event() {
    for api in apis() {
        // Cut in the middle of an event, and between the two line ends after it.
        let second = &api.frames[1];
        for at in [second.len() / 2, second.len() - 1] {
            let gate = Arc::new(Semaphore::new(0));
            let (half, rest) = second.split_at(at);
            let mut steps = vec![send(&api.frames[0]), send(half), Step::Wait(Arc::clone(&gate))];
            steps.extend([send(rest), send(&api.frames[2..].concat())]);
            let world = World::with(|settings| settings.timeouts.keep_alive = SOON);
            let provider = Upstream::always(&world.lifecycle, reply(true, steps)).await;
            world.install(&[row(api.kind, "p", &provider.url(api.base), &["k"])]);
            let mut body = world.send(post(api.path, &api.request(true))).await.into_body();
            let mut seen = String::new();
            while seen.matches(keep_alive(&api)).count() < 2 {
                seen.push_str(std::str::from_utf8(&chunk(&mut body).await.unwrap()).unwrap());
            }
            gate.add_permits(1);
            while let Some(bytes) = chunk(&mut body).await {
                seen.push_str(std::str::from_utf8(&bytes).unwrap());
            }
            let (before, after) = seen.split_at(api.frames[0].len());
            let rest = after.trim_start_matches(keep_alive(&api));
            let all = api.frames[1..].concat();
            assert_eq!((before, rest), (&*api.frames[0], &*all), "{} {at}", api.path);
            let want = api.book_of_answer(true, r#"end "..." ok"#);
            assert_eq!(world.book.lines(), want, "{}", api.path);
        }
    }
}

#[tokio::test]
async fn an_event_that_is_passed_on_in_parts_and_then_stalls_gets_no_keep_alive_but_an_end() {
    for api in apis() {
        let long = format!("data: {}", "x".repeat(2 << 20));
        let steps = vec![send(&api.frames[0]), send(&long), Step::Hang];
        let (world, provider) = hasty(&api, reply(true, steps)).await;
        let answer = world.ask(post(api.path, &api.request(true))).await;
        assert_eq!((answer.status, answer.whole), (200, true), "{}", api.path);
        let rest = answer.body.strip_prefix(&*api.frames[0]).unwrap();
        let (part, error) = rest.trim_start_matches(keep_alive(&api)).split_once("\n\n").unwrap();
        assert!(part.len() > 1 << 20 && long.starts_with(part), "{}", api.path);
        assert!(error.contains("the provider stopped sending its answer"), "{error}");
        assert!(!error.contains(keep_alive(&api)), "{error}");
        provider.cancelled().await;
        let end = r#"end "..." timeout the provider stopped sending its answer"#;
        assert_eq!(world.book.lines(), api.book_of_first_event(end), "{}", api.path);
    }
}

#[tokio::test]
async fn an_event_that_is_too_long_to_be_understood_passes_and_the_record_says_so() {
    for api in apis() {
        let long = format!("data: {{\"x\":\"{}\"}}\n\n", "x".repeat(17 << 20));
        let mut steps = sends(&api.frames);
        let parts = long.as_bytes().chunks(256 << 10);
        steps.splice(1..1, parts.map(|part| Step::Send(Bytes::copy_from_slice(part))));
        let (world, _provider) = api.world(reply(true, steps)).await;
        let answer = world.ask(post(api.path, &api.request(true))).await;
        let all = [&*api.frames[0], &long, &api.frames[1..].concat()].concat();
        assert!(answer.whole && answer.body == all, "{}", api.path);
        let mut want = api.book_of_answer(true, r#"end "..." ok"#);
        let tokens = want.iter_mut().find(|line| line.starts_with("tokens")).unwrap();
        tokens.push_str(" events_omitted=1");
        assert_eq!(world.book.lines(), want, "{}", api.path);
        assert_eq!(world.metric("coder_ai_gateway_held_bytes"), 0);
    }
}

#[tokio::test]
async fn what_is_held_back_of_an_event_counts_as_memory() {
    for api in apis() {
        let gate = Arc::new(Semaphore::new(0));
        let part = format!("data: {}", "1".repeat(300_000));
        let mut steps = vec![send(&api.frames[0]), send(&part), Step::Wait(Arc::clone(&gate))];
        steps.push(send("\n\n"));
        steps.extend(sends(&api.frames[1..]));
        let (world, _provider) = api.world(reply(true, steps)).await;
        let mut body = world.send(post(api.path, &api.request(true))).await.into_body();
        assert_eq!(chunk(&mut body).await.unwrap(), api.frames[0]);
        within(async {
            while world.metric("coder_ai_gateway_held_bytes") < 300_000 {
                // Takes in what has come; there is nothing to hand out yet.
                let _ = futures_util::poll!(Box::pin(chunk(&mut body)));
                tokio::task::yield_now().await;
            }
        })
        .await;
        gate.add_permits(1);
        assert_eq!(chunk(&mut body).await.unwrap().len(), part.len() + 2, "{}", api.path);
        while chunk(&mut body).await.is_some() {}
        assert_eq!(world.metric("coder_ai_gateway_held_bytes"), 0, "{}", api.path);
    }
}

#[tokio::test]
async fn an_answer_that_is_compressed_though_nobody_asked_for_it_is_502() {
    for api in apis() {
        for stream in [false, true] {
            for (encoding, good) in [("gzip", false), (" BR", false), ("identity", true)] {
                let about = format!("{} stream={stream} {encoding}", api.path);
                let pieces = if stream { api.frames.clone() } else { vec![api.body.to_owned()] };
                let reply = reply(stream, sends(&pieces)).with("content-encoding", encoding);
                let (world, provider) = api.world(reply).await;
                let answer = world.ask(post(api.path, &api.request(stream))).await;
                assert_eq!(provider.only().header("accept-encoding"), Some("identity"));
                if good {
                    assert_eq!((answer.status, answer.body), (200, pieces.concat()), "{about}");
                    continue;
                }
                let message = r#"provider "p" compressed its answer although it was asked not to, so the answer cannot be recorded"#;
                let got = (answer.status, answer.body.as_str());
                assert_eq!(got, (502, &*api.error(UPSTREAM, message)), "{about}");
                let end = format!(r#"end "..." server_error {message}"#);
                assert_eq!(world.book.lines(), api.book_without_answer(&end), "{about}");
            }
            // Of a failure nothing but the status is recorded, so its text may be what it likes.
            let reply = Reply::json(500, "zip").with("content-encoding", "gzip");
            let (world, _provider) = api.world(reply).await;
            let answer = world.ask(post(api.path, &api.request(stream))).await;
            assert_eq!((answer.status, answer.body.as_str()), (500, "zip"));
            assert_eq!(answer.header("content-encoding"), Some("gzip"));
        }
    }
}

#[tokio::test]
async fn an_answer_too_long_to_be_copied_passes_and_is_no_success_in_the_record() {
    let [api, ..] = apis();
    let mib = " ".repeat(1 << 20);
    let mut steps = vec![send(api.body)];
    steps.extend((0..65).map(|_| send(&mib)));
    let (world, _provider) = api.world(reply(false, steps)).await;
    let mut body = world.send(post(api.path, &api.request(false))).await.into_body();
    let mut read = 0;
    while let Some(bytes) = chunk(&mut body).await {
        read += bytes.len();
    }
    assert_eq!(read, api.body.len() + (65 << 20));
    let end = r#"end "..." unknown the answer is longer than 64 MiB: it was passed on, its usage is not known"#;
    assert_eq!(world.book.lines(), api.book_without_answer(end));
    assert_eq!(world.metric("coder_ai_gateway_held_bytes"), 0);
}

#[tokio::test]
async fn a_provider_that_goes_on_after_its_last_event_is_left_soon() {
    for api in apis() {
        let mut steps = sends(&api.frames);
        steps.push(Step::Repeat(Bytes::from_static(b": more\n\n")));
        let (world, provider) = api.world(reply(true, steps)).await;
        let mut body = world.send(post(api.path, &api.request(true))).await.into_body();
        let mut seen = String::new();
        while let Some(bytes) = chunk(&mut body).await {
            let room = api.frames.concat().len().saturating_sub(seen.len()).min(bytes.len());
            seen.push_str(std::str::from_utf8(&bytes[..room]).unwrap());
        }
        assert_eq!(seen, api.frames.concat());
        drop(body);
        provider.cancelled().await;
        let want = api.book_of_answer(true, r#"end "..." ok"#);
        assert_eq!(world.book.lines(), want, "{}", api.path);
    }
}
