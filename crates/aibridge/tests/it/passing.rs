//! Headers in both directions, and the routes that are relayed unread.

use std::net::IpAddr;
use std::sync::Arc;

use aibridge::Peer;
use aibridge::ProviderKind::{Anthropic, OpenAi};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::broken::{BLOCKING, STREAM};
use crate::happy::MESSAGE;
use crate::ports::TOKEN;
use crate::upstream::{Reply, Step, Upstream, send};
use crate::world::{World, chunk, post, request, row, with, within};

#[tokio::test]
async fn upstream_sees_the_clients_own_headers_and_nothing_of_ours() {
    let world = World::new();
    let provider = Upstream::always(&world.lifecycle, Reply::json(200, MESSAGE)).await;
    world.install(&[row(Anthropic, "p", &provider.url(""), &["sk-central"])]);
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("coder-session-token", TOKEN),
        ("cookie", "coder_session_token=abc"),
        ("x-forwarded-for", "10.0.0.9"),
        ("x-coder-ai-governance-request-id", "r"),
        ("x-ai-bridge-actor-id", "somebody else"),
        ("accept-encoding", "gzip, br"),
        ("connection", "x-private"),
        ("x-private", "1"),
        ("user-agent", "claude-cli/1.0"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "a,b"),
        ("x-claude-code-session-id", "session-7"),
    ];
    let answer = world.ask(with("/p/v1/messages?beta=true", &headers, BLOCKING)).await;
    assert_eq!(answer.status, 200);
    let seen = provider.only();
    assert_eq!(seen.target, "/v1/messages?beta=true");
    let mut got: Vec<_> =
        seen.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    got.sort_unstable();
    let (host, length) = (provider.address.to_string(), BLOCKING.len().to_string());
    assert_eq!(
        got,
        [
            ("accept-encoding", "identity"),
            ("anthropic-beta", "a,b"),
            ("anthropic-version", "2023-06-01"),
            ("content-length", &length),
            ("host", &host),
            ("user-agent", "claude-cli/1.0"),
            ("x-api-key", "sk-central"),
            ("x-claude-code-session-id", "session-7"),
        ]
    );
    let start = world.book.lines().remove(0);
    assert_eq!(
        start,
        r#"start anthropic p m "Claude Code" centralized "" session=Some("session-7") result-of=None request_user_agent="claude-cli/1.0""#
    );
}

#[tokio::test]
async fn actor_headers_are_sent_when_switched_on() {
    let world = World::with(|settings| settings.send_actor_headers = true);
    let provider = Upstream::always(&world.lifecycle, Reply::json(200, MESSAGE)).await;
    world.install(&[row(Anthropic, "p", &provider.url(""), &["k"])]);
    world.ask(post("/p/v1/messages", BLOCKING)).await;
    let seen = provider.only();
    assert_eq!(seen.header("x-ai-bridge-actor-metadata-username"), Some("alice"));
    assert_eq!(seen.header("x-ai-bridge-actor-id"), Some("00000000-0000-0000-0000-0000000a11ce"));
}

#[tokio::test]
async fn passthrough_relays_method_query_body_and_answer() {
    let world = World::new();
    let reply =
        Reply::json(418, r#"{"data":[]}"#).with("x-anything", "1").with("set-cookie", "a=b");
    let provider = Upstream::always(&world.lifecycle, reply).await;
    world.install(&[row(OpenAi, "p", &provider.url("/v1"), &["k"])]);
    let headers = [
        ("x-api-key", TOKEN),
        ("cookie", "a=b"),
        ("host", "gw.example"),
        ("x-forwarded-for", "1.1.1.1"),
    ];
    let mut asked = request("DELETE", "/p/v1/responses/r_1?limit=2", &headers, "{}");
    let ip: IpAddr = "2.2.2.2".parse().unwrap();
    asked.extensions_mut().insert(Peer { ip, tls: true });
    let answer = world.ask(asked).await;
    assert_eq!((answer.status, answer.body.as_str()), (418, r#"{"data":[]}"#));
    assert_eq!(answer.header("x-anything"), Some("1"));
    assert_eq!(answer.header("set-cookie"), None);
    let seen = provider.only();
    assert_eq!(seen.target, "/v1/responses/r_1?limit=2");
    assert_eq!(seen.body, "{}");
    for (name, want) in [
        ("authorization", Some("Bearer k")),
        ("x-api-key", None),
        ("cookie", None),
        ("x-forwarded-for", Some("1.1.1.1, 2.2.2.2")),
        ("x-forwarded-host", Some("gw.example")),
        ("x-forwarded-proto", Some("https")),
        ("user-agent", Some("aibridge")),
    ] {
        assert_eq!(seen.header(name), want, "{name}");
    }
    assert!(world.book.facts().is_empty(), "passthrough is counted, not recorded");
    let sample =
        r#"coder_ai_gateway_passthrough_total{provider="p",route="/responses/*",method="DELETE"}"#;
    assert_eq!(world.metric(sample), 1);
}

#[tokio::test]
async fn passthrough_streams_and_cancels() {
    let world = World::new();
    let gate = Arc::new(Semaphore::new(0));
    let steps = vec![send("one"), Step::Wait(Arc::clone(&gate)), send("two"), Step::Hang];
    let provider = Upstream::always(&world.lifecycle, Reply::stream(steps)).await;
    world.install(&[row(OpenAi, "p", &provider.url("/v1"), &["k"])]);
    let mut body = world.send(post("/p/v1/responses/r_1/cancel", "")).await.into_body();
    assert_eq!(chunk(&mut body).await, Some(Bytes::from_static(b"one")));
    gate.add_permits(1);
    assert_eq!(chunk(&mut body).await, Some(Bytes::from_static(b"two")));
    drop(body);
    provider.cancelled().await;
}

#[tokio::test]
async fn a_local_gateway_shares_everything_but_connections() {
    let world = World::new();
    let provider = Upstream::always(&world.lifecycle, Reply::json(200, "{}")).await;
    let local = world.gateway.local();
    // Installed on one, after the other was made from it.
    world.install(&[row(Anthropic, "p", &provider.url(""), &["k"])]);
    let models = || crate::world::request("GET", "/p/v1/models", &[("x-api-key", TOKEN)], "");
    for gateway in [&world.gateway, &local, &world.gateway, &local] {
        let answer = crate::world::read(gateway.handle(models()).await).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    }
    let [a, b, c, d]: [_; 4] =
        provider.seen().iter().map(|seen| seen.peer).collect::<Vec<_>>().try_into().unwrap();
    assert!(a == c && b == d && a != b, "a connection each, kept: {:?}", [a, b, c, d]);
    let counted =
        r#"coder_ai_gateway_passthrough_total{provider="p",route="/v1/models",method="GET"}"#;
    assert_eq!(world.metric(counted), 4, "they count together");
}

#[tokio::test]
async fn passthrough_of_an_unreachable_provider_is_502_in_known_words() {
    let world = World::new();
    world.install(&[row(Anthropic, "p", "http://127.0.0.1:1", &["k"])]);
    let answer = world.ask(post("/p/v1/models", "")).await;
    let want = r#"{"error":{"message":"upstream proxy error","type":"api_error"},"type":"error"}"#;
    assert_eq!((answer.status, answer.body.as_str()), (502, want));
}

#[tokio::test]
async fn a_passthrough_body_of_33_mib_is_413_also_when_its_length_is_not_declared() {
    let world = World::new();
    let provider = Upstream::always(&world.lifecycle, Reply::json(200, "{}")).await;
    world.install(&[row(Anthropic, "p", &provider.url(""), &["k"])]);
    let mut socket = TcpStream::connect(world.serve().await).await.unwrap();
    let size = 33 * 1024 * 1024;
    let head = format!(
        "POST /p/v1/messages/count_tokens HTTP/1.1\r\nhost: x\r\nx-api-key: {TOKEN}\r\n\
         transfer-encoding: chunked\r\n\r\n{size:x}\r\n"
    );
    let body = vec![b' '; size];
    let (mut from, mut to) = socket.split();
    let mut answer = vec![0; 4096];
    let write = async {
        // The answer comes while we are still sending; then the connection closes.
        if to.write_all(head.as_bytes()).await.is_ok() {
            let _ = to.write_all(&body).await;
        }
        std::future::pending::<()>().await;
    };
    let read = tokio::select! {
        () = write => unreachable!(),
        read = within(from.read(&mut answer)) => read.unwrap(),
    };
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("request_too_large"), "{answer}");
}

#[tokio::test]
async fn keys_and_tokens_reach_neither_clients_nor_metrics() {
    let world = World::new();
    let provider = Upstream::always(&world.lifecycle, Reply::json(401, "{}")).await;
    let key = "sk-planted-key-0123456789abcdef";
    world.install(&[row(Anthropic, "p", &provider.url(""), &[key])]);
    let answer = world.ask(post("/p/v1/messages", STREAM)).await;
    assert_eq!(provider.only().header("x-api-key"), Some(key));
    let everything = format!("{answer:?} {:?} {:?}", world.book.facts(), world.gateway);
    assert!(!everything.contains("planted") && !everything.contains(TOKEN), "{everything}");
}
