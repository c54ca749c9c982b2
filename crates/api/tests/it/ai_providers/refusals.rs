//! What is refused, with which words, and that nothing happened.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{PATH, audit, create, details, openai, with};
use crate::app::{Session, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_provider_must_keep_every_rule() {
    let (app, owner) = TestApp::new().await;
    let bedrock = json!({ "_type": "bedrock", "_version": 1, "region": "us-east-1" });
    let credentials =
        with(bedrock.clone(), &json!({ "access_key": "AK", "access_key_secret": "SK" }));
    let lots: Vec<String> = (0..6).map(|n| format!("sk-{n}")).collect();
    for (more, field, detail) in [
        (json!({ "type": "" }), "type", "must be one of openai, "),
        (json!({ "type": "mystery" }), "type", "must be one of openai, "),
        (json!({ "name": "" }), "name", "is required"),
        (json!({ "name": "Open AI" }), "name", "must match ^[a-z0-9]+(-[a-z0-9]+)*$"),
        (json!({ "name": "proxy" }), "name", "\"proxy\" is reserved"),
        (json!({ "name": "interceptions" }), "name", "\"interceptions\" is reserved"),
        (json!({ "display_name": " a" }), "display_name", "white space"),
        (json!({ "icon": "a b" }), "icon", "no white space"),
        (json!({ "base_url": "" }), "base_url", "is required"),
        (
            json!({ "base_url": "api.openai.com" }),
            "base_url",
            "must be an absolute URL with scheme http or https",
        ),
        (json!({ "base_url": "ftp://x/" }), "base_url", "must be an absolute URL"),
        (
            json!({ "base_url": "https://x/?a=1" }),
            "base_url",
            "must not contain a query or fragment",
        ),
        (
            json!({ "base_url": "https://u:planted@x/" }),
            "base_url",
            "must not contain a user or password",
        ),
        (json!({ "api_keys": [""] }), "api_keys[0]", "must not be empty"),
        (
            json!({ "api_keys": ["a", " planted"] }),
            "api_keys[1]",
            "leading or trailing white space",
        ),
        (json!({ "api_keys": ["plän-planted"] }), "api_keys[0]", "printable ASCII"),
        (json!({ "api_keys": ["planted", "b", "planted"] }), "api_keys[2]", "duplicate key"),
        (json!({ "api_keys": lots }), "api_keys", "too many keys (6), maximum is 5"),
        (
            json!({ "type": "copilot", "api_keys": ["planted"] }),
            "api_keys",
            "type=copilot does not accept api_keys",
        ),
        (
            json!({ "type": "bedrock", "api_keys": ["planted"], "settings": bedrock }),
            "api_keys",
            "type=bedrock does not accept api_keys",
        ),
        (json!({ "type": "bedrock" }), "settings", "type=bedrock requires bedrock settings"),
        (
            json!({ "settings": bedrock }),
            "settings",
            "bedrock settings are only valid for type=anthropic or type=bedrock",
        ),
        (json!({ "settings": {} }), "settings", "_type is required"),
        (
            json!({ "settings": { "_type": "planted", "_version": 1 } }),
            "settings",
            "_type is not known",
        ),
        (
            json!({ "settings": { "_type": "bedrock", "_version": 2 } }),
            "settings",
            "_version is not supported",
        ),
        (json!({ "settings": "planted" }), "settings", "must be null or an object"),
        (
            json!({ "type": "anthropic", "api_keys": ["planted"], "settings": credentials }),
            "settings",
            "mutually exclusive",
        ),
        (
            json!({ "type": "bedrock", "settings": with(bedrock.clone(), &json!({ "access_key": "planted" })) }),
            "settings",
            "belong together",
        ),
        (
            json!({ "type": "bedrock", "settings": with(bedrock.clone(), &json!({ "region": "u s" })) }),
            "settings.region",
            "AWS region",
        ),
    ] {
        let (status, answer) = owner.post(PATH, &with(openai("fine"), &more)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{more}: {answer}");
        assert_eq!(answer["message"], "Validation failed.");
        let broken = details(&answer);
        assert!(
            broken.len() == 1 && broken[0].0 == field && broken[0].1.contains(detail),
            "{more}: {broken:?}"
        );
        assert!(!answer.to_string().contains("planted"), "{answer}");
    }
    assert!(audit(&app).await.is_empty());
    assert_eq!(owner.get(PATH).await.1, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_broken_rules_are_told_at_once_and_a_misfit_without_its_value() {
    let (app, owner) = TestApp::new().await;
    let (_, answer) = owner.post(PATH, &json!({})).await;
    let fields: Vec<_> = details(&answer).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["type", "name", "base_url"]);
    for (more, place) in [
        (json!({ "api_keys": "sk-planted" }), "at line 1 column "),
        (json!({ "enabled": "sk-planted" }), "at line 1 column "),
    ] {
        let (status, answer) = owner.post(PATH, &with(openai("x"), &more)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(answer["detail"].to_string().contains(place), "{answer}");
        assert!(!answer.to_string().contains("planted"), "{answer}");
    }
    assert!(audit(&app).await.is_empty());
}

/// A provider `one` with the key `planted-1`, and one each of the types with rules of their own.
async fn one_of_each() -> (TestApp, Session, Value) {
    let (app, owner) = TestApp::new().await;
    let made = create(&owner, &with(openai("one"), &json!({ "api_keys": ["planted-1"] }))).await;
    let bedrock = json!({ "_type": "bedrock", "_version": 1, "region": "us-east-1" });
    for (kind, settings) in
        [("copilot", &Value::Null), ("anthropic", &Value::Null), ("bedrock", &bedrock)]
    {
        let more = json!({ "type": kind, "settings": settings });
        create(&owner, &with(openai(kind), &more)).await;
    }
    (app, owner, made)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_must_make_sense() {
    let (app, owner, made) = one_of_each().await;
    let other = create(&owner, &with(openai("two"), &json!({ "api_keys": ["planted-2"] }))).await;
    let (key, foreign) = (&made["api_keys"][0]["id"], &other["api_keys"][0]["id"]);
    let recorded = audit(&app).await.len();

    for (name, change, message) in [
        ("one", json!({}), "At least one field must be provided."),
        ("one", json!({ "name": "x" }), "At least one field must be provided."),
        (
            "one",
            json!({ "api_keys": [{ "id": foreign }] }),
            "api_keys references an unknown id for this provider",
        ),
        (
            "one",
            json!({ "api_keys": [{ "id": key }, { "id": key }] }),
            "api_keys references the same id more than once",
        ),
        (
            "copilot",
            json!({ "api_keys": [{ "api_key": "planted" }] }),
            "Copilot providers do not accept api_keys; they authenticate via request-time GitHub OAuth tokens.",
        ),
        (
            "bedrock",
            json!({ "api_keys": [{ "api_key": "planted" }] }),
            "Bedrock providers do not accept api_keys; they authenticate via AWS credentials.",
        ),
    ] {
        let (status, answer) = owner.patch(&format!("{PATH}/{name}"), &change).await;
        assert_eq!(
            (status, &answer["message"]),
            (StatusCode::BAD_REQUEST, &json!(message)),
            "{change}"
        );
    }
    assert_eq!(owner.get("/ai/providers/one").await.1, made);
    assert_eq!(audit(&app).await.len(), recorded, "no trace of what was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_told_which_field_is_wrong() {
    let (app, owner, made) = one_of_each().await;
    let bedrock = json!({ "_type": "bedrock", "_version": 1, "region": "us-east-1" });
    let key = &made["api_keys"][0]["id"];
    let recorded = audit(&app).await.len();
    let five: Vec<Value> = (0..5).map(|n| json!({ "api_key": format!("sk-{n}") })).collect();
    let six: Vec<Value> = five.iter().cloned().chain([json!({ "id": key })]).collect();
    for (name, change, field, detail) in [
        ("one", json!({ "base_url": "nonsense" }), "base_url", "must be an absolute URL"),
        ("one", json!({ "display_name": "a ".repeat(70) }), "display_name", "128"),
        ("one", json!({ "api_keys": [{}] }), "api_keys[0]", "must have either id or api_key"),
        (
            "one",
            json!({ "api_keys": [{ "id": key, "api_key": "planted" }] }),
            "api_keys[0]",
            "must have either id or api_key",
        ),
        (
            "one",
            json!({ "api_keys": [{ "id": key }, { "api_key": "planted-1" }] }),
            "api_keys[1]",
            "duplicate key",
        ),
        ("one", json!({ "api_keys": [{ "api_key": "planted " }] }), "api_keys[0]", "white space"),
        ("one", json!({ "api_keys": six }), "api_keys", "too many keys (6), maximum is 5"),
        ("one", json!({ "settings": bedrock }), "settings", "bedrock settings are only valid for"),
        (
            "bedrock",
            json!({ "settings": null }),
            "settings",
            "type=bedrock requires bedrock settings",
        ),
        (
            "bedrock",
            json!({ "settings": { "_type": "wif", "_version": 1 } }),
            "settings",
            "_type is not known",
        ),
        (
            "anthropic",
            json!({
                "settings": with(bedrock.clone(), &json!({ "access_key": "AK", "access_key_secret": "planted" })),
                "api_keys": [{ "api_key": "planted" }],
            }),
            "settings",
            "mutually exclusive",
        ),
    ] {
        let (status, answer) = owner.patch(&format!("{PATH}/{name}"), &change).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{change}: {answer}");
        let broken = details(&answer);
        assert!(
            broken.len() == 1 && broken[0].0 == field && broken[0].1.contains(detail),
            "{change}: {broken:?}"
        );
        assert!(!answer.to_string().contains("planted"), "{answer}");
    }
    assert_eq!(owner.get("/ai/providers/one").await.1, made);
    assert_eq!(audit(&app).await.len(), recorded, "no trace of what was refused");
    assert_eq!(
        owner.patch("/ai/providers/one", &json!({ "api_keys": five })).await.0,
        StatusCode::OK,
        "five are fine once the old one is gone"
    );
}
