use std::time::Duration;

use crypt::Keyring;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{Outage, TestDb};
use tokio::time::Instant;

use super::{Daemon, daemon, eventually, read};
use crate::app::{Session, TestApp};
use crate::gateway_keys::create;

const REPLICA: &str = "70000000-0000-4000-8000-000000000001";

fn beat(after: &Value, wait_seconds: u32) -> Value {
    json!({
        "replica": REPLICA, "build": "v0.0.0-test",
        "spool": { "records": 7, "bytes": 700, "oldest_seconds": 3, "lost": 0 },
        "after": after, "wait_seconds": wait_seconds,
    })
}

async fn send(daemon: &Daemon, body: &Value) -> (StatusCode, Value) {
    let request = daemon.request(Method::POST, "/heartbeat").json(body);
    read(request.send().await.unwrap()).await
}

/// A mark after which nothing has happened yet.
async fn mark(app: &TestApp, daemon: &Daemon) -> Value {
    // Until the server has heard itself, anything may have been missed, and it says so.
    app.app.pubsub.connected().await;
    let mut after = Value::Null;
    eventually("nothing happens any more", async || {
        let (_, told) = send(daemon, &beat(&after, 1)).await;
        let is_quiet = told["mark"] == after;
        after = told["mark"].clone();
        is_quiet
    })
    .await;
    after
}

/// Waits for news from `mark`, makes some by `change`, and returns them with the time they took.
async fn news(
    daemon: &Daemon,
    mark: &Value,
    change: impl Future<Output = ()>,
) -> (Value, Duration) {
    let changing = async {
        change.await;
        Instant::now()
    };
    let body = beat(mark, 20);
    let ((status, told), changed) = tokio::join!(send(daemon, &body), changing);
    assert_eq!(status, StatusCode::OK, "{told}");
    (told, changed.elapsed())
}

async fn suspend(admin: &Session, name: &str) {
    let (status, body) = admin.put(&format!("/users/{name}/status/suspend"), &Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_a_token_wakes_the_daemons() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    let member = app.user("mia", &[]).await;
    let user_id = member.get("/users/me").await.1["id"].clone();
    let mut after = mark(&app, &daemon).await;
    for what in ["delete", "expire", "logout", "suspend", "activate"] {
        let token = app.login("mia@example.com", crate::app::OWNER_PASSWORD).await;
        let id = token.token.split_once('-').unwrap().0.to_owned();
        let path = format!("/users/me/keys/{id}");
        let (told, took) = news(&daemon, &after, async {
            match what {
                "delete" => assert_eq!(token.delete(&path).await.0, StatusCode::NO_CONTENT),
                "expire" => {
                    let (status, _) = token.put(&format!("{path}/expire"), &Value::Null).await;
                    assert_eq!(status, StatusCode::NO_CONTENT);
                }
                "logout" => {
                    assert_eq!(token.post("/users/logout", &Value::Null).await.0, StatusCode::OK);
                }
                "suspend" => suspend(&owner, "mia").await,
                _ => {
                    let path = "/users/mia/status/activate";
                    assert_eq!(owner.put(path, &Value::Null).await.0, StatusCode::OK);
                }
            }
        })
        .await;
        assert!(took < Duration::from_secs(1), "{what}: {took:?}");
        let expected = match what {
            "suspend" | "activate" => json!([{ "user": user_id }]),
            _ => json!([{ "api_key": id }]),
        };
        assert_eq!((&told["all"], &told["revoked"]), (&json!(false), &expected), "{what}");
        after = told["mark"].clone();
        if what == "suspend" {
            // Nobody signs in until the account is active again, so the next round uses what it has.
            let activated = owner.put("/users/mia/status/activate", &Value::Null).await.0;
            assert_eq!(activated, StatusCode::OK);
            let (_, more) = send(&daemon, &beat(&after, 20)).await;
            assert_eq!(more["revoked"], json!([{ "user": user_id }]));
            after = more["mark"].clone();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_missed_something_is_told_so() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    let after = mark(&app, &daemon).await;
    let foreign = json!({ "epoch": REPLICA, "seq": after["seq"] });
    let ahead = json!({ "epoch": after["epoch"], "seq": 1_000 });
    for unknown in [Value::Null, foreign, ahead] {
        let begun = Instant::now();
        let (_, told) = send(&daemon, &beat(&unknown, 20)).await;
        assert_eq!((&told["all"], &told["mark"]), (&json!(true), &after));
        assert!(begun.elapsed() < Duration::from_secs(10), "it is told at once");
    }
    // A payload that nobody understands voids everything.
    let (told, _) = news(&daemon, &after, async {
        app.db.sql("NOTIFY credentials_changed").await.unwrap();
    })
    .await;
    assert_eq!((&told["all"], &told["revoked"]), (&json!(true), &json!([])));

    let ids = [owner.token("a").await, owner.token("b").await]
        .map(|token| token.token.split_once('-').unwrap().0.to_owned());
    for id in &ids {
        owner.delete(&format!("/users/me/keys/{id}")).await;
    }
    eventually("both are told, in order, however often one asks", async || {
        let (_, told) = send(&daemon, &beat(&told["mark"], 0)).await;
        told["revoked"] == json!([{ "api_key": ids[0] }, { "api_key": ids[1] }])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_may_ask_any_process_of_the_deployment() {
    let (app, owner) = TestApp::new().await;
    let here = daemon(&app, &owner).await;
    mark(&app, &here).await;
    let before = owner.token("before").await.token;
    owner.delete(&format!("/users/me/keys/{}", before.split_once('-').unwrap().0)).await;
    let twin = app.twin().await;
    let there = Daemon { url: twin.url.clone(), ..here.clone() };
    eventually("both know a place in common", async || {
        let (_, told) = send(&here, &beat(&Value::Null, 0)).await;
        send(&there, &beat(&told["mark"], 0)).await.1["all"] == json!(false)
    })
    .await;
    let mut after = mark(&app, &here).await;
    for n in 0..6 {
        let token = owner.token(&format!("t{n}")).await.token;
        let id = token.split_once('-').unwrap().0;
        let asked = if n % 2 == 0 { &there } else { &here };
        let (told, took) = news(asked, &after, async {
            owner.delete(&format!("/users/me/keys/{id}")).await;
        })
        .await;
        assert!(took < Duration::from_secs(1), "{n}: {took:?}");
        assert_eq!((&told["all"], &told["revoked"]), (&json!(false), &json!([{ "api_key": id }])));
        after = told["mark"].clone();
    }
}

/// As long as a process hears nothing, a daemon has to ask it about everybody, and what it asks is answered from the
/// database.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_hears_of_no_revocations_lets_daemons_believe_nothing() {
    let db = TestDb::new().await;
    let (relay, url) = db.relayed().await.unwrap();
    let app = TestApp::over(db, Keyring::empty(), |base| base.database_url = url).await;
    let owner = app.first_user().await;
    let daemon = daemon(&app, &owner).await;
    let token = app.user("mia", &[]).await.token("claude").await.token;
    let twin = app.twin().await;
    let elsewhere = Session::at(&twin.url, &owner);
    let mut after = mark(&app, &daemon).await;

    relay.fall_silent();
    let (told, took) = news(&daemon, &after, suspend(&elsewhere, "mia")).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!((&told["all"], &told["revoked"]), (&json!(true), &json!([])));
    let resolve = daemon.request(Method::POST, "/resolve").json(&json!({ "token": token }));
    let (_, resolved) = read(resolve.send().await.unwrap()).await;
    assert_eq!(resolved, json!({ "outcome": "refused", "reason": "credential" }));
    after = told["mark"].clone();
    for _ in 0..2 {
        let begun = Instant::now();
        let (_, told) = send(&daemon, &beat(&after, 20)).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(told["all"], json!(true));
        after = told["mark"].clone();
    }

    relay.carry_again();
    let after = mark(&app, &daemon).await;
    let activate = async {
        let path = "/users/mia/status/activate";
        assert_eq!(elsewhere.put(path, &Value::Null).await.0, StatusCode::OK);
    };
    let (told, took) = news(&daemon, &after, activate).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!((&told["all"], told["revoked"].as_array().unwrap().len()), (&json!(false), 1));
}

/// Nobody could say who is who: to the daemon that is the same as if there were no process.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_a_process_is_away_for_daemons() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    let after = mark(&app, &daemon).await;
    let body = beat(&after, 20);
    let (outage, (status, told)) = tokio::join!(Outage::begin(&app.db), send(&daemon, &body));
    let begun = Instant::now();
    // Whoever looks while connections are being cut may find one that still works, and believes nothing either.
    if status == StatusCode::OK {
        assert_eq!(told["all"], json!(true));
    }
    let (status, told) = send(&daemon, &body).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{told}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    outage.unwrap().end().await.unwrap();
    eventually("the daemon is answered again", async || {
        send(&daemon, &beat(&after, 0)).await.0 == StatusCode::OK
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_tell_is_told_in_the_end() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    let after = mark(&app, &daemon).await;
    let begun = Instant::now();
    let (status, told) = send(&daemon, &beat(&after, 1)).await;
    assert_eq!(status, StatusCode::OK);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(told, json!({ "mark": after, "all": false, "revoked": [] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_key_ends_the_wait() {
    let (app, owner) = TestApp::new().await;
    let (id, key) = create(&owner, "deleted").await;
    let daemon = Daemon::new(&app, &key);
    let after = mark(&app, &daemon).await;
    let deleting = async {
        owner.delete(&format!("/ai-gateway/keys/{id}")).await;
        Instant::now()
    };
    let body = beat(&after, 20);
    let ((status, told), deleted) = tokio::join!(send(&daemon, &body), deleting);
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{told}");
    assert!(deleted.elapsed() < Duration::from_secs(1), "{:?}", deleted.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_daemons_tell_shows_in_the_metrics() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    send(&daemon, &beat(&Value::Null, 0)).await;
    let text = app.app.measured();
    for line in [
        "coder_ai_gateway_daemons 1",
        "coder_ai_gateway_daemon_spool_records 7",
        "coder_ai_gateway_daemon_spool_bytes 700",
        "coder_ai_gateway_daemon_spool_oldest_seconds 3",
        "coder_ai_gateway_daemon_records_lost 0",
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line} is missing in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_names_the_field() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    let good = beat(&Value::Null, 0);
    let with = |pointer: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    for (body, field) in [
        (with("/replica", json!("me")), "replica"),
        (with("/build", json!(7)), "build"),
        (with("/spool/records", json!(-1)), "spool.records"),
        (with("/spool", Value::Null), "spool"),
        (with("/wait_seconds", json!("soon")), "wait_seconds"),
        (with("/after", json!({ "epoch": REPLICA })), "after: missing field `seq`"),
        (json!({}), "missing field `replica`"),
    ] {
        let (status, answer) = send(&daemon, &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {answer}");
        assert!(answer["detail"].as_str().unwrap().starts_with(field), "{field}: {answer}");
    }
    let long = json!("v".repeat(129));
    for (body, field) in
        [(with("/wait_seconds", json!(61)), "wait_seconds"), (with("/build", long), "build")]
    {
        let (status, answer) = send(&daemon, &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert_eq!(answer["validations"][0]["field"], field);
    }
}
