//! How often and how soon a provider is asked again.

use std::time::Duration;

use crate::apis::{Wording, apis};
use crate::ports::TOKEN;
use crate::upstream::{Reply, Step, Upstream};
use crate::world::{World, post, row, with};

const LIMITED: Wording = Wording("rate_limit_error", "rate_limit_exceeded", "rate_limit_exceeded");
const SPENT: Wording = Wording("overloaded_error", "server_error", "attempts_spent");
const TIMEOUT: Wording = Wording("timeout_error", "server_error", "upstream_timeout");

#[tokio::test]
async fn a_rate_limit_is_honoured_however_the_provider_puts_it() {
    // The clock stands at the beginning of 4 October 2024.
    for (said, rests) in [
        (None, 60),
        (Some("17"), 17),
        (Some(" 17 "), 17),
        (Some("Fri, 04 Oct 2024 00:00:40 GMT"), 40),
        (Some("Friday, 04-Oct-24 00:00:40 GMT"), 40),
        (Some("Fri Oct  4 00:00:40 2024"), 40),
        // Not at once all the same, and not only next year.
        (Some("0"), 1),
        (Some("Thu, 03 Oct 2024 00:00:00 GMT"), 1),
        (Some("31536000"), 3600),
        (Some("Sat, 04 Oct 2025 00:00:00 GMT"), 3600),
        // What nobody understands is as if it were not there.
        (Some("soon"), 60),
        (Some("-5"), 60),
        (Some("1e9"), 60),
    ] {
        for api in apis() {
            let about = format!("{} {said:?}", api.path);
            let world = World::new();
            let well = Reply::json(200, api.body);
            let provider = Upstream::start(&world.lifecycle, move |number, _| {
                let limited = Reply::json(429, "{}");
                match said {
                    _ if number > 0 => well.clone(),
                    None => limited,
                    Some(said) => limited.with("retry-after", said),
                }
            })
            .await;
            world.install(&[row(api.kind, "p", &provider.url(api.base), &["k"])]);
            let message = "all configured keys are rate-limited";
            for _ in 0..3 {
                let answer = world.ask(post(api.path, &api.request(false))).await;
                let got = (answer.status, answer.body.as_str());
                assert_eq!(got, (429, &*api.error(LIMITED, message)), "{about}");
                let pause = answer.retry_after().unwrap();
                let most = rests + (rests / 10).max(2);
                assert!((rests..=most).contains(&pause), "{about}: {pause}");
                let end = world.book.lines().pop().unwrap();
                assert!(end.ends_with(&format!("rate_limited {message}")), "{about}: {end}");
            }
            assert_eq!(provider.seen().len(), 1, "{about}: nobody is asked while the key rests");
            world.clock.advance(Duration::from_secs(rests));
            let answer = world.ask(post(api.path, &api.request(false))).await;
            assert_eq!((answer.status, provider.seen().len()), (200, 2), "{about}");
        }
    }
}

#[tokio::test]
async fn one_request_tries_five_keys_and_the_next_one_goes_on_with_the_others() {
    const KEYS: [&str; 7] = ["bad-1", "bad-2", "bad-3", "bad-4", "bad-5", "good-6", "good-7"];
    for api in apis() {
        for status in [401, 403, 429] {
            for stream in [false, true] {
                let about = format!("{} {status} stream={stream}", api.path);
                let world = World::new();
                let well = Reply::json(200, api.body);
                let provider = Upstream::start(&world.lifecycle, move |_, seen| {
                    let bad = format!("{:?}", seen.headers).contains("bad-");
                    if bad { Reply::json(status, "{}") } else { well.clone() }
                })
                .await;
                world.install(&[row(api.kind, "p", &provider.url(api.base), &KEYS)]);
                let answer = world.ask(post(api.path, &api.request(stream))).await;
                let message = "provider \"p\" turned away 5 keys, as many as one request tries; others are \
                               left, so try again shortly";
                let got = (answer.status, answer.body.as_str());
                assert_eq!(got, (503, &*api.error(SPENT, message)), "{about}");
                assert!(matches!(answer.retry_after(), Some(1..=3)), "{about}: {answer:?}");
                assert_eq!(answer.header("x-should-retry"), None, "{about}");
                let end = world.book.lines().pop().unwrap();
                assert!(end.ends_with(&format!("overloaded {message}")), "{about}: {end}");
                assert_eq!(provider.seen().len(), 5, "{about}");
                let answer = world.ask(post(api.path, &api.request(stream))).await;
                assert_eq!((answer.status, provider.seen().len()), (200, 6), "{about}");
            }
        }
    }
}

#[tokio::test]
async fn all_attempts_of_a_request_share_one_deadline() {
    for api in apis() {
        for stream in [false, true] {
            let about = format!("{} stream={stream}", api.path);
            let patience = Duration::from_millis(100);
            let world = World::with(|settings| {
                settings.timeouts.first_byte = patience;
                settings.timeouts.blocking = patience;
            });
            let provider = Upstream::start(&world.lifecycle, |number, _| {
                let mut limited = Reply::json(429, "{}");
                limited.before = if number == 0 { vec![] } else { vec![Step::Hang] };
                limited
            })
            .await;
            world.install(&[row(api.kind, "p", &provider.url(api.base), &["k1", "k2", "k3"])]);
            let answer = world.ask(post(api.path, &api.request(stream))).await;
            let message = r#"provider "p" did not answer within 0 seconds"#;
            let got = (answer.status, answer.body.as_str());
            assert_eq!(got, (504, &*api.error(TIMEOUT, message)), "{about}");
            assert_eq!(provider.seen().len(), 2, "{about}: one key answered, one did not");
            provider.cancelled().await;
            assert_eq!(world.in_flight(), 0, "{about}");
        }
    }
}

#[tokio::test]
async fn what_a_provider_says_about_coming_back_reaches_the_client_and_nothing_is_repeated() {
    let own = [("x-coder-ai-governance-token", TOKEN), ("authorization", "Bearer sk-own")];
    for api in apis() {
        for (status, brought) in [(500, false), (503, false), (529, false), (429, true)] {
            for stream in [false, true] {
                let about = format!("{} {status} stream={stream}", api.path);
                let reply = Reply::json(status, r#"{"error":"theirs"}"#)
                    .with("retry-after", "21")
                    .with("retry-after-ms", "20500")
                    .with("x-should-retry", "true");
                let (world, provider) = api.world(reply).await;
                let body = api.request(stream);
                let request =
                    if brought { with(api.path, &own, &body) } else { post(api.path, &body) };
                let answer = world.ask(request).await;
                let got = (answer.status, answer.body.as_str());
                assert_eq!(got, (status, r#"{"error":"theirs"}"#), "{about}");
                for (name, value) in
                    [("retry-after", "21"), ("retry-after-ms", "20500"), ("x-should-retry", "true")]
                {
                    assert_eq!(answer.header(name), Some(value), "{about}");
                }
                assert_eq!(provider.seen().len(), 1, "{about}");
            }
        }
    }
}
