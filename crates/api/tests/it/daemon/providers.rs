use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Daemon, daemon, eventually, read};
use crate::app::{Session, TestApp};
use crate::gateway_keys::create;

async fn ask(daemon: &Daemon, query: &str) -> (StatusCode, Value) {
    let path = format!("/providers{query}");
    read(daemon.request(Method::GET, &path).send().await.unwrap()).await
}

async fn add(owner: &Session, name: &str) {
    let body = json!({
        "type": "openai", "name": name, "base_url": "https://api.example.com/v1/",
        "api_keys": ["sk-first-0123456789", "sk-second-0123456789"],
    });
    let (status, answer) = owner.post("/ai/providers", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_set_is_told_whole_with_its_keys() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    let (status, none) = ask(&daemon, "").await;
    assert_eq!((status, &none["providers"]), (StatusCode::OK, &json!([])));
    add(&owner, "one").await;
    let after = format!("?after={}", none["version"].as_str().unwrap());
    let (status, set) = ask(&daemon, &after).await;
    assert_eq!(status, StatusCode::OK);
    let (_, row) = owner.get("/ai/providers/one").await;
    let expected = json!([{
        "id": row["id"], "type": "openai", "name": "one", "enabled": true,
        "base_url": "https://api.example.com/v1/",
        "keys": { "open": ["sk-first-0123456789", "sk-second-0123456789"] },
    }]);
    assert_eq!(set["providers"], expected);
    assert!(!set["version"].as_str().unwrap().contains("sk-"));

    let response = daemon.request(Method::GET, "/providers").send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
    // A new start of the server, or another one, gives the same set the same name.
    let twin = app.twin().await;
    let (_, seen) = ask(&Daemon { url: twin.url.clone(), ..daemon.clone() }, "").await;
    assert_eq!(seen, set);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_hears_of_a_change_at_once_and_of_nothing_in_the_end() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    let (_, set) = ask(&daemon, "").await;
    let mut version = set["version"].as_str().unwrap().to_owned();

    let begun = Instant::now();
    let (status, body) = ask(&daemon, &format!("?after={version}&wait_seconds=1")).await;
    assert_eq!((status, body), (StatusCode::NO_CONTENT, json!("")));
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let (status, _) = ask(&daemon, &format!("?after={version}&wait_seconds=0")).await;
    assert_eq!(status, StatusCode::NO_CONTENT);

    for change in ["create", "disable", "enable", "delete"] {
        let query = format!("?after={version}&wait_seconds=20");
        let changing = async {
            match change {
                "create" => add(&owner, "one").await,
                "delete" => {
                    owner.delete("/ai/providers/one").await;
                }
                state => {
                    let enabled = json!({ "enabled": state == "enable" });
                    let (status, body) = owner.patch("/ai/providers/one", &enabled).await;
                    assert_eq!(status, StatusCode::OK, "{body}");
                }
            }
            Instant::now()
        };
        // Three daemons wait; one read of the database is for all of them.
        let (first, second, third, changed) = tokio::join!(
            ask(&daemon, &query),
            ask(&daemon, &query),
            ask(&daemon, &query),
            changing
        );
        assert!(changed.elapsed() < Duration::from_secs(1), "{change}: {:?}", changed.elapsed());
        assert_eq!((first.0, &first.1), (StatusCode::OK, &second.1), "{change}");
        assert_eq!(first, third, "{change}");
        version = first.1["version"].as_str().unwrap().to_owned();
    }
    assert_eq!(version, set["version"], "the same set has the same name again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_says_so_beside_the_others() {
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into();
    let app = TestApp::with_keys(crypt::Keyring::from_base64(&[key]).unwrap()).await;
    let owner = app.first_user().await;
    let daemon = daemon(&app, &owner).await;
    add(&owner, "broken").await;
    add(&owner, "sound").await;
    app.db
        .sql(
            "UPDATE ai_provider_keys SET api_key = 'v1:' || repeat('A', 80)
              WHERE provider_id = (SELECT id FROM ai_providers WHERE name = 'broken');
             NOTIFY ai_providers_changed",
        )
        .await
        .unwrap();
    eventually("the broken row is told", async || {
        let (_, set) = ask(&daemon, "").await;
        let told = set["providers"][0]["keys"]["error"].as_str();
        told.is_some_and(|why| why.starts_with("api_keys:"))
            && set["providers"][1]["keys"]["open"].as_array().is_some_and(|keys| keys.len() == 2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_beyond_reason_is_refused_by_its_name() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    for value in ["61", "-1", "soon", "4294967296"] {
        let (status, body) = ask(&daemon, &format!("?wait_seconds={value}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{value}");
        assert_eq!(body["validations"][0]["field"], "wait_seconds", "{value}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_key_ends_the_wait() {
    let (app, owner) = TestApp::new().await;
    let (id, key) = create(&owner, "deleted").await;
    let deleted = Daemon::new(&app, &key);
    let other = daemon(&app, &owner).await;
    let (_, set) = ask(&deleted, "").await;
    let query = format!("?after={}&wait_seconds=3", set["version"].as_str().unwrap());
    let deleting = async {
        owner.delete(&format!("/ai-gateway/keys/{id}")).await;
        Instant::now()
    };
    let ended = async {
        let refused = ask(&deleted, &query).await;
        (refused, Instant::now())
    };
    let ((refused, at), goes_on, told) = tokio::join!(ended, ask(&other, &query), deleting);
    assert_eq!(refused.0, StatusCode::UNAUTHORIZED, "{}", refused.1);
    assert!(at.saturating_duration_since(told) < Duration::from_secs(1));
    assert_eq!(goes_on.0, StatusCode::NO_CONTENT, "another key's wait goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_lets_go_of_who_waits() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    let (_, set) = ask(&daemon, "").await;
    let query = format!("?after={}&wait_seconds=60", set["version"].as_str().unwrap());
    let begun = Instant::now();
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        app.begin_stop();
    };
    let ((status, _), ()) = tokio::join!(ask(&daemon, &query), stopping);
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
