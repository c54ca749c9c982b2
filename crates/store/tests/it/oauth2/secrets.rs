//! Secrets of clients.

use std::time::Duration;

use store::oauth2_secrets::{
    AppSecret, DeleteSecret, FindSecret, GetSecret, HashedAppSecret, InsertSecret, ListSecrets,
    TouchSecret,
};
use store::oauth2_tokens::{InsertToken, NewToken};
use store::{Call, Constraint, Error, Pk, Store as _};

use super::{
    KEYS, add_grant, add_key, add_secret, add_token, app_id, key_id, provider, scene, secret,
    secret_id, token,
};
use crate::meeting::refused;
use crate::scene::{NOW, member, owner, value};

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_for_administrators_and_hashes_for_who_checks_them() {
    let (_db, store) = scene().await;
    let (owner, alice) = (owner(), member(1));
    let by = Call::by(&owner);
    refused!(store.run(Call::by(&alice), InsertSecret(secret(1, 1))).await, Error::Denied(_));
    let made = store.run(by, InsertSecret(secret(1, 1))).await.unwrap();
    assert_eq!((made.old, made.new), (None, Some(secret(1, 1).secret)));
    let taken = HashedAppSecret { secret_prefix: secret(1, 1).secret_prefix, ..secret(2, 1) };
    refused!(
        store.run(by, InsertSecret(taken)).await,
        Error::Conflict(Constraint::Oauth2ProviderAppSecretsPrefixKey)
    );
    let short = HashedAppSecret { hashed_secret: vec![6; 31], ..secret(2, 1) };
    refused!(
        store.run(by, InsertSecret(short)).await,
        Error::Check(Constraint::Oauth2ProviderAppSecretsHashCheck)
    );
    refused!(
        store.run(by, InsertSecret(secret(2, 9))).await,
        Error::Missing(Constraint::Oauth2ProviderAppSecretsAppFk)
    );
    let get = |n| GetSecret { id: secret_id(n) };
    assert_eq!(store.run(by, get(1)).await.unwrap(), secret(1, 1).secret);
    refused!(store.run(by, get(9)).await, Error::NotFound);
    refused!(store.run(Call::by(&alice), get(1)).await, Error::Denied(_));

    let find = |n| FindSecret { secret_prefix: secret(n, 1).secret_prefix };
    assert_eq!(store.run(provider(), find(1)).await.unwrap(), Some(secret(1, 1)));
    assert_eq!(store.run(provider(), find(9)).await.unwrap(), None);
    refused!(store.run(Call::by(&alice), find(1)).await, Error::Denied(_));

    store.run(by, InsertSecret(secret(3, 1))).await.unwrap();
    store.run(by, InsertSecret(secret(2, 1))).await.unwrap();
    store.run(by, InsertSecret(secret(4, 2))).await.unwrap();
    let list = |n| ListSecrets { app_id: app_id(n) };
    let listed = store.run(by, list(1)).await.unwrap();
    assert_eq!(listed, [1, 2, 3].map(|n| secret(n, 1).secret), "oldest first");
    assert_eq!(store.run(by, list(9)).await.unwrap(), []);
    assert_eq!(store.run(Call::by(&alice), list(1)).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_use_of_a_secret_is_noted_once_a_minute() {
    let (_db, store) = scene().await;
    add_secret(&store, 1, 1).await;
    let touch = |n, now| TouchSecret { id: secret_id(n), now };
    refused!(store.run(Call::by(&member(1)), touch(1, NOW)).await, Error::Denied(_));
    for (seconds, wanted) in [(0, 0), (59, 0), (60, 60), (10, 60)] {
        store.run(provider(), touch(1, NOW + Duration::from_secs(seconds))).await.unwrap();
        let found = store.run(provider(), GetSecret { id: secret_id(1) }).await.unwrap();
        let last_used_at = Some(NOW + Duration::from_secs(wanted));
        assert_eq!(found, AppSecret { last_used_at, ..secret(1, 1).secret });
    }
    store.run(provider(), touch(9, NOW)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_takes_along_the_tokens_that_were_obtained_with_it() {
    let (db, store) = scene().await;
    let (first, second) = (add_secret(&store, 1, 1).await, add_secret(&store, 2, 1).await);
    let grant = add_grant(&store, 1, 1, 1).await;
    for (n, secret) in [(1, first.id), (2, second.id)] {
        add_key(&store, n, 1).await;
        let with = NewToken { app_secret_id: Some(secret), ..token(n, &grant) };
        store.run(provider(), InsertToken(with)).await.unwrap();
    }
    add_token(&store, 3, &grant, 1).await;
    let delete = || DeleteSecret { id: secret_id(1) };
    refused!(store.run(Call::by(&member(1)), delete()).await, Error::Denied(_));
    let gone = store.run(provider(), delete()).await.unwrap();
    assert_eq!((gone.what.old, gone.what.new), (Some(first), None));
    assert_eq!(gone.api_keys, [key_id(1)]);
    assert_eq!(value(&db, KEYS).await, "oauth00002,oauth00003");
    assert_eq!(value(&db, "SELECT count(*) FROM oauth2_provider_app_tokens").await, "2");
    refused!(store.run(provider(), delete()).await, Error::NotFound);
    add_key(&store, 4, 1).await;
    let late = NewToken { app_secret_id: Some(Pk(secret_id(1))), ..token(4, &grant) };
    refused!(
        store.run(provider(), InsertToken(late)).await,
        Error::Missing(Constraint::Oauth2ProviderAppTokensSecretFk)
    );
}
