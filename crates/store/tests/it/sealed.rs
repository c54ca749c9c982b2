//! What is at rest and what is in hand.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypt::Keyring;
use rbac::system;
use stdx::Secret;
use stdx::ids::ProviderKeyId;
use store::ai_providers::{
    DeleteProvider, GetProvider, InsertProvider, ListKeys, ListProviders, ListServed, NewSettings,
    ProviderRef, UpdateProvider,
};
use store::{Call, ConnectError, Error, Full, KeyCheckError, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::scene::{NOW, owner, value};
use crate::systems::{provider, provider_key};

const SECRET: &str = "sk-not-to-be-seen";

pub(crate) fn ring(keys: &[u8]) -> Keyring {
    let keys: Vec<Secret<String>> =
        keys.iter().map(|byte| Secret::new(STANDARD.encode([*byte; 32]))).collect();
    Keyring::from_base64(&keys).unwrap()
}

pub(crate) fn digest(key: u8) -> String {
    ring(&[key]).primary_digest().unwrap().to_owned()
}

async fn keys_in_hand(store: &Full) -> Result<Vec<String>, Error> {
    let keys = store.run(Call::by(system::gateway()), ListKeys { provider_id: None }).await?;
    Ok(keys.into_iter().map(|key| key.api_key.expose().clone()).collect())
}

/// The keys as stored, oldest first: value and digest of the key that sealed it.
async fn at_rest(db: &TestDb) -> Vec<(String, Option<String>)> {
    let rows = db
        .sql("SELECT api_key, api_key_key_id FROM ai_provider_keys ORDER BY created_at")
        .await
        .unwrap();
    rows.into_iter().map(|row| (row[0].clone().unwrap(), row[1].clone())).collect()
}

fn key_check<'a>(
    refused: &'a (dyn std::error::Error + Send + Sync + 'static),
) -> &'a KeyCheckError {
    match refused.downcast_ref::<ConnectError>() {
        Some(ConnectError::Keys(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_values_are_stored_as_given() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    let seeder = Call::by(system::ai_provider_seeder());
    let settings = Some(Secret::from("{\"region\":\"eu\"}"));
    store.run(seeder, InsertProvider { settings, ..provider(1, "openai") }).await.unwrap();
    store.run(seeder, provider_key(1, 1, SECRET)).await.unwrap();
    assert_eq!(at_rest(&db).await, [(SECRET.to_owned(), None)]);
    let settings = "SELECT settings || coalesce(settings_key_id, '!') FROM ai_providers";
    assert_eq!(value(&db, settings).await, "{\"region\":\"eu\"}!");
    assert_eq!(keys_in_hand(&store).await.unwrap(), [SECRET]);
    assert_eq!(value(&db, "SELECT count(*) FROM dbcrypt_keys").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_keys_the_table_holds_ciphertext_and_every_query_yields_the_secret() {
    let db = TestDb::new().await;
    let store = db.store_with(ring(&[1])).await.unwrap();
    let owner = owner();
    let by = Call::by(&owner);
    let settings = || Some(Secret::from(SECRET));
    let created = store
        .run(by, InsertProvider { settings: settings(), ..provider(1, "openai") })
        .await
        .unwrap()
        .new
        .unwrap();
    let key = store.run(by, provider_key(1, 1, SECRET)).await.unwrap().new.unwrap();
    for (what, debug) in [("provider", format!("{created:?}")), ("key", format!("{key:?}"))] {
        assert!(!debug.contains(SECRET), "{what}: {debug}");
    }
    let stored = at_rest(&db).await;
    assert!(stored[0].0.starts_with("v1:") && !stored[0].0.contains(SECRET), "{stored:?}");
    assert_eq!(stored[0].1, Some(digest(1)));
    let sealed =
        "SELECT settings NOT LIKE '%sk-%' AND settings_key_id IS NOT NULL FROM ai_providers";
    assert_eq!(value(&db, sealed).await, "t");

    let opened = |provider: &store::ai_providers::Provider| {
        assert_eq!(provider.settings.as_ref().unwrap().expose(), SECRET);
    };
    opened(&created);
    opened(&store.run(by, GetProvider(ProviderRef::Id(created.id))).await.unwrap());
    opened(&store.run(by, GetProvider(ProviderRef::Name("openai".to_owned()))).await.unwrap());
    opened(&store.run(by, ListProviders { include_deleted: false }).await.unwrap()[0]);
    let update = UpdateProvider {
        id: created.id,
        display_name: None,
        icon: String::new(),
        enabled: true,
        base_url: created.base_url.clone(),
        settings: NewSettings::Set(settings()),
        now: NOW,
    };
    let sealed_before = value(&db, "SELECT settings FROM ai_providers").await;
    let updated = store.run(by, update).await.unwrap();
    opened(&updated.old.unwrap());
    opened(&updated.new.unwrap());
    let sealed_after = value(&db, "SELECT settings FROM ai_providers").await;
    assert_ne!(sealed_before, sealed_after, "sealing the same twice shows that it is the same");
    // A soft delete hands the row back as well.
    let (deleted, keys) = store.run(by, DeleteProvider { id: created.id, now: NOW }).await.unwrap();
    opened(&deleted.old.unwrap());
    opened(&deleted.new.unwrap());
    assert_eq!(keys[0].old.as_ref().unwrap().api_key.expose(), SECRET);
    assert_eq!(value(&db, "SELECT count(*) FROM ai_provider_keys").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_moved_to_another_row_does_not_open_and_is_the_fault_of_that_row_alone() {
    let db = TestDb::new().await;
    let store = db.store_with(ring(&[1])).await.unwrap();
    let seeder = Call::by(system::ai_provider_seeder());
    let settings = Some(Secret::from(SECRET));
    store.run(seeder, InsertProvider { settings, ..provider(1, "openai") }).await.unwrap();
    store.run(seeder, provider(2, "other")).await.unwrap();
    store.run(seeder, provider_key(1, 1, SECRET)).await.unwrap();
    store.run(seeder, provider_key(2, 2, "sk-fine")).await.unwrap();
    let sealed = at_rest(&db).await.remove(0).0;
    let moved = ProviderKeyId::new(Uuid::from_u128(99));
    let first = provider_key(1, 1, "").id;
    db.sql(&format!("UPDATE ai_provider_keys SET id = '{moved}' WHERE id = '{first}'"))
        .await
        .unwrap();
    db.sql("UPDATE ai_providers SET settings = overlay(settings PLACING 'AAAA' FROM 10) WHERE settings IS NOT NULL")
        .await
        .unwrap();

    let owner = owner();
    let by = Call::by(&owner);
    let keys = store.run(by, ListKeys { provider_id: None }).await.unwrap();
    let fault = keys[0].fault.clone().unwrap();
    assert_eq!((keys[0].id, keys[0].api_key.expose().as_str()), (moved, ""));
    assert!(
        fault.contains("ai_provider_keys.api_key") && fault.contains(&moved.to_string()),
        "{fault}"
    );
    assert_eq!((keys[1].api_key.expose().as_str(), &keys[1].fault), ("sk-fine", &None));
    let providers = store.run(by, ListProviders { include_deleted: false }).await.unwrap();
    let told = providers[0].fault.clone().unwrap();
    assert!(told.contains("ai_providers.settings") && providers[0].settings.is_none(), "{told}");
    assert_eq!(providers[1].fault, None);
    for text in [&fault, &told] {
        assert!(!text.contains(SECRET) && !text.contains(&sealed), "{text}");
    }
    // Those who would use the key get an error, and the other provider.
    let served = store.run(by, ListServed).await.unwrap();
    let error = served[0].keys.as_ref().unwrap_err();
    assert!(matches!(error, Error::Keyring { row, .. } if *row == moved.uuid()), "{error:?}");
    assert_eq!(served[1].keys.as_ref().unwrap()[0].expose(), "sk-fine");

    // What cannot be opened is kept by a change that does not speak of it, and can be replaced and deleted.
    let stored = "SELECT settings FROM ai_providers WHERE name = 'openai'";
    let before = value(&db, stored).await;
    let update = |settings| UpdateProvider {
        id: providers[0].id,
        display_name: Some("Renamed".to_owned()),
        icon: String::new(),
        enabled: true,
        base_url: providers[0].base_url.clone(),
        settings,
        now: NOW,
    };
    let kept = store.run(by, update(NewSettings::Keep)).await.unwrap().new.unwrap();
    assert!(kept.fault.is_some() && kept.display_name.as_deref() == Some("Renamed"));
    assert_eq!(value(&db, stored).await, before);
    let new = NewSettings::Set(Some(Secret::from("{}")));
    let replaced = store.run(by, update(new)).await.unwrap().new.unwrap();
    assert_eq!((replaced.settings.unwrap().expose().as_str(), replaced.fault), ("{}", None));
    let delete = DeleteProvider { id: providers[0].id, now: NOW };
    assert_eq!(store.run(by, delete).await.unwrap().1.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_that_was_used_there_is_no_store() {
    let db = TestDb::new().await;
    drop(db.store_with(ring(&[1])).await.unwrap());
    for other in [Keyring::empty(), ring(&[2])] {
        let refused = db.store_with(other).await.unwrap_err();
        match key_check(refused.as_ref()) {
            KeyCheckError::NotHeld { digest: missing } => assert_eq!(*missing, digest(1)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(value(&db, "SELECT count(*) FROM dbcrypt_keys").await, "1");
    db.store_with(ring(&[1])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_does_not_open_what_its_namesake_sealed_is_refused() {
    let db = TestDb::new().await;
    drop(db.store_with(ring(&[1])).await.unwrap());
    db.sql(&format!("UPDATE dbcrypt_keys SET active_key_digest = '{}'", digest(2))).await.unwrap();
    let refused = db.store_with(ring(&[2])).await.unwrap_err();
    match key_check(refused.as_ref()) {
        KeyCheckError::Wrong { digest: wrong } => assert_eq!(*wrong, digest(2)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_cannot_be_the_first_one_again() {
    let db = TestDb::new().await;
    drop(db.store_with(ring(&[1])).await.unwrap());
    db.sql(
        "UPDATE dbcrypt_keys SET revoked_key_digest = active_key_digest, active_key_digest = NULL",
    )
    .await
    .unwrap();
    let refused = db.store_with(ring(&[1])).await.unwrap_err();
    assert!(matches!(key_check(refused.as_ref()), KeyCheckError::Revoked { .. }), "{refused:?}");
    db.store_with(ring(&[2, 1])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_stay_readable_when_keys_come_and_rotate() {
    let db = TestDb::new().await;
    let seeder = Call::by(system::ai_provider_seeder());
    let plain = db.store().await.unwrap();
    plain.run(seeder, provider(1, "openai")).await.unwrap();
    plain.run(seeder, provider_key(1, 1, "sk-plain")).await.unwrap();
    let first = db.store_with(ring(&[1])).await.unwrap();
    first.run(seeder, provider_key(2, 1, "sk-first")).await.unwrap();
    let rotated = db.store_with(ring(&[2, 1])).await.unwrap();
    rotated.run(seeder, provider_key(3, 1, "sk-second")).await.unwrap();
    assert_eq!(keys_in_hand(&rotated).await.unwrap(), ["sk-plain", "sk-first", "sk-second"]);
    let sealed_by: Vec<_> = at_rest(&db).await.into_iter().map(|(_, key)| key).collect();
    assert_eq!(sealed_by, [None, Some(digest(1)), Some(digest(2))]);
    assert_eq!(value(&db, "SELECT count(*) FROM dbcrypt_keys").await, "2");
    // A server that still runs without keys cannot read what the others sealed, and says which column.
    let keys =
        plain.run(Call::by(system::gateway()), ListKeys { provider_id: None }).await.unwrap();
    let faults: Vec<bool> = keys.iter().map(|key| key.fault.is_some()).collect();
    assert_eq!(faults, [false, true, true]);
    let fault = keys[2].fault.clone().unwrap();
    assert!(fault.contains("ai_provider_keys.api_key") && fault.contains(&digest(2)), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_note_a_new_key_once() {
    let db = TestDb::new().await;
    let (first, second) = tokio::join!(db.store_with(ring(&[1])), db.store_with(ring(&[1])));
    first.unwrap();
    second.unwrap();
    assert_eq!(value(&db, "SELECT count(*) FROM dbcrypt_keys").await, "1");
}
