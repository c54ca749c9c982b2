//! What the gateway itself refuses: the exact answer, and that nothing was sent or recorded.

use aibridge::ProviderKind::{Anthropic, Bedrock, Copilot, OpenAi};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::ports::TOKEN;
use crate::upstream::{Reply, Upstream};
use crate::world::{World, post, request, row, with, within};

const OK: &str = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#;

async fn world() -> (World, Upstream) {
    let world = World::new();
    let provider = Upstream::always(&world.lifecycle, Reply::json(200, "{}")).await;
    let mut off = row(OpenAi, "off", &provider.url(""), &["k"]);
    off.enabled = false;
    world.install(&[
        row(Anthropic, "claude", &provider.url(""), &["k"]),
        row(OpenAi, "gpt", &provider.url("/v1"), &["k"]),
        row(OpenAi, "keyless", &provider.url("/v1"), &[]),
        row(Copilot, "copilot", &provider.url(""), &[]),
        off,
    ]);
    (world, provider)
}

fn anthropic(kind: &str, message: &str) -> String {
    format!(r#"{{"error":{{"message":"{message}","type":"{kind}"}},"type":"error"}}"#)
}

fn openai(kind: &str, code: &str, message: &str) -> String {
    format!(r#"{{"error":{{"code":"{code}","message":"{message}","param":null,"type":"{kind}"}}}}"#)
}

#[tokio::test]
async fn before_the_first_set_of_providers_everybody_is_told_to_come_back() {
    let world = World::new();
    let text = "the gateway does not know its providers yet; try again shortly";
    for (path, body) in [
        ("/claude/v1/messages", anthropic("overloaded_error", text)),
        ("/gpt/v1/responses", openai("server_error", "providers_not_loaded", text)),
        ("/copilot/chat/completions", openai("server_error", "providers_not_loaded", text)),
        ("/gpt/v1/models", text.to_owned()),
    ] {
        let answer = world.ask(post(path, OK)).await;
        assert_eq!((answer.status, answer.body.as_str()), (503, body.as_str()), "{path}");
        assert!(answer.retry_after().is_some(), "{path}");
    }
}

#[tokio::test]
async fn a_request_without_a_good_token_gets_the_exact_refusal_of_its_api() {
    const MESSAGES: &str = "/claude/v1/messages";
    const CHAT: &str = "/gpt/v1/chat/completions";
    let down = "the gateway cannot check credentials at the moment; try again shortly";
    let clash = "two different Coder credentials in one request (Authorization, X-Api-Key); send only one, or \
                 put the Coder token into X-Coder-AI-Governance-Token and your provider key into the other";
    let missing = "no authentication key provided";
    let bearer = |token: &str| format!("Bearer {token}");
    for (path, headers, status, body) in [
        (MESSAGES, vec![], 400, anthropic("authentication_error", missing)),
        (CHAT, vec![], 400, openai("invalid_request_error", "missing_api_key", missing)),
        ("/nobody/v1/x", vec![], 400, missing.to_owned()),
        (
            MESSAGES,
            vec![("x-api-key", "wrong".to_owned())],
            403,
            anthropic("permission_error", "unauthorized"),
        ),
        (
            MESSAGES,
            vec![("x-api-key", "narrow".to_owned())],
            403,
            anthropic("permission_error", "unauthorized"),
        ),
        (
            CHAT,
            vec![("authorization", bearer("expired"))],
            403,
            openai("invalid_request_error", "unauthorized", "unauthorized"),
        ),
        (
            MESSAGES,
            vec![("x-api-key", "undecidable".to_owned())],
            503,
            anthropic("api_error", down),
        ),
        (
            CHAT,
            vec![("x-api-key", "undecidable".to_owned())],
            503,
            openai("server_error", "service_unavailable", down),
        ),
        (
            MESSAGES,
            vec![("authorization", bearer(TOKEN)), ("x-api-key", "sk-ant".to_owned())],
            400,
            anthropic("invalid_request_error", clash),
        ),
        (
            CHAT,
            vec![("authorization", bearer(TOKEN)), ("x-api-key", "other".to_owned())],
            400,
            openai("invalid_request_error", "ambiguous_credentials", clash),
        ),
    ] {
        let (world, provider) = world().await;
        let pairs: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = world.ask(with(path, &pairs, OK)).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (status, body.as_str()),
            "{path} {pairs:?}"
        );
        assert!(provider.seen().is_empty() && world.book.facts().is_empty());
    }
}

#[tokio::test]
async fn every_source_of_the_token_is_accepted() {
    let bearer = format!("Bearer {TOKEN}");
    for headers in [
        vec![("authorization", bearer.as_str())],
        vec![("x-api-key", TOKEN)],
        vec![("coder-session-token", TOKEN)],
        vec![("x-coder-ai-governance-token", TOKEN)],
        vec![("authorization", bearer.as_str()), ("x-api-key", TOKEN)],
    ] {
        let (world, provider) = world().await;
        let answer = world.ask(with("/claude/v1/messages", &headers, OK)).await;
        assert_eq!(answer.status, 200, "{headers:?}");
        assert_eq!(provider.only().header("x-api-key"), Some("k"), "{headers:?}");
    }
}

#[tokio::test]
async fn unknown_providers_and_routes_answer_404_with_method_and_path() {
    let text = |method: &str, path: &str| format!("route not supported: {method} {path}");
    let (world, provider) = world().await;
    for (method, path, known) in [
        ("POST", "/nobody/v1/messages", None),
        ("GET", "/", None),
        ("POST", "/claude/v1/../v1/messages", None),
        ("POST", "/claude//v1/messages", None),
        ("GET", "/claude/v1/models/%2e%2e/messages", None),
        ("GET", "/claude/v1/models%2fx", None),
        ("POST", "/claude/v1/complete", Some("claude")),
        ("GET", "/claude/v1/messages", Some("claude")),
        ("POST", "/gpt/v1/completions", Some("gpt")),
        ("POST", "/gpt/chat/completions", Some("gpt")),
    ] {
        let bearer = format!("Bearer {TOKEN}");
        let answer = world.ask(request(method, path, &[("authorization", &bearer)], OK)).await;
        let want = match known {
            None => text(method, path),
            Some("claude") => anthropic("not_found_error", &text(method, path)),
            Some(_) => openai("invalid_request_error", "route_not_supported", &text(method, path)),
        };
        assert_eq!((answer.status, answer.body), (404, want), "{method} {path}");
    }
    assert!(provider.seen().is_empty() && world.book.facts().is_empty());
}

#[tokio::test]
async fn a_disabled_provider_says_so_on_every_path() {
    let (world, provider) = world().await;
    for path in ["/off/v1/chat/completions", "/off/v1/models", "/off/anything"] {
        let answer = world.ask(post(path, OK)).await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.body, r#"provider_disabled: AI provider "off" is disabled"#);
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    assert!(provider.seen().is_empty() && world.book.facts().is_empty());
}

#[tokio::test]
async fn a_gateway_without_providers_serves_and_takes_them_later() {
    let world = World::new();
    assert_eq!(world.gateway.install(&[]), []);
    let answer = world.ask(post("/claude/v1/messages", OK)).await;
    assert_eq!(answer.status, 404, "an empty set is a set");

    let provider = Upstream::always(&world.lifecycle, Reply::json(200, "{}")).await;
    let bad = row(Bedrock, "aws", "", &[]);
    let statuses =
        world.gateway.install(&[bad, row(Anthropic, "claude", &provider.url(""), &["k"])]);
    let states: Vec<_> = statuses.iter().map(|row| row.state.as_str()).collect();
    assert_eq!(states, ["error", "enabled"]);
    assert_eq!(world.gateway.statuses(), statuses);
    assert_eq!(world.ask(post("/claude/v1/messages", OK)).await.status, 200);
    assert_eq!(world.ask(post("/aws/v1/messages", OK)).await.status, 404);
}

#[tokio::test]
async fn bodies_that_cannot_be_understood_are_400_in_the_apis_shape() {
    let (world, provider) = world().await;
    for (path, body) in [
        ("/claude/v1/messages", ""),
        ("/claude/v1/messages", "{"),
        ("/claude/v1/messages", "[1]"),
        ("/gpt/v1/chat/completions", ""),
        ("/gpt/v1/chat/completions", "not json"),
        ("/gpt/v1/responses", ""),
        ("/gpt/v1/responses", "{\"model\":"),
    ] {
        let answer = world.ask(post(path, body)).await;
        assert_eq!(answer.status, 400, "{path} {body:?}: {}", answer.body);
        let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(json["error"]["type"], "invalid_request_error", "{json}");
        let message = json["error"]["message"].as_str().unwrap();
        assert!(!message.is_empty());
    }
    let answer = world
        .ask(post("/gpt/v1/responses", r#"{"model":"m","input":"x","background":true}"#))
        .await;
    assert_eq!(answer.status, 501, "{}", answer.body);
    assert!(provider.seen().is_empty() && world.book.facts().is_empty());
}

#[tokio::test]
async fn compressed_bodies_are_415() {
    let (world, provider) = world().await;
    let headers = [("x-api-key", TOKEN), ("content-encoding", "gzip")];
    let answer = world.ask(with("/claude/v1/messages", &headers, OK)).await;
    let text = "Content-Encoding is not supported for requests; send the body uncompressed";
    assert_eq!((answer.status, answer.body), (415, anthropic("invalid_request_error", text)));
    assert!(provider.seen().is_empty());
}

const TOO_LARGE: &str = "Request body too large. The maximum allowed request body size is 32MiB.";

#[tokio::test]
async fn a_body_of_33_mib_is_413_and_the_client_gets_to_read_it() {
    let (world, provider) = world().await;
    let address = world.serve().await;
    let size = 33 * 1024 * 1024;
    for chunked in [false, true] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let length = if chunked {
            format!("transfer-encoding: chunked\r\n\r\n{size:x}\r\n")
        } else {
            format!("content-length: {size}\r\n\r\n")
        };
        let head =
            format!("POST /gpt/v1/responses HTTP/1.1\r\nhost: x\r\nx-api-key: {TOKEN}\r\n{length}");
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(&vec![b' '; size]).await.unwrap();
        if chunked {
            socket.write_all(b"\r\n0\r\n\r\n").await.unwrap();
        }
        let mut answer = vec![0; 4096];
        let read = within(socket.read(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(
            answer.ends_with(&openai("invalid_request_error", "request_too_large", TOO_LARGE)),
            "{answer}"
        );
    }
    let mut claimed: Request<Full<Bytes>> = post("/claude/v1/models", "");
    claimed.headers_mut().insert("content-length", size.into());
    let answer = world.ask(claimed).await;
    assert_eq!((answer.status, answer.body), (413, anthropic("request_too_large", TOO_LARGE)));
    assert!(provider.seen().is_empty() && world.book.facts().is_empty());
}

#[tokio::test]
async fn without_any_provider_credential_the_caller_is_told_what_to_send() {
    let (world, provider) = world().await;
    for (path, needle) in [
        ("/keyless/v1/chat/completions", "has no key: ask an administrator"),
        ("/keyless/v1/models", "has no key: ask an administrator"),
        ("/copilot/chat/completions", "needs your own GitHub token"),
    ] {
        let answer = world.ask(post(path, OK)).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(
            answer.body.contains(needle) && answer.body.contains("no_provider_credential"),
            "{}",
            answer.body
        );
    }
    assert!(provider.seen().is_empty() && world.book.facts().is_empty());
}

#[tokio::test]
async fn a_brought_key_is_refused_where_that_is_not_allowed() {
    let world = World::with(|settings| settings.allow_byok = false);
    let provider = Upstream::always(&world.lifecycle, Reply::json(200, "{}")).await;
    world.install(&[row(Anthropic, "claude", &provider.url(""), &["k"])]);
    let headers = [("x-coder-ai-governance-token", TOKEN), ("x-api-key", "sk-own")];
    let answer = world.ask(with("/claude/v1/messages", &headers, OK)).await;
    assert_eq!(answer.status, 403);
    assert_eq!(
        answer.body,
        concat!(
            r#"{"message":"Bring Your Own Key (BYOK) mode is not enabled.","#,
            r#""detail":"Contact your administrator to enable it with --ai-gateway-allow-byok."}"#
        )
    );
    assert!(provider.seen().is_empty());
}

#[tokio::test]
async fn a_stopping_gateway_takes_nothing_new() {
    let (world, provider) = world().await;
    world.lifecycle.begin_stop();
    let answer = world.ask(post("/claude/v1/messages", OK)).await;
    assert_eq!(answer.status, 503);
    assert!(matches!(answer.retry_after(), Some(1..=3)), "{answer:?}");
    assert!(provider.seen().is_empty());
}
