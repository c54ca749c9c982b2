//! Every fault of a provider, in every wire API, blocking and streaming: what the client gets, how often the
//! provider was asked, what is recorded, and that the gateway is as well afterwards as before.

use std::time::Duration;

use aibridge::ProviderKind::Anthropic;
use aibridge::facts::Fact;
use http::Request;
use http_body_util::Full;
use serde_json::Value;
use testkit::provider::{Ending, FakeProvider, Fault, Served};

use crate::apis::{Api, Wording, apis};
use crate::ports::TOKEN;
use crate::world::{Answer, World, row, with, within};

/// What the client gets.
enum Gets {
    /// The whole good answer.
    Good,
    /// What the provider sent, byte for byte, with this status; it contains this.
    Verbatim(u16, &'static str),
    /// The gateway's own words.
    Ours(u16, Wording, &'static str),
    /// Whole frames, and then the API's own error event: its type at Anthropic, its code at OpenAI.
    ErrorEvent([&'static str; 3]),
    /// A connection that breaks before the announced end.
    Broken,
}

/// One cell of the matrix.
pub(crate) struct Cell {
    gets: Gets,
    /// Seconds of `Retry-After`.
    pause: Option<std::ops::RangeInclusive<u64>>,
    /// How the record ends.
    end: String,
    /// Requests that the provider saw.
    attempts: usize,
    /// How long to wait until all is well again.
    rest: Duration,
}

impl Cell {
    fn new(gets: Gets, end: impl Into<String>) -> Self {
        Self { gets, pause: None, end: end.into(), attempts: 1, rest: Duration::ZERO }
    }

    /// Our refusal with a pause.
    fn limited(seconds: u64) -> Self {
        const LIMITED: Wording =
            Wording("rate_limit_error", "rate_limit_exceeded", "rate_limit_exceeded");
        let message = "all configured keys are rate-limited";
        Self {
            pause: Some(seconds..=seconds + (seconds / 10).max(2)),
            rest: Duration::from_secs(seconds),
            ..Self::new(Gets::Ours(429, LIMITED, message), format!("rate_limited {message}"))
        }
    }
}

/// The error event of a stream that broke off, and of one that stalled.
const INTERRUPTED: [&str; 3] = ["api_error", "stream_interrupted", "server_error"];
const STALLED: [&str; 3] = ["timeout_error", "timeout", "timeout"];

const UPSTREAM: Wording = Wording("api_error", "server_error", "upstream_error");
const TIMEOUT: Wording = Wording("timeout_error", "server_error", "upstream_timeout");

const EVENT: &str = "server_error the provider sent an event that is not JSON";
const NO_ANSWER: &str = "the provider's answer is not a JSON object of this API";

/// The faults that make one request of a pool of one key fail or succeed.
pub(crate) fn matrix(api: &Api, stream: bool) -> Vec<(&'static str, Cell)> {
    use Gets::{Broken, ErrorEvent, Good, Ours, Verbatim};
    let anthropic = api.kind == Anthropic;
    let responses = api.path.ends_with("responses");
    let (busy, overloaded) =
        if anthropic { (529, "overloaded_error") } else { (503, "Overloaded") };
    let either = |streaming: Cell, blocking: Cell| if stream { streaming } else { blocking };
    let unreachable = r#"provider "p" cannot be reached"#;
    let no_answer = r#"provider "p" did not answer within 0 seconds"#;
    let too_long = "prompt is too long: 250000 tokens > 200000 maximum";
    vec![
        ("rate-limited:9", Cell::limited(9)),
        ("rate-limited-bare", Cell::limited(60)),
        (
            "error-once",
            Cell::new(
                Verbatim(500, "Internal server error"),
                "server_error provider p answered 500",
            ),
        ),
        (
            "overloaded",
            Cell::new(Verbatim(busy, overloaded), format!("overloaded provider p answered {busy}")),
        ),
        (
            "reset",
            Cell::new(Ours(502, UPSTREAM, unreachable), format!("server_error {unreachable}")),
        ),
        ("silent", Cell::new(Ours(504, TIMEOUT, no_answer), format!("timeout {no_answer}"))),
        ("slow-first-token:30", Cell::new(Good, "ok")),
        (
            "cut:3",
            either(
                Cell::new(
                    ErrorEvent(INTERRUPTED),
                    "server_error the provider broke off before its answer was complete",
                ),
                Cell::new(Broken, "server_error provider p broke off its answer"),
            ),
        ),
        (
            "stalled:3",
            either(
                Cell::new(ErrorEvent(STALLED), "timeout the provider stopped sending its answer"),
                Cell::new(Broken, "timeout provider p took too long to answer"),
            ),
        ),
        (
            "malformed",
            either(
                Cell::new(Verbatim(200, ""), EVENT),
                Cell::new(Ours(502, UPSTREAM, NO_ANSWER), format!("server_error {NO_ANSWER}")),
            ),
        ),
        (
            "no-terminator",
            either(
                Cell::new(
                    ErrorEvent(INTERRUPTED),
                    "server_error the provider ended before its answer was complete",
                ),
                Cell::new(Good, "ok"),
            ),
        ),
        (
            "context-too-long",
            if stream && responses {
                // An answer in good order that says so.
                Cell::new(
                    Verbatim(200, "context_length_exceeded"),
                    format!("bad_request {too_long}"),
                )
            } else {
                Cell::new(Verbatim(400, too_long), "bad_request provider p answered 400")
            },
        ),
        ("content-refused", Cell::new(Good, "ok")),
    ]
}

/// A gateway in which nothing may leak, before a provider that fails on purpose.
pub(crate) struct Stage {
    pub(crate) world: World,
    provider: FakeProvider,
}

impl Stage {
    pub(crate) async fn new(api: &Api, keys: &[&str], patience: Duration) -> Self {
        let world = World::with(|settings| {
            settings.limits.max_concurrency = 1;
            settings.timeouts.first_byte = patience;
            settings.timeouts.blocking = patience;
            settings.timeouts.stream_idle = patience;
        });
        let provider = FakeProvider::start_default().await.unwrap();
        let url = format!("{}{}", provider.url(), api.base);
        world.install(&[row(api.kind, "p", &url, keys)]);
        Self { world, provider }
    }

    pub(crate) async fn ask(&self, api: &Api, stream: bool, fault: Option<&str>) -> Answer {
        within(self.world.ask(request(api, stream, fault))).await
    }

    /// All of it is as it was in the beginning.
    async fn assert_well(&self, api: &Api, stream: bool, about: &str) {
        let answer = self.ask(api, stream, None).await;
        assert!(answer.status == 200 && answer.whole, "{about}: {answer:?}");
        assert_good(api, stream, &answer, about);
        assert_eq!(self.world.in_flight(), 0, "{about}");
        for gauge in ["slots_taken", "held_bytes"] {
            let gauge = format!("coder_ai_gateway_{gauge}");
            assert_eq!(self.world.metric(&gauge), 0, "{about}: {gauge}");
        }
        // No connection is left open, no request is still waited for.
        let over = |rows: &[Served]| rows.iter().all(|row| row.ending != Ending::Open);
        self.provider.eventually(over).await.unwrap();
    }
}

fn request(api: &Api, stream: bool, fault: Option<&str>) -> Request<Full<bytes::Bytes>> {
    let content = r#""model":"m","max_tokens":99,"stream":"#;
    let rest = match api.path {
        path if path.ends_with("responses") => r#""input":"Hello there"}"#,
        _ => r#""messages":[{"role":"user","content":"Hello there"}]}"#,
    };
    let options = if stream && api.path.ends_with("completions") {
        r#""stream_options":{"include_usage":true},"#
    } else {
        ""
    };
    let body = format!("{{{content}{stream},{options}{rest}");
    let token = format!("Bearer {TOKEN}");
    let mut headers = vec![("authorization", token.as_str())];
    headers.extend((api.kind == Anthropic).then_some(("anthropic-version", "2023-06-01")));
    headers.extend(fault.map(|fault| ("x-fake-fault", fault)));
    with(api.path, &headers, &body)
}

/// What the API sends last, and only when all is well.
fn end_mark(api: &Api) -> &'static str {
    match api.path.rsplit('/').next() {
        Some("messages") => "event: message_stop",
        Some("completions") => "\"finish_reason\":\"",
        _ => "event: response.completed",
    }
}

fn assert_good(api: &Api, stream: bool, answer: &Answer, about: &str) {
    if stream {
        assert_eq!(answer.header("content-type"), Some("text/event-stream"), "{about}");
        assert!(answer.body.contains(end_mark(api)), "{about}: {}", answer.body);
    } else {
        let tree: Value = serde_json::from_str(&answer.body).unwrap();
        assert!(tree.get("usage").is_some(), "{about}: {tree}");
    }
}

/// The last event of a broken stream, before it nothing that looks like a good end.
fn assert_error_event(api: &Api, answer: &Answer, kinds: [&str; 3], about: &str) {
    let Answer { body, .. } = answer;
    assert!(answer.status == 200 && answer.whole, "{about}: {answer:?}");
    assert!(!body.contains(end_mark(api)), "{about}: {body}");
    let [anthropic, chat, responses] = kinds;
    let chat_end = body.strip_suffix("data: [DONE]\n\n");
    let (body, at, want) = match api.path.rsplit('/').next() {
        Some("messages") => (body.as_str(), "/error/type", anthropic),
        Some("completions") => {
            (chat_end.unwrap_or_else(|| panic!("{about}: {body}")), "/error/code", chat)
        }
        _ => (body.as_str(), "/code", responses),
    };
    let last = body.trim_end().rsplit("\n\n").next().unwrap();
    let data = last.lines().find_map(|line| line.strip_prefix("data: "));
    let data = data.unwrap_or_else(|| panic!("{about}: {last}"));
    let event: Value = serde_json::from_str(data).unwrap();
    assert_eq!(event.pointer(at).and_then(Value::as_str), Some(want), "{about}: {event}");
}

fn assert_gets(api: &Api, stream: bool, cell: &Cell, answer: &Answer, about: &str) {
    assert!(answer.headers.contains_key("x-coder-interception-id"), "{about}: {answer:?}");
    match &cell.gets {
        Gets::Good => {
            assert!(answer.status == 200 && answer.whole, "{about}: {answer:?}");
            assert_good(api, stream, answer, about);
        }
        Gets::Verbatim(status, part) => {
            assert_eq!((answer.status, answer.whole), (*status, true), "{about}: {answer:?}");
            assert!(answer.body.contains(part), "{about}: {}", answer.body);
            assert_eq!(answer.header("x-coder-error-code"), None, "{about}: not ours");
        }
        Gets::Ours(status, wording, message) => {
            assert_eq!(answer.status, *status, "{about}: {answer:?}");
            assert_eq!(answer.body, api.error(*wording, message), "{about}");
            assert_eq!(answer.header("x-coder-error-code"), Some(wording.2), "{about}");
        }
        Gets::ErrorEvent(kinds) => assert_error_event(api, answer, *kinds, about),
        Gets::Broken => {
            assert_eq!((answer.status, answer.whole), (200, false), "{about}: {answer:?}");
        }
    }
    let pause = answer.retry_after();
    match &cell.pause {
        None => assert_eq!(pause, None, "{about}"),
        Some(range) => {
            assert!(pause.is_some_and(|pause| range.contains(&pause)), "{about}: {pause:?}");
        }
    }
}

/// The record ends as it should, and has the tokens that the provider told of by then.
fn assert_recorded(api: &Api, stream: bool, cell: &Cell, stage: &Stage, about: &str) {
    let facts = stage.world.book.facts();
    let ends = facts.iter().filter(|fact| matches!(fact, Fact::End(_))).count();
    let starts = facts.iter().filter(|fact| matches!(fact, Fact::Start(_))).count();
    assert_eq!((starts, ends), (1, 1), "{about}");
    let lines = stage.world.book.lines();
    let end = format!("end \"sk-o...0001\" {}", cell.end);
    assert_eq!(lines.last(), Some(&end), "{about}: {lines:?}");
    let tokens = facts.iter().find_map(|fact| match fact {
        Fact::Tokens(tokens) => Some(tokens),
        _ => None,
    });
    let served = stage.provider.served().pop().unwrap();
    match (&cell.gets, tokens) {
        (Gets::Good, Some(tokens)) => {
            let counts = [tokens.input, tokens.output].map(|count| u64::try_from(count).unwrap());
            assert_eq!(counts, [served.usage.input, served.usage.output], "{about}");
            assert!(!tokens.metadata.contains_key("partial"), "{about}: {tokens:?}");
        }
        (Gets::Good, None) => panic!("{about}: no tokens"),
        (_, Some(tokens)) => {
            assert_eq!(tokens.metadata.get("partial"), Some(&Value::Bool(true)), "{about}");
        }
        // Messages tells its input in the first event.
        (Gets::ErrorEvent(_), None) => assert!(api.kind != Anthropic && stream, "{about}"),
        (_, None) => {}
    }
}

#[tokio::test]
async fn every_fault_ends_right_or_safe_in_every_api() {
    for api in apis() {
        for stream in [false, true] {
            for (fault, cell) in matrix(&api, stream) {
                let about = format!("{fault} {} stream={stream}", api.path);
                let waits = fault.starts_with("silent") || fault.starts_with("stalled");
                let patience = Duration::from_millis(if waits { 400 } else { 30_000 });
                let stage = Stage::new(&api, &["sk-only-0000000000000001"], patience).await;
                let answer = stage.ask(&api, stream, Some(fault)).await;
                assert_gets(&api, stream, &cell, &answer, &about);
                assert_recorded(&api, stream, &cell, &stage, &about);
                let seen = stage.provider.served();
                assert_eq!(seen.len(), cell.attempts, "{about}");
                assert!(seen.iter().all(|row| row.fault.is_some()), "{about}: it was played");
                if !cell.rest.is_zero() {
                    // While the key rests nobody is asked.
                    assert_eq!(stage.ask(&api, stream, None).await.status, 429, "{about}");
                    assert_eq!(stage.provider.served().len(), cell.attempts, "{about}");
                    stage.world.clock.advance(cell.rest);
                }
                stage.assert_well(&api, stream, &about).await;
            }
        }
    }
}

#[tokio::test]
async fn a_request_that_failed_once_is_answered_when_the_client_repeats_it() {
    for api in apis() {
        for stream in [false, true] {
            let stage =
                Stage::new(&api, &["sk-only-0000000000000001"], Duration::from_secs(30)).await;
            let about = format!("{} stream={stream}", api.path);
            for (fault, statuses) in
                [("error-once", &[500, 200][..]), ("flapping:2", &[0, 0, 200, 200, 0, 0, 200])]
            {
                let before = stage.provider.served().len();
                for want in statuses {
                    let busy = if api.kind == Anthropic { 529 } else { 503 };
                    let want = if *want == 0 { busy } else { *want };
                    let answer = stage.ask(&api, stream, Some(fault)).await;
                    assert_eq!((answer.status, answer.whole), (want, true), "{about} {fault}");
                }
                // One for one: the gateway itself repeats nothing.
                let asked = stage.provider.served().len() - before;
                assert_eq!(asked, statuses.len(), "{about} {fault}");
            }
            stage.assert_well(&api, stream, &about).await;
        }
    }
}

#[tokio::test]
async fn of_two_keys_of_which_one_is_dead_the_other_answers() {
    const KEYS: [&str; 2] = ["sk-dead-0000000000000001", "sk-live-0000000000000002"];
    let fault = format!("dead-key:{}", KEYS[0]);
    for api in apis() {
        for stream in [false, true] {
            let about = format!("{} stream={stream}", api.path);
            let stage = Stage::new(&api, &KEYS, Duration::from_secs(30)).await;
            for attempts in [2, 3, 4] {
                let answer = stage.ask(&api, stream, Some(&fault)).await;
                assert!(answer.status == 200 && answer.whole, "{about}: {answer:?}");
                assert_good(&api, stream, &answer, &about);
                // The dead one is tried once, then it rests.
                assert_eq!(stage.provider.served().len(), attempts, "{about}");
                let lines = stage.world.book.lines();
                assert_eq!(lines.last().unwrap(), r#"end "sk-l...0002" ok"#, "{about}");
            }
            stage.assert_well(&api, stream, &about).await;
        }
    }
}

#[test]
fn no_fault_is_left_out() {
    let [api, ..] = apis();
    let mut played: Vec<&str> = matrix(&api, true).into_iter().map(|(fault, _)| fault).collect();
    played.extend(["flapping:2", "dead-key"]);
    let played: Vec<&str> =
        played.into_iter().map(|fault| fault.split(':').next().unwrap()).collect();
    for name in Fault::NAMES {
        assert!(played.contains(&name), "{name}");
    }
}
