//! Providers that fail, in every wire API, blocking and streaming: the whole answer and the whole record.

use bytes::Bytes;
use tokio::net::TcpListener;

use crate::apis::{Api, Wording, apis, reply, sends};
use crate::upstream::{Reply, Step, send};
use crate::world::{Answer, post};

const UPSTREAM: Wording = Wording("api_error", "server_error", "upstream_error");

/// Runs `test` for every API, blocking and streaming.
macro_rules! each {
    (|$api:ident, $stream:ident| $test:block) => {
        for $api in apis() {
            for $stream in [false, true] $test
        }
    };
}

/// A refusal in the API's own shape, with nothing of the answer understood.
fn assert_failed(api: &Api, answer: &Answer, book: &[String], message: &str, about: &str) {
    let got = (answer.status, answer.header("content-type"), answer.body.as_str());
    let want = api.error(UPSTREAM, message);
    assert_eq!(got, (502, Some("application/json"), want.as_str()), "{about}");
    assert!(answer.whole && answer.headers.contains_key("x-coder-interception-id"), "{about}");
    let end = format!(r#"end "..." server_error {message}"#);
    assert_eq!(book, api.book_without_answer(&end), "{about}");
}

#[tokio::test]
async fn a_provider_that_nobody_serves_is_502() {
    // Bound and dropped: nobody listens there.
    let nobody = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    each!(|api, stream| {
        let world = api.world_at(&format!("http://{nobody}"));
        let answer = world.ask(post(api.path, &api.request(stream))).await;
        let about = format!("{} stream={stream}", api.path);
        let message = r#"provider "p" cannot be reached"#;
        assert_failed(&api, &answer, &world.book.lines(), message, &about);
    });
}

#[tokio::test]
async fn a_provider_that_breaks_before_its_first_byte_is_502() {
    let breaks_before_the_head =
        |stream| Reply { before: vec![Step::Break], ..reply(stream, vec![]) };
    each!(|api, stream| {
        for (reply, message) in [
            (breaks_before_the_head(stream), r#"provider "p" cannot be reached"#),
            (reply(stream, vec![Step::Break]), r#"provider "p" broke off before it answered"#),
        ] {
            let (world, _provider) = api.world(reply).await;
            let answer = world.ask(post(api.path, &api.request(stream))).await;
            let about = format!("{} stream={stream}", api.path);
            assert_failed(&api, &answer, &world.book.lines(), message, &about);
        }
    });
}

#[tokio::test]
async fn an_answer_of_nothing_is_no_answer() {
    for api in apis() {
        let (world, _provider) = api.world(reply(true, vec![])).await;
        let answer = world.ask(post(api.path, &api.request(true))).await;
        let message = r#"provider "p" closed the stream before its first event"#;
        assert_failed(&api, &answer, &world.book.lines(), message, api.path);

        let empty = Reply { sized: true, ..Reply::json(200, "") };
        for nothing in [reply(false, vec![]), empty] {
            let (world, _provider) = api.world(nothing).await;
            let answer = world.ask(post(api.path, &api.request(false))).await;
            let message = r#"provider "p" answered with nothing"#;
            assert_failed(&api, &answer, &world.book.lines(), message, api.path);
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_no_answer_of_the_api_is_502_as_long_as_that_can_be_told() {
    let message = "the provider's answer is not a JSON object of this API";
    for api in apis() {
        for nonsense in ["{\"id\":\"x\",", "[]", "null", "hello", "{}{}", " "] {
            let about = format!("{} {nonsense:?}", api.path);
            let (world, _provider) = api.world(Reply::json(200, nonsense)).await;
            let answer = world.ask(post(api.path, &api.request(false))).await;
            assert_failed(&api, &answer, &world.book.lines(), message, &about);

            // Without a length the head is out before the end is known.
            let (world, _provider) = api.world(reply(false, vec![send(nonsense)])).await;
            let answer = world.ask(post(api.path, &api.request(false))).await;
            assert_eq!((answer.status, answer.whole, &*answer.body), (200, false, ""), "{about}");
            let end = format!(r#"end "..." server_error {message}"#);
            assert_eq!(world.book.lines(), api.book_without_answer(&end), "{about}");
        }
        // A failure in the provider's words is not ours to replace.
        let theirs = r#"{"type":"error","error":{"type":"overloaded_error","message":"no"}}"#;
        let (world, _provider) = api.world(Reply::json(200, theirs)).await;
        let answer = world.ask(post(api.path, &api.request(false))).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, theirs), "{}", api.path);
        assert_eq!(world.book.lines().pop().unwrap(), r#"end "..." overloaded no"#);
    }
}

#[tokio::test]
async fn a_web_page_is_no_answer_whatever_was_asked_for() {
    each!(|api, stream| {
        let page = Reply {
            headers: vec![("content-type", "Text/HTML; charset=utf-8".to_owned())],
            ..Reply::json(200, "<html>Sign in</html>")
        };
        let (world, _provider) = api.world(page).await;
        let answer = world.ask(post(api.path, &api.request(stream))).await;
        let about = format!("{} stream={stream}", api.path);
        let message =
            r#"provider "p" answered with a web page; its base_url needs to be corrected"#;
        assert_failed(&api, &answer, &world.book.lines(), message, &about);
    });
}

#[tokio::test]
async fn half_a_frame_is_withheld_and_the_stream_ends_in_the_apis_own_error() {
    for api in apis() {
        let half = &api.frames[1][..api.frames[1].len() / 2];
        for (last, message) in [
            (Some(Step::Break), "the provider broke off before its answer was complete"),
            (None, "the provider ended before its answer was complete"),
        ] {
            let mut steps = vec![send(&api.frames[0]), send(half)];
            steps.extend(last);
            let (world, _provider) = api.world(reply(true, steps)).await;
            let answer = world.ask(post(api.path, &api.request(true))).await;
            let got = (answer.status, answer.header("content-type"), answer.whole);
            assert_eq!(got, (200, Some("text/event-stream"), true), "{}", api.path);
            assert_eq!(answer.body, api.frames[0].clone() + &api.trailer(message));
            let end = format!(r#"end "..." server_error {message}"#);
            assert_eq!(world.book.lines(), api.book_of_first_event(&end), "{}", api.path);
        }
    }
}

#[tokio::test]
async fn half_a_blocking_answer_is_cut_and_recorded_as_nonsense() {
    for api in apis() {
        let half = &api.body[..api.body.len() / 2];
        for (last, message) in [
            (Some(Step::Break), "provider p broke off its answer"),
            (None, "the provider's answer is not a JSON object of this API"),
        ] {
            let mut steps = vec![send(half)];
            steps.extend(last);
            let (world, _provider) = api.world(reply(false, steps)).await;
            let answer = world.ask(post(api.path, &api.request(false))).await;
            let got = (answer.status, answer.header("content-type"), answer.whole);
            assert_eq!(got, (200, Some("application/json"), false), "{}", api.path);
            // The last piece is only released when all is well with it.
            assert_eq!(answer.body, "", "{}", api.path);
            let end = format!(r#"end "..." server_error {message}"#);
            assert_eq!(world.book.lines(), api.book_without_answer(&end), "{}", api.path);
        }
    }
}

/// The good answer in pieces, the first text of the model replaced.
fn with_text(api: &Api, stream: bool, text: &[u8]) -> Vec<Bytes> {
    let pieces = if stream { api.frames.clone() } else { vec![api.body.to_owned()] };
    let mut replaced = false;
    let pieces = pieces.into_iter().map(|piece| match piece.split_once("Hel") {
        Some((before, after)) if !replaced => {
            replaced = true;
            [before.as_bytes(), text, after.as_bytes()].concat().into()
        }
        _ => Bytes::from(piece),
    });
    pieces.collect()
}

#[tokio::test]
async fn invalid_utf8_and_lines_of_10_mb_pass_untouched_and_are_recorded() {
    let long = vec![b'x'; 10 << 20];
    each!(|api, stream| {
        for text in [&b"\xff\xfe\x80"[..], &long] {
            let pieces = with_text(&api, stream, text);
            let chunks = pieces.iter().flat_map(|piece| piece.chunks(256 << 10));
            let steps = chunks.map(|chunk| Step::Send(Bytes::copy_from_slice(chunk))).collect();
            let (world, _provider) = api.world(reply(stream, steps)).await;
            let answer = world.ask(post(api.path, &api.request(stream))).await;
            let about = format!("{} stream={stream} {} bytes", api.path, text.len());
            assert!(answer.status == 200 && answer.whole, "{about}");
            assert!(answer.bytes == pieces.concat(), "{about}");
            let want = api.book_of_answer(stream, r#"end "..." ok"#);
            assert_eq!(world.book.lines(), want, "{about}");
        }
    });
}

#[tokio::test]
async fn events_that_are_not_json_pass_and_a_stream_of_them_alone_is_no_answer() {
    for api in apis() {
        let nonsense = "data: {oops\n\n";
        let mut steps = sends(&api.frames);
        steps.insert(1, send(nonsense));
        let (world, _provider) = api.world(reply(true, steps)).await;
        let answer = world.ask(post(api.path, &api.request(true))).await;
        assert_eq!(answer.body, [&api.frames[0], nonsense, &api.frames[1..].concat()].concat());
        // No client that understands the events gets over it, so it is no success.
        let end = r#"end "..." server_error the provider sent an event that is not JSON"#;
        let mut want = api.book_of_answer(true, end);
        let tokens = want.iter_mut().find(|line| line.starts_with("tokens")).unwrap();
        tokens.push_str(" partial=true");
        assert_eq!(world.book.lines(), want, "{}", api.path);

        let (world, _provider) = api.world(reply(true, vec![send(nonsense)])).await;
        let answer = world.ask(post(api.path, &api.request(true))).await;
        let message =
            "the provider sent an event that is not JSON and ended before its answer was complete";
        let trailer =
            api.trailer(message).replace("\"sequence_number\":1", "\"sequence_number\":0");
        assert_eq!(answer.body, [nonsense, &trailer].concat());
        let end = format!(r#"end "..." server_error {message}"#);
        assert_eq!(world.book.lines(), api.book_without_answer(&end), "{}", api.path);
    }
}

#[tokio::test]
async fn what_passes_through_and_breaks_is_cut_too() {
    for api in apis() {
        let path = "/p/v1/models";
        for (steps, status, body) in
            [(vec![send("half"), Step::Break], 200, "half"), (vec![Step::Break], 200, "")]
        {
            let (world, _provider) = api.world(reply(false, steps)).await;
            let answer = world.ask(post(path, "")).await;
            let got = (answer.status, answer.body.as_str(), answer.whole);
            assert_eq!(got, (status, body, false), "{}", api.path);
        }
        let breaks = Reply { before: vec![Step::Break], ..reply(false, vec![]) };
        let (world, provider) = api.world(breaks).await;
        let answer = world.ask(post(path, "")).await;
        assert_eq!((answer.status, provider.seen().len()), (502, 1), "{}", api.path);
        assert!(answer.body.contains("upstream proxy error"), "{}", answer.body);
        assert!(world.book.facts().is_empty(), "only counted");
    }
}
