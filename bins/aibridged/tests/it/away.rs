//! coderd or its database away: who is known is served, nobody else, and every record arrives in the end.

use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::Outage;

use crate::daemon::Daemon;
use crate::exchange::{Api, ask};
use crate::place::Place;

fn check<'a>(ready: &'a Value, name: &str) -> &'a Value {
    let mut checks = ready["checks"].as_array().unwrap().iter();
    checks.find(|check| check["name"] == name).unwrap()
}

/// Who is known is served in every wire API, who is not is told to come again in the words of the API.
async fn known_only(place: &Place, daemon: &Daemon, known: &str, strangers: &[&str]) {
    for api in Api::ALL {
        let answer = ask(&place.http, &daemon.url, known, api).await;
        assert_eq!(answer.status, 200, "{api:?}: {}", answer.text);
        for stranger in strangers {
            let answer = ask(&place.http, &daemon.url, stranger, api).await;
            assert!(answer.is_refusal(api, 503, "service_unavailable"), "{api:?}: {answer:?}");
            assert!(answer.retry_after.is_some(), "{api:?}: {answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_coderd_the_known_are_served_and_their_records_arrive_later() {
    let mut place = Place::new().await;
    let mia = place.member("mia").await;
    let mut daemon = place.daemon("one", &[]).await;
    let mut strict = place.daemon("strict", &[("CODER_AI_GATEWAY_IDENTITY_GRACE", "0")]).await;
    for base in [&daemon.url, &strict.url] {
        assert_eq!(ask(&place.http, base, &place.owner, Api::Chat).await.status, 200);
    }
    place.all_recorded().await;

    place.kill_coderd();
    daemon.logs(&["coderd is away", "serving 1 known identity until", "unreachable since"]).await;
    strict.logs(&["coderd is away", "serving nobody any more"]).await;
    for _ in 0..5 {
        known_only(&place, &daemon, &place.owner, &[&mia, "a-b"]).await;
    }
    for api in Api::ALL {
        let answer = ask(&place.http, &strict.url, &place.owner, api).await;
        assert!(answer.is_refusal(api, 503, "service_unavailable"), "{api:?}: {answer:?}");
    }
    let served = 2 + 15;
    assert_eq!(place.provider.served().len(), served, "a refused request goes nowhere");
    daemon
        .readyz(&place.http, "it says whom it serves", |status, ready| {
            let coderd = check(ready, "coderd")["detail"].as_str().unwrap();
            let spool = check(ready, "spool")["detail"].as_str().unwrap();
            status == StatusCode::OK
                && coderd.starts_with("coderd unreachable since 20")
                && coderd.contains(", serving 1 known identity until 20")
                && spool.contains("; 60 facts (")
        })
        .await;
    strict
        .readyz(&place.http, "it says that it serves nobody", |status, ready| {
            let coderd = check(ready, "coderd");
            status == StatusCode::SERVICE_UNAVAILABLE
                && coderd["ok"] == json!(false)
                && coderd["detail"].as_str().unwrap().ends_with(", serving nobody any more")
        })
        .await;
    let connected = "coder_ai_gateway_coderd_connected";
    assert_eq!(daemon.metric(&place.http, connected).await, Some(0.0));

    place.restart_coderd().await;
    assert_eq!(place.all_recorded().await.len(), served);
    for daemon in [&mut daemon, &mut strict] {
        daemon.logs(&["coderd is back", "connected to coderd since"]).await;
        daemon
            .readyz(&place.http, "coderd is back", |status, ready| {
                let detail = check(ready, "coderd")["detail"].as_str().unwrap();
                status == StatusCode::OK && detail.starts_with("connected to coderd since 20")
            })
            .await;
        assert_eq!(daemon.metric(&place.http, connected).await, Some(1.0));
        for token in [&place.owner, &mia] {
            assert_eq!(ask(&place.http, &daemon.url, token, Api::Chat).await.status, 200);
        }
    }
    // Once each: when it went and when it came back.
    let log = daemon.program.log();
    for word in ["coderd is away", "coderd is back"] {
        assert_eq!(log.matches(word).count(), 1, "{log}");
    }
    assert_eq!(place.all_recorded().await.len(), served + 4);
    assert!(place.verify("one").0);
    place.close(vec![daemon, strict]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_the_known_are_served_and_their_records_arrive_later() {
    let mut place = Place::new().await;
    let mia = place.member("mia").await;
    let mut daemon = place.daemon("one", &[]).await;
    assert_eq!(ask(&place.http, &daemon.url, &place.owner, Api::Chat).await.status, 200);
    place.all_recorded().await;
    let outage = Outage::begin(&place.db).await.unwrap();
    for _ in 0..3 {
        // A token that nobody knows is no reason to blame it while nobody can look.
        known_only(&place, &daemon, &place.owner, &[&mia]).await;
    }
    daemon
        .readyz(&place.http, "records wait", |status, ready| {
            let spool = check(ready, "spool")["detail"].as_str().unwrap();
            status == StatusCode::OK && spool.contains("; 36 facts (")
        })
        .await;
    outage.end().await.unwrap();
    assert_eq!(place.all_recorded().await.len(), 10);
    // What could not be found out is not remembered.
    place.coderd_ready().await;
    let deadline = tokio::time::Instant::now() + testkit::program::LIMIT;
    while ask(&place.http, &daemon.url, &mia, Api::Chat).await.status != 200 {
        assert!(tokio::time::Instant::now() < deadline);
    }
    place.all_recorded().await;
    assert!(place.verify("one").0);
    place.close(vec![daemon]).await;
}
