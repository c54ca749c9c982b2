//! Refresh tokens: each is used once, and goes with its access token.

use std::time::Duration;

use rbac::system;
use store::api_keys::{DeleteApiKey, InsertApiKey};
use store::oauth2_grants::{Grant, RevokeGrant};
use store::oauth2_tokens::{
    DeleteTokens, FindToken, GetTokenByKey, HashedToken, InsertToken, NewToken, RotateToken,
    Rotation, Token,
};
use store::purge::{DeleteExpiredApiKeys, DeleteExpiredTokens};
use store::{Call, Constraint, Error, Full, Pk, Store as _, TxOptions};
use tokio::sync::Notify;

use super::{
    KEYS, LATER, add_grant, add_key, add_secret, add_token, app_id, grant_id, key_id, provider,
    scene, token, token_id,
};
use crate::meeting::{WAITING, meet, refused};
use crate::scene::{NOW, eventually, member, new_key, owner, user_id, value};

const TOKENS: &str = "SELECT coalesce(string_agg(right(id::text, 1), '' ORDER BY id), '')
    FROM oauth2_provider_app_tokens";

/// The token `n` as it is stored first.
fn stored(n: u32, grant: &Grant) -> Token {
    let new = token(n, grant);
    Token {
        id: new.id,
        created_at: new.created_at,
        expires_at: new.expires_at,
        rotated_at: None,
        app_id: new.app_id,
        app_secret_id: None,
        api_key_id: Some(new.api_key_id),
        user_id: new.user_id,
        grant_id: new.grant_id,
        parent_id: None,
        audience: None,
        scope: new.scope,
    }
}

/// The token `n` after it was rotated.
fn rotated(n: u32, grant: &Grant) -> Token {
    Token { rotated_at: Some(LATER), api_key_id: None, ..stored(n, grant) }
}

fn rotate(n: u32, next: u32, grant: &Grant) -> RotateToken {
    RotateToken { id: token_id(n), successor: token(next, grant), now: LATER }
}

fn find(n: u32) -> FindToken {
    FindToken { hash_prefix: format!("token{n:05}").into_bytes() }
}

async fn found(store: &Full, n: u32) -> Option<Token> {
    store.run(provider(), find(n)).await.unwrap().map(|found| found.token)
}

#[track_caller]
fn done(outcome: Result<Rotation, Error>) -> (Token, Token) {
    let Ok(Rotation::Done { old, new }) = outcome else { panic!("{outcome:?}") };
    assert_eq!((old.old.unwrap().rotated_at, new.old), (None, None));
    (old.new.unwrap(), new.new.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_issued_with_a_key_of_their_user_and_a_secret_of_their_client() {
    let (_db, store) = scene().await;
    let (alice, bob, owner) = (member(1), member(2), owner());
    let grant = add_grant(&store, 1, 1, 1).await;
    let (own, others) = (add_secret(&store, 1, 1).await, add_secret(&store, 2, 2).await);
    for (n, user) in [(1, 1), (2, 1), (3, 2)] {
        add_key(&store, n, user).await;
    }
    store.run(Call::by(&alice), InsertApiKey(new_key("session001", 1, ""))).await.unwrap();
    refused!(store.run(Call::by(&bob), InsertToken(token(1, &grant))).await, Error::Denied(_));
    let with = NewToken {
        app_secret_id: Some(own.id),
        audience: Some("https://mcp".to_owned()),
        ..token(1, &grant)
    };
    let made = store.run(Call::by(&alice), InsertToken(with)).await.unwrap();
    let wanted = Token {
        app_secret_id: Some(own.id),
        audience: Some("https://mcp".to_owned()),
        ..stored(1, &grant)
    };
    assert_eq!((made.old, made.new), (None, Some(wanted.clone())));

    let new = || token(2, &grant);
    for key in [key_id(3), key_id(9), "session001".to_owned()] {
        let strange = NewToken { api_key_id: key.clone(), ..new() };
        let outcome = store.run(provider(), InsertToken(strange)).await;
        let wanted = Constraint::Oauth2ProviderAppTokensApiKeyFk;
        assert!(matches!(outcome, Err(Error::Missing(found)) if found == wanted), "{key}");
    }
    let strange = NewToken { app_secret_id: Some(others.id), ..new() };
    refused!(
        store.run(provider(), InsertToken(strange)).await,
        Error::Missing(Constraint::Oauth2ProviderAppTokensSecretFk)
    );
    for strange in [
        NewToken { app_id: Pk(app_id(2)), ..new() },
        NewToken { user_id: Pk(user_id(2)), api_key_id: key_id(3), ..new() },
        NewToken { grant_id: Pk(grant_id(9)), ..new() },
    ] {
        refused!(store.run(provider(), InsertToken(strange)).await, Error::NotFound);
    }
    let taken = NewToken { hash_prefix: token(1, &grant).hash_prefix, ..new() };
    refused!(
        store.run(provider(), InsertToken(taken)).await,
        Error::Conflict(Constraint::Oauth2ProviderAppTokensPrefixKey)
    );
    let short = NewToken { refresh_hash: vec![8; 31], ..new() };
    refused!(
        store.run(provider(), InsertToken(short)).await,
        Error::Check(Constraint::Oauth2ProviderAppTokensHashCheck)
    );

    let hashed = HashedToken {
        token: wanted.clone(),
        hash_prefix: token(1, &grant).hash_prefix,
        refresh_hash: vec![8; 32],
    };
    for by in [system::oauth2(), &owner] {
        assert_eq!(store.run(Call::by(by), find(1)).await.unwrap(), Some(hashed.clone()));
        assert_eq!(store.run(Call::by(by), find(9)).await.unwrap(), None);
    }
    refused!(store.run(Call::by(&alice), find(1)).await, Error::Denied(_));
    let by_key = |n| GetTokenByKey { api_key_id: key_id(n) };
    for by in [system::oauth2(), &owner, &alice] {
        assert_eq!(store.run(Call::by(by), by_key(1)).await.unwrap(), wanted);
        refused!(store.run(Call::by(by), by_key(2)).await, Error::NotFound);
    }
    refused!(store.run(Call::by(&bob), by_key(1)).await, Error::Denied(_));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_replaced_once_and_its_second_use_is_told() {
    let (db, store) = scene().await;
    let (alice, bob) = (member(1), member(2));
    let (grant, other) = (add_grant(&store, 1, 1, 1).await, add_grant(&store, 2, 1, 1).await);
    add_token(&store, 1, &grant, 1).await;
    for n in 2..=4 {
        add_key(&store, n, 1).await;
    }
    refused!(store.run(Call::by(&bob), rotate(1, 2, &grant)).await, Error::Denied(_));
    for strange in [
        rotate(9, 2, &grant),
        rotate(1, 2, &other),
        RotateToken { now: NOW + Duration::from_hours(720), ..rotate(1, 2, &grant) },
    ] {
        let shown = format!("{strange:?}");
        assert_eq!(store.run(provider(), strange).await.unwrap(), Rotation::Gone, "{shown}");
    }
    // Nothing happens when the successor cannot be stored.
    let strange = NewToken { api_key_id: key_id(9), ..token(2, &grant) };
    let strange = RotateToken { successor: strange, ..rotate(1, 2, &grant) };
    refused!(
        store.run(provider(), strange).await,
        Error::Missing(Constraint::Oauth2ProviderAppTokensApiKeyFk)
    );
    assert_eq!(found(&store, 1).await, Some(stored(1, &grant)));
    assert_eq!(value(&db, KEYS).await, "oauth00001,oauth00002,oauth00003,oauth00004");

    let successor = Token { parent_id: Some(Pk(token_id(1))), ..stored(2, &grant) };
    let outcome = store.run(Call::by(&alice), rotate(1, 2, &grant)).await;
    assert_eq!(done(outcome), (rotated(1, &grant), successor.clone()));
    assert_eq!(value(&db, KEYS).await, "oauth00002,oauth00003,oauth00004");
    assert_eq!(
        (found(&store, 1).await, found(&store, 2).await),
        (Some(rotated(1, &grant)), Some(successor))
    );

    // The second use of the first one issues nothing, whatever time it is.
    for now in [LATER, NOW + Duration::from_hours(720)] {
        let again = RotateToken { now, ..rotate(1, 3, &grant) };
        let again = store.run(provider(), again).await.unwrap();
        assert_eq!(again, Rotation::Reused(Box::new(rotated(1, &grant))));
    }
    assert_eq!(value(&db, TOKENS).await, "12");
    done(store.run(provider(), rotate(2, 3, &grant)).await);
    // Whoever is told revokes the family: the newest one ends as well.
    let revoke = RevokeGrant { id: grant.id.0, reason: "token reused", now: LATER };
    let ended = store.run(provider(), revoke).await.unwrap();
    assert_eq!(ended.api_keys, [key_id(3)]);
    assert_eq!((value(&db, TOKENS).await, value(&db, KEYS).await), (String::new(), key_id(4)));
    let late = store.run(provider(), rotate(3, 4, &grant)).await.unwrap();
    assert_eq!(late, Rotation::Gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_have_a_token_exactly_one_replaces_it() {
    let (db, store) = scene().await;
    let grant = add_grant(&store, 1, 1, 1).await;
    let alice = member(1);
    for (n, first, second) in [(1, Call::by(&alice), provider()), (4, provider(), Call::by(&alice))]
    {
        add_token(&store, n, &grant, 1).await;
        add_key(&store, n + 1, 1).await;
        add_key(&store, n + 2, 1).await;
        let one = || rotate(n, n + 1, &grant);
        let two = rotate(n, n + 2, &grant);
        let (one, two) = meet((&db, &store), (first, one), (second, two)).await;
        assert_eq!(done(one).0, rotated(n, &grant));
        assert_eq!(two.unwrap(), Rotation::Reused(Box::new(rotated(n, &grant))));
        assert_eq!(found(&store, n + 2).await, None);
    }
    // Whoever replaced it and then failed has not replaced it.
    add_token(&store, 7, &grant, 1).await;
    add_key(&store, 8, 1).await;
    let ran = Notify::new();
    let one = Box::pin(store.tx(provider(), TxOptions::write("test"), async |tx| {
        done(tx.run(rotate(7, 8, &grant)).await);
        ran.notify_one();
        eventually(&db, WAITING, "1").await;
        Err::<(), Error>(Error::NotFound)
    }));
    let two = async {
        ran.notified().await;
        store.run(provider(), rotate(7, 8, &grant)).await
    };
    let (one, two) = tokio::join!(one, two);
    refused!(one, Error::NotFound);
    assert_eq!(done(two).0, rotated(7, &grant));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_not_replaced_while_its_grant_is_revoked() {
    let (db, store) = scene().await;
    let (one, two) = (add_grant(&store, 1, 1, 1).await, add_grant(&store, 2, 1, 1).await);
    add_token(&store, 1, &one, 1).await;
    add_token(&store, 2, &two, 1).await;
    add_key(&store, 3, 1).await;
    add_key(&store, 4, 1).await;
    let revoke = |n| RevokeGrant { id: grant_id(n), reason: "test", now: LATER };
    let scene = (&db, &store);
    let (ended, late) =
        meet(scene, (provider(), || revoke(1)), (provider(), rotate(1, 3, &one))).await;
    assert_eq!(ended.unwrap().api_keys, [key_id(1)]);
    assert_eq!(late.unwrap(), Rotation::Gone);
    let (replaced, ended) =
        meet(scene, (provider(), || rotate(2, 4, &two)), (provider(), revoke(2))).await;
    done(replaced);
    assert_eq!(ended.unwrap().api_keys, [key_id(4)]);
    assert_eq!((value(&db, TOKENS).await, value(&db, KEYS).await), (String::new(), key_id(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_deleted_by_user_and_client_with_their_keys() {
    let (db, store) = scene().await;
    for (n, app, user) in [(1, 1, 1), (2, 1, 1), (3, 2, 1), (4, 1, 2)] {
        let grant = add_grant(&store, n, app, user).await;
        add_token(&store, n, &grant, user).await;
    }
    let delete = || DeleteTokens { app_id: app_id(1), user_id: user_id(1) };
    refused!(store.run(Call::by(&member(2)), delete()).await, Error::Denied(_));
    let gone = store.run(Call::by(&member(1)), delete()).await.unwrap();
    let mut keys: Vec<_> = gone.into_iter().map(|c| c.old.unwrap().api_key_id.unwrap()).collect();
    keys.sort();
    assert_eq!(keys, [key_id(1), key_id(2)]);
    assert_eq!(
        (value(&db, TOKENS).await, value(&db, KEYS).await),
        ("34".into(), "oauth00003,oauth00004".into())
    );
    assert_eq!(store.run(provider(), delete()).await.unwrap(), []);
    // The other way round: who revokes an access token ends the refresh token.
    store.run(provider(), DeleteApiKey { id: key_id(3) }).await.unwrap();
    assert_eq!(value(&db, TOKENS).await, "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_tokens_go_with_their_keys_and_expired_keys_without_their_tokens() {
    let (db, store) = scene().await;
    let grant = add_grant(&store, 1, 1, 1).await;
    for (n, hours) in [(1, 30), (2, 20), (3, 720)] {
        add_key(&store, n, 1).await;
        let expires_at = NOW + Duration::from_hours(hours);
        let new = NewToken { expires_at, ..token(n, &grant) };
        store.run(provider(), InsertToken(new)).await.unwrap();
    }
    let purge = Call::by(system::dbpurge());
    // The keys expire after an hour.
    let keys = || DeleteExpiredApiKeys { before: NOW + Duration::from_hours(2), limit: 2 };
    refused!(store.run(Call::by(&member(1)), keys()).await, Error::Denied(_));
    db.sql(
        "UPDATE api_keys SET expires_at = expires_at + interval '1 day' WHERE id = 'oauth00002'",
    )
    .await
    .unwrap();
    assert_eq!(store.run(purge, keys()).await.unwrap(), 2);
    assert_eq!((value(&db, TOKENS).await, value(&db, KEYS).await), ("123".into(), key_id(2)));
    let detached = Token { api_key_id: None, ..stored(3, &grant) };
    assert_eq!(found(&store, 3).await, Some(detached), "it can still be used");

    let tokens =
        |hours| DeleteExpiredTokens { before: NOW + Duration::from_hours(hours), limit: 1 };
    refused!(store.run(Call::by(&member(1)), tokens(100)).await, Error::Denied(_));
    assert_eq!(store.run(purge, tokens(20)).await.unwrap(), 0);
    assert_eq!(store.run(purge, tokens(100)).await.unwrap(), 1);
    assert_eq!((value(&db, TOKENS).await, value(&db, KEYS).await), ("13".into(), String::new()));
    assert_eq!(store.run(purge, tokens(100)).await.unwrap(), 1);
    assert_eq!(store.run(purge, tokens(100)).await.unwrap(), 0);
    add_key(&store, 4, 1).await;
    let (old, new) = done(store.run(provider(), rotate(3, 4, &grant)).await);
    assert_eq!((old.api_key_id, new.parent_id), (None, Some(Pk(token_id(3)))));
    // The successor stays when what it replaced is gone.
    db.sql("UPDATE oauth2_provider_app_tokens SET expires_at = '2031-01-16Z' WHERE rotated_at IS NOT NULL")
        .await
        .unwrap();
    assert_eq!(store.run(purge, tokens(100)).await.unwrap(), 1);
    assert_eq!(found(&store, 4).await.unwrap().parent_id, None);
    assert_eq!(value(&db, KEYS).await, key_id(4));
}
