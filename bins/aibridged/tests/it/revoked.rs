//! Whatever ends a credential, both gateways refuse it within moments.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::exchange::{Api, Open, ask};
use crate::place::Place;

/// Latest refusal, also while others keep the gateways busy.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);

/// Clients that ask both gateways without a pause until it is over; how many times they were served.
async fn load(place: &Place, bases: &[String], token: &str, over: &AtomicBool) -> usize {
    let client = async |base: &String| {
        let mut served = 0;
        while !over.load(Ordering::Relaxed) {
            let answer = ask(&place.http, base, token, Api::Messages).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            served += 1;
        }
        served
    };
    let clients = bases.iter().flat_map(|base| [base; 4]).map(client);
    join_all(clients).await.into_iter().sum()
}

/// Asks until the credential is refused, which must be soon; says how soon.
async fn until_refused(place: &Place, base: &str, token: &str, (what, by): (&str, &str)) {
    let ended = Instant::now();
    loop {
        let answer = ask(&place.http, base, token, Api::Chat).await;
        let took = ended.elapsed();
        if answer.status != 200 {
            assert!(answer.is_refusal(Api::Chat, 403, "unauthorized"), "{what}: {answer:?}");
            println!("{what}: {by} refuses it after {took:?}");
            return;
        }
        assert!(took < REFUSED_WITHIN, "{what}: {by} serves it after {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_ends_is_refused_by_both_gateways_within_the_limit() {
    let mut place = Place::new().await;
    let (mia, session) = (place.member("mia").await, place.session("owner").await);
    let token = place.token("laptop").await;
    let daemon = place.daemon("one", &[]).await;
    let bases = [daemon.url.clone(), place.in_process()];
    let (over, id) = (AtomicBool::new(false), token.split_once('-').unwrap().0);
    let ends = async {
        for (what, token, (method, path)) in [
            ("a token is deleted", &token, (Method::DELETE, format!("/users/me/keys/{id}"))),
            ("a user is suspended", &mia, (Method::PUT, "/users/mia/status/suspend".to_owned())),
            ("a session ends", &session, (Method::POST, "/users/logout".to_owned())),
        ] {
            for base in &bases {
                // Twice: the second answer is from memory.
                for _ in 0..2 {
                    let answer = ask(&place.http, base, token, Api::Chat).await;
                    assert_eq!(answer.status, 200, "{what}: {}", answer.text);
                }
            }
            let by = if method == Method::POST { token } else { &place.owner };
            let answer = place
                .http
                .request(method, format!("{}/api/v2{path}", place.coderd_url()))
                .header("Coder-Session-Token", by)
                .send()
                .await
                .unwrap();
            assert!(answer.status().is_success(), "{what}: {}", answer.status());
            // Both at once, so that neither has more time than it says.
            tokio::join!(
                until_refused(&place, &bases[0], token, (what, "aibridged")),
                until_refused(&place, &bases[1], token, (what, "coderd")),
            );
        }
        over.store(true, Ordering::Relaxed);
    };
    let (served, ()) = tokio::join!(load(&place, &bases, &place.owner, &over), ends);
    assert!(served > 8, "nobody kept the gateways busy");
    // Who may sign in again is served at once: refusals are forgotten within seconds.
    place.ok(Method::PUT, "/users/mia/status/activate", Value::Null).await;
    let again = async {
        while ask(&place.http, &daemon.url, &mia, Api::Chat).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(REFUSED_WITHIN, again).await.unwrap();
    place.all_recorded().await;
    place.close(vec![daemon]).await;
}

/// Whoever deletes a gateway key wants nothing to go on: the daemon cuts what is open, says so to its clients in
/// the words of each API, ends with a failure, and keeps on disk what it could not ship.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_gateway_key_ends_the_daemon_and_loses_nothing() {
    let mut place = Place::with(Duration::from_millis(20)).await;
    let mut daemon = place.daemon("one", &[]).await;
    let mut other = place.daemon("other", &[]).await;
    let mut streams = Vec::new();
    for api in Api::ALL {
        streams.push(Open::begin(&place.http, &daemon.url, &place.owner, api, 2_000).await);
    }
    let id = place.key.0.clone();
    place.new_key("second").await;
    place.ok(Method::DELETE, &format!("/ai-gateway/keys/{id}"), json!(null)).await;
    let deleted = Instant::now();
    let refused = async {
        let request = || Api::Chat.request(&place.http, &daemon.url, &place.owner, (1, false));
        while let Ok(answer) = request().send().await {
            if answer.status() != 200 {
                assert_eq!(answer.status(), 503);
                assert_eq!(answer.headers()["x-coder-error-code"], "shutting_down");
                break;
            }
        }
        deleted.elapsed()
    };
    let took = timeout(REFUSED_WITHIN, refused).await.unwrap();
    println!("a gateway key is deleted: aibridged refuses requests after {took:?}");
    for stream in streams {
        let (whole, text) = stream.rest().await;
        assert!(!whole && text.contains("shut down"), "{text}");
    }
    assert!(!daemon.program.ended().await);
    let took = deleted.elapsed();
    println!("a gateway key is deleted: aibridged has ended after {took:?}");
    assert!(took < REFUSED_WITHIN, "{took:?}");
    let said = daemon.program.log();
    let last = said.lines().last().unwrap();
    let wanted = ["aibridged: ", "does not accept the gateway key", "CODER_AI_GATEWAY_KEY"];
    assert!(wanted.iter().all(|word| last.contains(word)), "{said}");
    assert!(!other.program.ended().await, "all daemons with the key end");

    // With another key they come back and ship what they have.
    let daemons = vec![place.daemon("one", &[]).await, place.daemon("other", &[]).await];
    let mut daemons = daemons;
    for daemon in &mut daemons {
        daemon.shipped(&place.http).await;
    }
    let cut = "the gateway was shut down before the answer was complete";
    let rows = place.rows().await;
    let cut = rows.iter().filter(|row| row["error_message"] == cut).count();
    let whole = rows.iter().filter(|row| row["error_type"].is_null()).count();
    assert_eq!((cut, cut + whole), (Api::ALL.len(), place.provider.served().len()), "{rows:?}");
    assert!(place.verify("one").0);
    place.close(daemons).await;
}
