use api::seeding::{SeedError, SeedReport, seed};
use config::{AwsCredentials, BedrockSettings, EnvProvider, ProviderSource, ProviderType};
use crypt::Keyring;
use rbac::system;
use stdx::ids::ProviderId;
use stdx::{Secret, SystemClock, SystemRng};
use store::ai_providers::{InsertProvider, ListKeys};
use store::{Call, Full, Store as _};
use testkit::TestDb;

use crate::app::TestApp;

/// Bytes 0 to 31.
const ENCRYPTION_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn provider(provider_type: ProviderType, name: &str, url: &str, keys: &[&str]) -> EnvProvider {
    EnvProvider {
        provider_type,
        name: name.to_owned(),
        base_url: url.parse().unwrap(),
        keys: keys.iter().map(|&key| Secret::from(key)).collect(),
        bedrock: None,
        source: ProviderSource::Indexed { index: 0 },
    }
}

fn openai() -> EnvProvider {
    provider(
        ProviderType::OpenAi,
        "openai",
        "https://api.openai.com/v1/",
        &["sk-planted-1", "sk-planted-2"],
    )
}

fn bedrock(secret: &str) -> EnvProvider {
    EnvProvider {
        bedrock: Some(BedrockSettings {
            region: "us-east-1".to_owned(),
            model: "large".to_owned(),
            small_fast_model: "small".to_owned(),
            credentials: Some(AwsCredentials {
                access_key: Secret::from("AKplanted"),
                access_key_secret: Secret::from(secret),
            }),
        }),
        ..provider(
            ProviderType::Bedrock,
            "aws",
            "https://bedrock-runtime.us-east-1.amazonaws.com",
            &[],
        )
    }
}

async fn sow(store: &Full, providers: &[EnvProvider]) -> Result<SeedReport, SeedError> {
    seed(store, providers, &SystemClock::shared(), &SystemRng::shared()).await
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

async fn value(db: &TestDb, statement: &str) -> String {
    let rows = db.sql(statement).await.unwrap();
    rows[0][0].clone().unwrap_or_default()
}

/// Everything about providers that a second start must not touch.
async fn state(db: &TestDb) -> Vec<Vec<Option<String>>> {
    db.sql(
        "SELECT p::text FROM ai_providers p UNION ALL SELECT k::text FROM ai_provider_keys k
         UNION ALL SELECT a.id::text FROM audit_logs a ORDER BY 1",
    )
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_environment_does_nothing() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    assert_eq!(sow(&store, &[]).await.unwrap(), SeedReport::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_providers_are_inserted_once_with_their_keys_and_records() {
    for keyring in
        [Keyring::empty(), Keyring::from_base64(&[Secret::from(ENCRYPTION_KEY)]).unwrap()]
    {
        let encrypted = keyring.primary_digest().is_some();
        let db = TestDb::new().await;
        let store = db.store_with(keyring).await.unwrap();
        let wanted = [bedrock("SKplanted"), openai()];
        let report = sow(&store, &wanted).await.unwrap();
        assert_eq!(report.created, names(&["aws", "openai"]));
        assert!(report.unchanged.is_empty() && report.deleted.is_empty());

        let rows = db
            .sql("SELECT name, type, display_name, enabled, base_url, settings FROM ai_providers ORDER BY name")
            .await
            .unwrap();
        let text = |row: usize, column: usize| rows[row][column].clone().unwrap_or_default();
        assert_eq!(
            (text(1, 0), text(1, 1), text(1, 2), text(1, 3), text(1, 4), text(1, 5)),
            (
                "openai".to_owned(),
                "openai".to_owned(),
                "openai".to_owned(),
                "t".to_owned(),
                "https://api.openai.com/v1/".to_owned(),
                String::new()
            )
        );
        assert_eq!(text(0, 5).contains("planted"), !encrypted);

        let keys =
            store.run(Call::by(system::gateway()), ListKeys { provider_id: None }).await.unwrap();
        let keys: Vec<_> = keys.iter().map(|key| key.api_key.expose().as_str()).collect();
        assert_eq!(keys, ["sk-planted-1", "sk-planted-2"], "in the order of the variable");

        let records = db
            .sql(
                "SELECT action, resource_type, user_id, additional_fields::text, diff::text FROM audit_logs
                  ORDER BY resource_type",
            )
            .await
            .unwrap();
        assert_eq!(records.len(), 4, "two providers, two keys");
        for record in &records {
            let text = |column: usize| record[column].clone().unwrap_or_default();
            assert_eq!(text(0), "create");
            assert_eq!(text(2), "00000000-0000-0000-0000-000000000000", "the system's own doing");
            let fields: serde_json::Value = serde_json::from_str(&text(3)).unwrap();
            assert_eq!(fields["automatic_subsystem"], "env_seed");
            assert!(!text(4).contains("planted"));
        }

        let before = state(&db).await;
        let again = sow(&store, &wanted).await.unwrap();
        assert_eq!(again.unchanged, names(&["aws", "openai"]));
        assert!(again.created.is_empty());
        assert_eq!(state(&db).await, before, "a second start changes nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_a_slash_at_the_end_are_not_compared() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    sow(&store, &[openai()]).await.unwrap();
    let other =
        provider(ProviderType::OpenAi, "openai", "https://api.openai.com/v1", &["sk-rotated"]);
    let before = state(&db).await;
    assert_eq!(sow(&store, &[other]).await.unwrap().unchanged, names(&["openai"]));
    assert_eq!(state(&db).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_stops_the_start_and_says_where_and_what_to_do() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    sow(&store, &[bedrock("SKplanted-1"), openai()]).await.unwrap();
    let before = state(&db).await;
    let moved = provider(ProviderType::OpenAi, "openai", "https://proxy.example/v1", &[]);
    let new =
        provider(ProviderType::Anthropic, "brand-new", "https://api.anthropic.com/", &["sk-new"]);
    let error = sow(&store, &[bedrock("SKplanted-2"), new, moved]).await.unwrap_err();
    let text = stdx::chain(&error).to_string();
    for part in [
        "AI provider \"openai\" differs between environment and database",
        "base_url is \"https://proxy.example/v1\" in the environment and \"https://api.openai.com/v1\" in the database",
        "AI provider \"aws\" differs",
        "access_key_secret is sha256:",
        "Change its CODER_AI_GATEWAY_* variables",
        "PATCH /api/v2/ai/providers/NAME",
        "DELETE",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert!(!text.contains("planted"), "{text}");
    let SeedError::Differs(conflicts) = error else { panic!("{error:?}") };
    let fields: Vec<_> =
        conflicts.iter().map(|one| (one.provider.as_str(), one.fields.len())).collect();
    assert_eq!(fields, [("aws", 1), ("openai", 1)], "all of them at once, and only what differs");
    assert_eq!(state(&db).await, before, "nothing of it was written, not even what was new");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_an_unknown_kind_count_as_different() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    let insert = InsertProvider {
        id: ProviderId::new(uuid::Uuid::from_u128(1)),
        kind: "openai".to_owned(),
        name: "openai".to_owned(),
        display_name: None,
        icon: String::new(),
        enabled: true,
        base_url: "https://api.openai.com/v1/".to_owned(),
        settings: Some(Secret::from("{\"_type\":\"planted\"}")),
        now: SystemClock::shared().now(),
    };
    store.run(Call::by(system::ai_provider_seeder()), insert).await.unwrap();
    let text = sow(&store, &[openai()]).await.unwrap_err().to_string();
    assert!(
        text.contains("settings is not set in the environment and unreadable in the database"),
        "{text}"
    );
    assert!(!text.contains("planted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_final_for_the_environment_but_not_for_people() {
    let (app, owner) = TestApp::new().await;
    let store = &app.app.store;
    sow(store, &[openai()]).await.unwrap();
    assert_eq!(owner.delete("/ai/providers/openai").await.0, 204);
    let before = state(&app.db).await;
    assert_eq!(sow(store, &[openai()]).await.unwrap().deleted, names(&["openai"]));
    assert_eq!(state(&app.db).await, before);

    let body = serde_json::json!({
        "type": "openai", "name": "openai", "base_url": "https://api.openai.com/v1/",
    });
    assert_eq!(owner.post("/ai/providers", &body).await.0, 201);
    assert_eq!(
        sow(store, &[openai()]).await.unwrap().unchanged,
        names(&["openai"]),
        "a live one counts more than a deleted one of the same name"
    );
    assert_eq!(value(&app.db, "SELECT count(*) FROM ai_provider_keys").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_start_together_seed_once() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    let wanted = [bedrock("SK"), openai()];
    let (a, b, c) = tokio::join!(sow(&store, &wanted), sow(&store, &wanted), sow(&store, &wanted));
    let created: usize = [a, b, c].map(|report| report.unwrap().created.len()).iter().sum();
    assert_eq!(created, 2);
    assert_eq!(value(&db, "SELECT count(*) FROM ai_providers").await, "2");
    assert_eq!(value(&db, "SELECT count(*) FROM ai_provider_keys").await, "2");
}
