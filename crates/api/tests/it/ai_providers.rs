mod refusals;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use stdx::Secret;

use crate::app::{Session, TestApp};

const PATH: &str = "/ai/providers";
/// Bytes 0 to 31.
const ENCRYPTION_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn openai(name: &str) -> Value {
    json!({ "type": "openai", "name": name, "base_url": "https://api.openai.com/v1/" })
}

fn with(mut body: Value, more: &Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn create(owner: &Session, body: &Value) -> Value {
    let (status, answer) = owner.post(PATH, body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer
}

fn details(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let broken = answer["validations"].as_array().into_iter().flatten();
    broken.map(|one| (text(&one["field"]), text(&one["detail"]))).collect()
}

/// Action, kind, target, diff and additional fields of the audit rows about providers, in order.
async fn audit(app: &TestApp) -> Vec<(String, String, String, Value, Value)> {
    let rows = app
        .db
        .sql(
            "SELECT action, resource_type, resource_target, diff, additional_fields FROM audit_logs
              WHERE resource_type LIKE 'ai_provider%' ORDER BY time, resource_type, id",
        )
        .await
        .unwrap();
    let parse = |text: &Option<String>| serde_json::from_str(text.as_ref().unwrap()).unwrap();
    let text = |text: &Option<String>| text.clone().unwrap();
    rows.iter()
        .map(|row| (text(&row[0]), text(&row[1]), text(&row[2]), parse(&row[3]), parse(&row[4])))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_owners_see_and_change_providers() {
    let (app, owner) = TestApp::new().await;
    create(&owner, &openai("first")).await;
    for (role, session, statuses) in [
        ("user-admin", app.user("una", &["user-admin"]).await, [403, 403, 403, 403, 403, 403]),
        ("auditor", app.user("audrey", &["auditor"]).await, [403, 403, 403, 403, 403, 403]),
        ("member", app.user("mia", &[]).await, [403, 403, 403, 403, 403, 403]),
        ("anonymous", app.anonymous(), [401, 401, 401, 401, 401, 401]),
        ("owner", owner.clone(), [200, 200, 404, 201, 200, 204]),
    ] {
        let seen = [
            session.get(PATH).await,
            session.get("/ai/providers/first").await,
            session.get("/ai/providers/unknown").await,
            session.post(PATH, &openai("second")).await,
            session.patch("/ai/providers/first", &json!({ "enabled": false })).await,
            session.delete("/ai/providers/first").await,
        ];
        let found = seen.each_ref().map(|(status, _)| status.as_u16());
        assert_eq!(found, statuses, "{role}: {seen:?}");
    }
    let names: Vec<_> = audit(&app).await.into_iter().map(|row| (row.0, row.2)).collect();
    let row = |action: &str, name: &str| (action.to_owned(), name.to_owned());
    assert_eq!(
        names,
        [
            row("create", "first"),
            row("create", "second"),
            row("write", "first"),
            row("delete", "first")
        ],
        "one row per change, none for a refusal"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_shown_by_id_and_name_without_its_secrets() {
    let (_app, owner) = TestApp::new().await;
    let made = create(
        &owner,
        &with(
            openai("open-ai"),
            &json!({ "api_keys": ["sk-planted-1-0123456789", "sk-planted-2-0123456789"] }),
        ),
    )
    .await;
    assert_eq!(made["type"], "openai");
    assert_eq!(made["display_name"], "open-ai", "the name when none was given");
    assert_eq!((&made["enabled"], &made["settings"]), (&json!(true), &Value::Null));
    assert_eq!(made["api_keys"][0]["masked"], "sk-p...6789");
    let made_at = |place: usize| -> sdk::Timestamp {
        serde_json::from_value(made["api_keys"][place]["created_at"].clone()).unwrap()
    };
    assert!(made_at(0) < made_at(1));
    let id = made["id"].as_str().unwrap();
    for path in [format!("{PATH}/{id}"), format!("{PATH}/open-ai")] {
        assert_eq!(owner.get(&path).await, (StatusCode::OK, made.clone()));
    }
    assert_eq!(owner.get(PATH).await, (StatusCode::OK, json!([made])));
    assert!(!made.to_string().contains("planted"), "{made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_names_nothing_is_told_apart_from_one_that_cannot() {
    let (_app, owner) = TestApp::new().await;
    for (name, status) in [
        ("unknown", StatusCode::NOT_FOUND),
        ("5e1f2b5e-2c6a-4a7e-9d61-0c5b8f8a1d11", StatusCode::NOT_FOUND),
        ("Not%20a%20name", StatusCode::BAD_REQUEST),
        ("a--b", StatusCode::BAD_REQUEST),
    ] {
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            let request = owner.request(method.clone(), &format!("{PATH}/{name}"));
            let response = request.json(&json!({ "enabled": true })).send().await.unwrap();
            assert_eq!(response.status(), status, "{method} {name}");
            let answer: Value = response.json().await.unwrap();
            let message = answer["message"].as_str().unwrap();
            if status == StatusCode::BAD_REQUEST {
                assert!(
                    message.starts_with("Invalid provider id or name: must be a UUID or match "),
                    "{message}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_taken_until_its_provider_is_deleted() {
    let (app, owner) = TestApp::new().await;
    create(&owner, &openai("taken")).await;
    let (status, answer) = owner.post(PATH, &openai("taken")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(answer["message"], "AI provider \"taken\" already exists.");
    assert_eq!(details(&answer)[0].0, "name");
    assert_eq!(owner.delete("/ai/providers/taken").await.0, StatusCode::NO_CONTENT);
    assert_eq!(owner.get("/ai/providers/taken").await.0, StatusCode::NOT_FOUND);
    assert_eq!(owner.delete("/ai/providers/taken").await.0, StatusCode::NOT_FOUND);
    create(&owner, &openai("taken")).await;
    let rows = app.db.sql("SELECT deleted FROM ai_providers ORDER BY created_at").await.unwrap();
    assert_eq!(
        rows,
        [[Some("t".to_owned())], [Some("f".to_owned())]],
        "the old row stays for history"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_works_without_keys() {
    let (_app, owner) = TestApp::new().await;
    for kind in [
        "openai",
        "anthropic",
        "azure",
        "google",
        "openai-compat",
        "openrouter",
        "vercel",
        "copilot",
    ] {
        let body = json!({ "type": kind, "name": kind, "base_url": "https://host.example/v1" });
        assert_eq!(create(&owner, &body).await["api_keys"], json!([]), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_leaves_alone_what_it_does_not_name() {
    let (app, owner) = TestApp::new().await;
    let path = "/ai/providers/one";
    let made = create(
        &owner,
        &with(
            openai("one"),
            &json!({ "display_name": "One", "icon": "/one.svg", "api_keys": ["sk-0123456789"] }),
        ),
    )
    .await;
    for (change, field, want) in [
        (json!({ "display_name": "Uno" }), "display_name", json!("Uno")),
        (json!({ "enabled": false }), "enabled", json!(false)),
        (
            json!({ "base_url": "http://127.0.0.1:1/v1" }),
            "base_url",
            json!("http://127.0.0.1:1/v1"),
        ),
        (json!({ "icon": "" }), "icon", json!("")),
        (json!({ "display_name": "" }), "display_name", json!("one")),
        (json!({ "type": "anthropic", "name": "two", "enabled": true }), "name", json!("one")),
    ] {
        let (status, answer) = owner.patch(path, &change).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer[field], want, "{change}");
        assert_eq!((&answer["type"], &answer["api_keys"]), (&made["type"], &made["api_keys"]));
    }
    let rows = audit(&app).await;
    let last = rows.last().unwrap();
    assert_eq!(last.0, "write");
    assert_eq!(last.3["enabled"], json!({ "old": false, "new": true, "secret": false }));
    assert_eq!(last.4, json!({}), "nothing about keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_changed_is_recorded() {
    let (app, owner) = TestApp::new().await;
    let settings = json!({ "_type": "bedrock", "_version": 1, "region": "us-east-1" });
    let more = json!({ "type": "bedrock", "settings": settings });
    create(&owner, &with(openai("one"), &more)).await;
    let change = json!({ "enabled": false, "settings": settings });
    for _ in 0..2 {
        let (status, answer) = owner.patch("/ai/providers/one", &change).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let rows = audit(&app).await;
    assert_eq!(rows.len(), 2, "the second change changed nothing: {rows:?}");
    assert_eq!(rows[1].3, json!({ "enabled": { "old": true, "new": false, "secret": false } }));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_the_same_time_do_not_undo_each_other() {
    let (_app, owner) = TestApp::new().await;
    create(&owner, &openai("one")).await;
    let path = "/ai/providers/one";
    for round in 0..5 {
        let (name, url) = (format!("Name {round}"), format!("https://host-{round}.example/"));
        let (name_change, url_change) =
            (json!({ "display_name": name }), json!({ "base_url": url }));
        let (a, b) = tokio::join!(owner.patch(path, &name_change), owner.patch(path, &url_change));
        assert_eq!((a.0, b.0), (StatusCode::OK, StatusCode::OK), "{a:?} {b:?}");
        let (_, now) = owner.get(path).await;
        assert_eq!((&now["display_name"], &now["base_url"]), (&json!(name), &json!(url)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_keys_is_what_there_is_afterwards() {
    let (app, owner) = TestApp::new().await;
    let path = "/ai/providers/one";
    let keys = json!({ "api_keys": ["sk-a-0123456789", "sk-b-0123456789", "sk-c-0123456789"] });
    let made = create(&owner, &with(openai("one"), &keys)).await;
    let provider = made["id"].as_str().unwrap();
    let id = |place: usize| made["api_keys"][place]["id"].clone();
    let rows = audit(&app).await;
    assert_eq!(rows.len(), 4, "the provider and three keys");
    assert_eq!(rows[0].4["added"][2], json!({ "id": id(2), "masked": "sk...89" }));
    assert_eq!((&rows[0].4["removed"], &rows[0].4["kept"]), (&json!([]), &json!(0)));
    for row in &rows[1..] {
        assert_eq!(
            (row.0.as_str(), row.1.as_str(), row.2.as_str()),
            ("create", "ai_provider_key", provider)
        );
        assert_eq!(row.4, json!({ "masked": "sk...89" }));
        assert_eq!(row.3["api_key"], json!({ "old": "", "new": "", "secret": true }));
    }

    let wanted =
        json!({ "api_keys": [{ "api_key": "sk-d-0123456789" }, { "id": id(2) }, { "id": id(0) }] });
    let (status, answer) = owner.patch(path, &wanted).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let found: Vec<_> =
        answer["api_keys"].as_array().unwrap().iter().map(|key| key["id"].clone()).collect();
    assert_eq!(found[..2], [id(0), id(2)], "the oldest first, whatever the order of the request");
    assert_eq!(owner.get(path).await.1["api_keys"], answer["api_keys"]);
    let rows = audit(&app).await;
    assert_eq!(rows.len(), 7, "the provider, one key gone, one key new");
    let told = &rows[4];
    assert_eq!(told.0, "write");
    assert_eq!(told.4["added"], json!([{ "id": found[2], "masked": "sk...89" }]));
    assert_eq!(told.4["removed"], json!([{ "id": id(1), "masked": "sk...89" }]));
    assert_eq!(told.4["kept"], 2);
    let mut actions: Vec<_> = rows[5..].iter().map(|row| row.0.as_str()).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["create", "delete"]);

    let (_, answer) = owner.patch(path, &json!({ "api_keys": [] })).await;
    assert_eq!(answer["api_keys"], json!([]));
    assert_eq!(audit(&app).await.len(), 11);
    assert!(!format!("{:?}", audit(&app).await).contains("0123456"), "never a key");
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_settings_are_written_kept_and_cleared_but_never_read() {
    let (app, owner) = TestApp::new().await;
    let bedrock = json!({
        "_type": "bedrock", "_version": 1, "region": "us-east-1",
        "access_key": "AKplanted", "access_key_secret": "SKplanted",
    });
    let body = json!({ "type": "bedrock", "name": "aws", "base_url": "https://x.example", "settings": bedrock });
    let stored = async || {
        let rows = app.db.sql("SELECT settings FROM ai_providers").await.unwrap();
        rows[0][0].as_ref().map(|text| serde_json::from_str::<Value>(text).unwrap())
    };
    let made = create(&owner, &body).await;
    assert_eq!(
        made["settings"],
        json!({ "_type": "bedrock", "_version": 1, "region": "us-east-1" })
    );
    assert_eq!(stored().await, Some(bedrock));

    let settings =
        json!({ "_type": "bedrock", "_version": 1, "region": "eu-west-1", "model": "m" });
    let (status, answer) = owner.patch("/ai/providers/aws", &json!({ "settings": settings })).await;
    assert_eq!((status, &answer["settings"]), (StatusCode::OK, &settings));
    assert_eq!(
        stored().await,
        Some(with(
            settings.clone(),
            &json!({ "access_key": "AKplanted", "access_key_secret": "SKplanted" })
        )),
        "absent secrets stay"
    );
    let cleared = with(settings.clone(), &json!({ "access_key": "", "access_key_secret": "" }));
    assert_eq!(
        owner.patch("/ai/providers/aws", &json!({ "settings": cleared })).await.0,
        StatusCode::OK
    );
    assert_eq!(stored().await, Some(settings), "empty ones go");
    let rows = audit(&app).await;
    assert_eq!(rows[1].3["settings"], json!({ "old": "", "new": "", "secret": true }));
    assert!(!format!("{rows:?}").contains("planted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropic_with_a_key_keeps_no_bedrock_description() {
    let (app, owner) = TestApp::new().await;
    let bedrock = json!({ "_type": "bedrock", "_version": 1, "region": "us-east-1" });
    let body = json!({ "type": "anthropic", "name": "a", "base_url": "https://x.example", "settings": bedrock });
    let keyed = with(body.clone(), &json!({ "name": "b", "api_keys": ["sk-0123456789"] }));
    assert_eq!(create(&owner, &body).await["settings"], bedrock);
    assert_eq!(create(&owner, &keyed).await["settings"], Value::Null);
    let rows =
        app.db.sql("SELECT settings IS NULL FROM ai_providers WHERE name = 'b'").await.unwrap();
    assert_eq!(rows[0][0].as_deref(), Some("t"), "null, not an encrypted null");
    let (_, answer) = owner.patch("/ai/providers/a", &json!({ "settings": null })).await;
    assert_eq!(answer["settings"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_encryption_key_secrets_are_ciphertext_at_rest() {
    for (keyring, encrypted) in [
        (crypt::Keyring::empty(), false),
        (crypt::Keyring::from_base64(&[Secret::from(ENCRYPTION_KEY)]).unwrap(), true),
    ] {
        let app = TestApp::with_keys(keyring).await;
        let owner = app.first_user().await;
        create(&owner, &with(openai("o"), &json!({ "api_keys": ["sk-planted-0123456789"] }))).await;
        create(
            &owner,
            &json!({
                "type": "bedrock", "name": "b", "base_url": "https://x.example",
                "settings": { "_type": "bedrock", "_version": 1, "access_key": "AKplanted", "access_key_secret": "SK" },
            }),
        )
        .await;
        let rows = app
            .db
            .sql(
                "SELECT api_key, api_key_key_id FROM ai_provider_keys
                 UNION ALL SELECT settings, settings_key_id FROM ai_providers WHERE settings IS NOT NULL",
            )
            .await
            .unwrap();
        assert_eq!(rows.len(), 2);
        for row in rows {
            assert_eq!(row[0].as_ref().unwrap().contains("planted"), !encrypted, "{row:?}");
            assert_eq!(row[1].is_some(), encrypted, "{row:?}");
        }
        let (_, shown) = owner.get("/ai/providers/o").await;
        assert_eq!(shown["api_keys"][0]["masked"], "sk-p...6789", "and readable for us");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_provider_leaves_no_key_and_a_full_record() {
    let (app, owner) = TestApp::new().await;
    create(
        &owner,
        &with(openai("one"), &json!({ "api_keys": ["sk-0123456789", "sk-9876543210"] })),
    )
    .await;
    assert_eq!(owner.delete("/ai/providers/one").await.0, StatusCode::NO_CONTENT);
    let left = app.db.sql("SELECT count(*) FROM ai_provider_keys").await.unwrap();
    assert_eq!(left[0][0].as_deref(), Some("0"));
    let rows: Vec<_> = audit(&app).await.into_iter().filter(|row| row.0 == "delete").collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0].1, "ai_provider");
    assert_eq!(rows[0].3["name"], json!({ "old": "one", "new": "", "secret": false }));
    assert_eq!(rows[0].4["removed"].as_array().unwrap().len(), 2);
    assert!(rows[1..].iter().all(|row| row.1 == "ai_provider_key"));
}
