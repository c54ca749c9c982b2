//! Bad requests, in every wire API: the whole answer, that nothing was sent and that nothing was recorded.

use aibridge::ProviderKind::Anthropic;
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::apis::{Api, Wording, apis};
use crate::ports::TOKEN;
use crate::upstream::Reply;
use crate::world::{World, request, row, with, within};

const JSON: &str = "application/json";

/// A request that is refused, and how.
struct Case {
    /// Headers besides a good token; with them, no good token.
    headers: &'static [(&'static str, &'static str)],
    method: &'static str,
    /// Instead of the good body.
    body: Option<String>,
    status: u16,
    wording: Wording,
    message: String,
}

const GOOD: &[(&str, &str)] = &[("x-api-key", TOKEN)];
const INVALID: Wording =
    Wording("invalid_request_error", "invalid_request_error", "invalid_request");

fn credentials() -> Vec<Case> {
    const MISSING: Wording =
        Wording("authentication_error", "invalid_request_error", "missing_api_key");
    const REFUSED: Wording = Wording("permission_error", "invalid_request_error", "unauthorized");
    const CLASH: Wording =
        Wording("invalid_request_error", "invalid_request_error", "ambiguous_credentials");
    const UNKNOWN: Wording = Wording("api_error", "server_error", "service_unavailable");
    let rows: [(&'static [(&str, &str)], u16, Wording, &str); 8] = [
        (&[], 400, MISSING, "no authentication key provided"),
        (&[("x-api-key", " ")], 400, MISSING, "no authentication key provided"),
        (&[("authorization", "Basic YTpi")], 400, MISSING, "no authentication key provided"),
        (&[("authorization", "Bearer wrong")], 403, REFUSED, "unauthorized"),
        (&[("x-api-key", "expired")], 403, REFUSED, "unauthorized"),
        (&[("coder-session-token", "narrow")], 403, REFUSED, "unauthorized"),
        (
            &[("authorization", "Bearer one"), ("x-api-key", "two")],
            400,
            CLASH,
            "two different Coder credentials in one request (Authorization, X-Api-Key); send only one, or \
             put the Coder token into X-Coder-AI-Governance-Token and your provider key into the other",
        ),
        (
            &[("x-api-key", "undecidable")],
            503,
            UNKNOWN,
            "the gateway cannot check credentials at the moment; try again shortly",
        ),
    ];
    rows.into_iter()
        .map(|(headers, status, wording, message)| Case {
            headers,
            method: "POST",
            body: None,
            status,
            wording,
            message: message.to_owned(),
        })
        .collect()
}

fn bodies() -> Vec<Case> {
    const LARGE: Wording =
        Wording("request_too_large", "invalid_request_error", "request_too_large");
    let not_json =
        |why: &str| format!("the request body is not valid JSON: {why}; send a JSON object");
    let empty = "the request body is empty; send a JSON object with `model`";
    let no_object = "the request body is not a JSON object; send one with `model`";
    let rows = [
        (String::new(), 400, INVALID, empty.to_owned()),
        (" \r\n\t".to_owned(), 400, INVALID, empty.to_owned()),
        ("{".to_owned(), 400, INVALID, not_json("EOF while parsing an object at line 1 column 1")),
        ("hello".to_owned(), 400, INVALID, not_json("expected value at line 1 column 1")),
        ("{}{}".to_owned(), 400, INVALID, not_json("trailing characters at line 1 column 3")),
        ("[]".to_owned(), 400, INVALID, no_object.to_owned()),
        ("null".to_owned(), 400, INVALID, no_object.to_owned()),
        (
            r#"{"model":7}"#.to_owned(),
            400,
            INVALID,
            "`model` is not a string; send the model's name as a JSON string".to_owned(),
        ),
        (
            r#"{"model":"m","stream":"yes"}"#.to_owned(),
            400,
            INVALID,
            "`stream` is not a boolean; send `true` or `false`".to_owned(),
        ),
        (
            " ".repeat(33 << 20),
            413,
            LARGE,
            "Request body too large. The maximum allowed request body size is 32MiB.".to_owned(),
        ),
    ];
    rows.into_iter()
        .map(|(body, status, wording, message)| Case {
            headers: GOOD,
            method: "POST",
            body: Some(body),
            status,
            wording,
            message,
        })
        .collect()
}

fn route(api: &Api) -> Case {
    Case {
        headers: GOOD,
        method: "DELETE",
        body: None,
        status: 404,
        wording: Wording("not_found_error", "invalid_request_error", "route_not_supported"),
        message: format!("route not supported: DELETE {}", api.path),
    }
}

#[tokio::test]
async fn every_bad_request_is_refused_in_the_words_of_its_api_and_leaves_no_trace() {
    for api in apis() {
        let (world, provider) = api.world(Reply::json(200, api.body)).await;
        for case in credentials().into_iter().chain(bodies()).chain([route(&api)]) {
            for stream in [false, true] {
                let body = case.body.clone().unwrap_or_else(|| api.request(stream));
                let about = format!("{} {:?} {:.40}", api.path, case.headers, body);
                let answer = world.ask(request(case.method, api.path, case.headers, &body)).await;
                let got = (answer.status, answer.header("content-type"), answer.body.as_str());
                let want = api.error(case.wording, &case.message);
                assert_eq!(got, (case.status, Some(JSON), want.as_str()), "{about}");
                assert_eq!(answer.header("x-coder-interception-id"), None, "{about}");
                let pause = answer.retry_after();
                assert_eq!(pause.is_some(), case.status == 503, "{about}");
                assert!(pause.is_none_or(|pause| (1..=3).contains(&pause)), "{about}");
                assert_eq!(answer.header("x-coder-error-code"), Some(case.wording.2), "{about}");
            }
        }
        assert!(provider.seen().is_empty(), "{}", api.path);
        assert_eq!(world.book.facts(), [], "{}", api.path);
    }
}

#[tokio::test]
async fn an_unknown_provider_is_answered_in_plain_text() {
    for api in apis() {
        let (world, provider) = api.world(Reply::json(200, api.body)).await;
        let path = api.path.replacen("/p/", "/nobody/", 1);
        let answer = world.ask(with(&path, GOOD, &api.request(true))).await;
        let got = (answer.status, answer.header("content-type"), answer.body.as_str());
        let want = format!("route not supported: POST {path}");
        assert_eq!(got, (404, Some("text/plain; charset=utf-8"), want.as_str()));
        assert!(provider.seen().is_empty() && world.book.facts().is_empty());
    }
}

#[tokio::test]
async fn a_passthrough_client_may_finish_sending_33_mib_before_it_reads_its_413() {
    let world = World::new();
    world.install(&[row(Anthropic, "p", "http://127.0.0.1:1", &["k"])]);
    let mut socket = TcpStream::connect(world.serve().await).await.unwrap();
    let size = 33 << 20;
    let head = format!(
        "POST /p/v1/messages/count_tokens HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         x-api-key: {TOKEN}\r\ncontent-length: {size}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    within(socket.write_all(&vec![b' '; size])).await.unwrap();
    let mut answer = String::new();
    within(socket.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let want = r#"{"error":{"message":"Request body too large. The maximum allowed request body size is 32MiB.","type":"request_too_large"},"type":"error"}"#;
    assert!(answer.ends_with(want), "{answer}");
}

#[tokio::test]
async fn a_request_body_that_breaks_off_is_400_and_leaves_no_trace() {
    use http_body_util::{BodyExt as _, StreamBody};
    for api in apis() {
        let (world, provider) = api.world(Reply::json(200, api.body)).await;
        let half = bytes::Bytes::from(api.request(true).split_off(20));
        let parts = [Ok(http_body::Frame::data(half)), Err(std::io::Error::other("gone"))];
        let body = StreamBody::new(futures_util::stream::iter(parts)).boxed_unsync();
        let request = Request::post(api.path).header("x-api-key", TOKEN).body(body).unwrap();
        let answer =
            within(async { crate::world::read(world.gateway.handle(request).await).await });
        let answer = answer.await;
        let want = api.error(INVALID, "the request body broke off");
        assert_eq!((answer.status, answer.body), (400, want));
        assert!(provider.seen().is_empty() && world.book.facts().is_empty());
    }
}
