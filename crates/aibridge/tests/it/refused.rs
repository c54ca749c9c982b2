//! Bad requests, in every wire API: the whole answer, that nothing was sent and that nothing was recorded.

use aibridge::ProviderKind::Anthropic;
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::apis::{Api, Wording, apis};
use crate::ports::TOKEN;
use crate::upstream::Reply;
use crate::world::{World, post, request, row, with, within};

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

#[tokio::test]
async fn bodies_that_readers_could_take_for_different_things_are_refused() {
    const ENCODED: Wording =
        Wording("invalid_request_error", "invalid_request_error", "unsupported_content_encoding");
    let not_utf8 =
        "the request body is not valid JSON: invalid UTF-8 at line 1 column 14; send a JSON object";
    let twice = |key: &str| format!("`{key}` is in the request more than once; send it once");
    let deep = "[".repeat(1 << 20);
    let endless = format!("{{\"model\":\"m\",\"x\":{deep}");
    let column = endless.len();
    let cut = format!(
        "the request body is not valid JSON: EOF while parsing a list at line 1 column {column}; send a JSON \
         object"
    );
    let packed = "Content-Encoding is not supported for requests; send the body uncompressed";
    for api in apis() {
        let (world, provider) = api.world(Reply::json(200, api.body)).await;
        let whole = api.request(true);
        let with = |more: &str| whole.replacen('{', &format!("{{{more},"), 1).into_bytes();
        for (body, encoding, status, wording, message) in [
            (b"{\"model\":\"m\",\xff}".to_vec(), None, 400, INVALID, not_utf8.to_owned()),
            (with(r#""model":"other""#), None, 400, INVALID, twice("model")),
            (with(r#""mode\u006c":null"#), None, 400, INVALID, twice("model")),
            (with(r#""stream":false"#), None, 400, INVALID, twice("stream")),
            (endless.clone().into_bytes(), None, 400, INVALID, cut.clone()),
            (whole.clone().into_bytes(), Some("gzip"), 415, ENCODED, packed.to_owned()),
            (b"\x1f\x8b\x08".to_vec(), Some("identity, gzip"), 415, ENCODED, packed.to_owned()),
        ] {
            let about = format!("{} {message}", api.path);
            let mut request = Request::post(api.path).header("x-api-key", TOKEN);
            if let Some(encoding) = encoding {
                request = request.header("content-encoding", encoding);
            }
            let request = request.body(http_body_util::Full::new(body.into())).unwrap();
            let answer = world.ask(request).await;
            let got = (answer.status, answer.header("content-type"), answer.body.as_str());
            assert_eq!(got, (status, Some(JSON), &*api.error(wording, &message)), "{about}");
            assert_eq!(answer.header("x-coder-error-code"), Some(wording.2), "{about}");
        }
        assert!(provider.seen().is_empty() && world.book.facts().is_empty(), "{}", api.path);
        assert_eq!(world.metric("coder_ai_gateway_held_bytes"), 0);

        // Depth alone is the provider's business, and costs nothing here.
        let deep = format!("\"x\":{deep}{}", "]".repeat(1 << 20));
        let answer = world.ask(post(api.path, std::str::from_utf8(&with(&deep)).unwrap())).await;
        assert_eq!((answer.status, provider.seen().len()), (200, 1), "{}", api.path);
    }
}

#[tokio::test]
async fn a_request_without_a_model_is_recorded_as_such_and_judged_by_the_provider() {
    for api in apis() {
        let (world, provider) = api.world(Reply::json(400, "{}")).await;
        let body = api.request(false).replacen(r#""model":"m","#, "", 1);
        assert_eq!(world.ask(post(api.path, &body)).await.status, 400, "{}", api.path);
        assert!(provider.only().body == body);
        let lines = world.book.lines();
        assert!(lines[0].contains(" p coder-aibridge-unknown "), "{lines:?}");
        assert_eq!(lines.last().unwrap(), r#"end "..." bad_request provider p answered 400"#);
    }
}
