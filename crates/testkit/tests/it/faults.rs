//! The faults as they look on the wire.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use testkit::provider::{Ending, FakeProvider, Fault, Options};

const MESSAGES: &str = "/v1/messages";
const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";

/// What came over one connection, and how it ended.
struct Wire {
    text: String,
    end: Result<(), ErrorKind>,
}

impl Wire {
    fn status(&self) -> u16 {
        self.text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }
}

fn body(path: &str, stream: bool, model: &str) -> String {
    let rest = match path {
        RESPONSES => r#""input":"Hello there""#,
        _ => r#""messages":[{"role":"user","content":"Hello there"}]"#,
    };
    format!(r#"{{"model":"{model}","max_tokens":9,"stream":{stream},{rest}}}"#)
}

/// Sends a request and reads until the connection ends, or nothing comes for a while.
async fn ask(provider: &FakeProvider, path: &str, key: &str, header: &str, body: String) -> Wire {
    let addr = provider.url().replace("http://", "");
    let version = if path == MESSAGES { "anthropic-version: 2023-06-01\r\n" } else { "" };
    let text = format!(
        "POST {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
         {version}{header}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    tokio::task::spawn_blocking(move || {
        let mut socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        socket.write_all(text.as_bytes()).unwrap();
        let mut raw = Vec::new();
        let end = socket.read_to_end(&mut raw).map(drop).map_err(|error| error.kind());
        Wire { text: String::from_utf8(raw).unwrap(), end }
    })
    .await
    .unwrap()
}

async fn with_header(provider: &FakeProvider, path: &str, stream: bool, fault: &str) -> Wire {
    let header = format!("x-fake-fault: {fault}\r\n");
    ask(provider, path, "k", &header, body(path, stream, "m")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_the_vendors_status_headers_and_words() {
    let provider = FakeProvider::start_default().await.unwrap();
    for (path, fault, status, parts) in [
        (MESSAGES, "rate-limited:3", 429, &["retry-after: 3", "\"type\":\"rate_limit_error\""][..]),
        (CHAT, "rate-limited", 429, &["retry-after: 7", "\"code\":\"rate_limit_exceeded\""]),
        (MESSAGES, "error-once", 500, &["\"type\":\"api_error\""]),
        (MESSAGES, "overloaded", 529, &["\"type\":\"overloaded_error\""]),
        (RESPONSES, "overloaded", 503, &["\"code\":\"server_is_overloaded\""]),
        (MESSAGES, "context-too-long", 400, &["prompt is too long"]),
        (CHAT, "context-too-long", 400, &["\"code\":\"context_length_exceeded\""]),
        (CHAT, "dead-key:k", 401, &["\"code\":\"invalid_api_key\""]),
        (CHAT, "no-such-fault", 400, &["is no fault; known are rate-limited, "]),
    ] {
        let wire = with_header(&provider, path, false, fault).await;
        assert_eq!((wire.status(), wire.end), (status, Ok(())), "{path} {fault}");
        for part in parts {
            assert!(wire.text.contains(part), "{path} {fault}: {part} in {}", wire.text);
        }
    }
    let bare = with_header(&provider, CHAT, false, "rate-limited-bare").await;
    assert!(bare.status() == 429 && !bare.text.contains("retry-after"), "{}", bare.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_break_as_they_are_said_to() {
    let provider = FakeProvider::start_default().await.unwrap();
    for path in [MESSAGES, CHAT, RESPONSES] {
        for stream in [false, true] {
            let about = format!("{path} stream={stream}");
            let reset = with_header(&provider, path, stream, "reset").await;
            assert_eq!(
                (reset.text.as_str(), reset.end),
                ("", Err(ErrorKind::ConnectionReset)),
                "{about}"
            );

            let silent = with_header(&provider, path, stream, "silent").await;
            assert_eq!(
                (silent.text.as_str(), silent.end),
                ("", Err(ErrorKind::WouldBlock)),
                "{about}"
            );

            let cut = with_header(&provider, path, stream, "cut:2").await;
            assert_eq!((cut.status(), cut.end), (200, Ok(())), "{about}");
            assert!(!cut.text.ends_with("0\r\n\r\n") && !cut.text.ends_with('}'), "{about}");

            let stalled = with_header(&provider, path, stream, "stalled:2").await;
            assert_eq!(
                (stalled.status(), stalled.end),
                (200, Err(ErrorKind::WouldBlock)),
                "{about}"
            );
            if stream {
                let frames = |wire: &Wire| wire.text.matches("data: ").count();
                assert_eq!((frames(&cut), frames(&stalled)), (2, 2), "{about}");
            }
        }
    }
    let served = provider
        .eventually(|rows| rows.iter().all(|row| row.ending != Ending::Open))
        .await
        .unwrap();
    assert!(served.iter().all(|row| row.ending == Ending::Cut && row.fault.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn spoilt_answers_are_complete_on_the_wire_and_wrong_in_themselves() {
    let provider = FakeProvider::start_default().await.unwrap();
    for (path, end, refused) in [
        (MESSAGES, "message_stop", "\"stop_reason\":\"refusal\""),
        (CHAT, "\"finish_reason\":\"", "\"finish_reason\":\"content_filter\""),
        (RESPONSES, "response.completed", "\"type\":\"refusal\""),
    ] {
        let unended = with_header(&provider, path, true, "no-terminator").await;
        assert!(unended.text.ends_with("0\r\n\r\n") && !unended.text.contains(end), "{path}");
        let malformed = with_header(&provider, path, true, "malformed").await;
        assert!(malformed.text.ends_with("0\r\n\r\n") && malformed.text.contains(end), "{path}");
        let broken = malformed.text.lines().filter_map(|line| line.strip_prefix("data: "));
        let broken = broken.filter(|data| !data.starts_with('[') && !data.ends_with('}'));
        assert_eq!(broken.count(), 1, "{path}");
        for stream in [false, true] {
            let wire = with_header(&provider, path, stream, "content-refused").await;
            assert!(wire.status() == 200 && wire.text.contains(refused), "{path}: {}", wire.text);
        }
        let half = with_header(&provider, path, false, "malformed").await;
        assert!(half.end.is_ok() && !half.text.ends_with('}'), "{path}");
    }
    let failed = with_header(&provider, RESPONSES, true, "context-too-long").await;
    assert!(failed.text.contains("event: response.failed"), "{}", failed.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_chosen_by_header_or_model_or_for_all() {
    let options = Options { fault: Some(Fault::Overloaded), ..Options::default() };
    let provider = FakeProvider::start(options).await.unwrap();
    for (header, model, status) in [
        ("", "m", 503),
        ("", "m@20240229", 503),
        ("", "m@slow-first-token:0", 200),
        ("x-fake-fault: rate-limited\r\n", "m@slow-first-token:0", 429),
    ] {
        let wire = ask(&provider, CHAT, "k", header, body(CHAT, false, model)).await;
        assert_eq!(wire.status(), status, "{header} {model}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn some_faults_remember() {
    let options = Options { fault: Some(Fault::ErrorOnce), ..Options::default() };
    let provider = FakeProvider::start(options).await.unwrap();
    for (model, status) in [("a", 500), ("b", 500), ("a", 200), ("a", 200), ("b", 200)] {
        let wire = ask(&provider, CHAT, "k", "", body(CHAT, false, model)).await;
        assert_eq!(wire.status(), status, "{model}");
    }
    let provider = FakeProvider::start_default().await.unwrap();
    for status in [503, 503, 200, 200, 503] {
        assert_eq!(with_header(&provider, CHAT, false, "flapping:2").await.status(), status);
    }
    let header = "x-fake-fault: dead-key\r\n";
    for (key, status) in [("k", 401), ("other", 200), ("k", 401)] {
        let wire = ask(&provider, CHAT, key, header, body(CHAT, false, "m")).await;
        assert_eq!(wire.status(), status, "{key}");
    }
}
