//! Authorization codes: used once.

use std::time::Duration;

use rbac::system;
use store::oauth2_codes::{
    Code, ConsumeCode, Consumption, DeleteCodes, FindCode, HashedCode, InsertCode,
};
use store::oauth2_grants::{Grant, RevokeGrant};
use store::purge::DeleteExpiredCodes;
use store::{Call, Constraint, Error, Pk, Store as _, TxOptions};
use tokio::sync::Notify;

use super::{LATER, add_code, add_grant, app_id, code, code_id, grant_id, provider, scene};
use crate::meeting::{WAITING, meet, refused};
use crate::scene::{NOW, eventually, member, owner, user_id, value};

fn consume(n: u32, grant: &Grant, now: time::OffsetDateTime) -> ConsumeCode {
    ConsumeCode { id: code_id(n), user_id: grant.user_id.0, grant_id: grant.id.0, now }
}

fn soon() -> time::OffsetDateTime {
    NOW + Duration::from_mins(1)
}

/// The code `n`, used [`soon`].
fn used(n: u32, grant: &Grant) -> Code {
    Code { consumed_at: Some(soon()), ..code(n, grant).code }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_issued_under_a_grant_of_their_user_to_their_client() {
    let (_db, store) = scene().await;
    let (alice, bob, owner) = (member(1), member(2), owner());
    let grant = add_grant(&store, 1, 1, 1).await;
    refused!(store.run(Call::by(&bob), InsertCode(code(1, &grant))).await, Error::Denied(_));
    let made = store.run(Call::by(&alice), InsertCode(code(1, &grant))).await.unwrap();
    assert_eq!((made.old, made.new), (None, Some(code(1, &grant).code)));
    let taken = HashedCode { secret_prefix: code(1, &grant).secret_prefix, ..code(2, &grant) };
    refused!(
        store.run(Call::by(&alice), InsertCode(taken)).await,
        Error::Conflict(Constraint::Oauth2ProviderAppCodesPrefixKey)
    );
    let anyhow = Code { code_challenge_method: Some("S512".to_owned()), ..code(2, &grant).code };
    refused!(
        store.run(provider(), InsertCode(HashedCode { code: anyhow, ..code(2, &grant) })).await,
        Error::Check(Constraint::Oauth2ProviderAppCodesMethodKnown)
    );
    for strange in [
        Code { app_id: Pk(app_id(2)), ..code(2, &grant).code },
        Code { user_id: Pk(user_id(2)), ..code(2, &grant).code },
        Code { grant_id: Pk(grant_id(9)), ..code(2, &grant).code },
    ] {
        let strange = HashedCode { code: strange, ..code(2, &grant) };
        refused!(store.run(provider(), InsertCode(strange)).await, Error::NotFound);
    }
    let find = |n| FindCode { secret_prefix: code(n, &grant).secret_prefix };
    for by in [system::oauth2(), &owner] {
        assert_eq!(store.run(Call::by(by), find(1)).await.unwrap(), Some(code(1, &grant)));
        assert_eq!(store.run(Call::by(by), find(9)).await.unwrap(), None);
    }
    refused!(store.run(Call::by(&alice), find(1)).await, Error::Denied(_));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_used_once_while_it_lives() {
    let (_db, store) = scene().await;
    let (alice, bob) = (member(1), member(2));
    let (grant, bobs) = (add_grant(&store, 1, 1, 1).await, add_grant(&store, 2, 1, 2).await);
    add_code(&store, 1, &grant).await;
    add_code(&store, 2, &grant).await;
    refused!(store.run(Call::by(&bob), consume(1, &grant, soon())).await, Error::Denied(_));
    // Whoever names another user or grant than the code's has nothing in hand.
    for strange in [
        consume(1, &bobs, soon()),
        ConsumeCode { user_id: user_id(2), ..consume(1, &grant, soon()) },
        consume(9, &grant, soon()),
        consume(2, &grant, NOW + Duration::from_mins(10)),
    ] {
        let shown = format!("{strange:?}");
        assert_eq!(store.run(provider(), strange).await.unwrap(), Consumption::Gone, "{shown}");
    }
    let now = store.run(Call::by(&alice), consume(1, &grant, soon())).await.unwrap();
    assert_eq!(now, Consumption::Now(used(1, &grant)));
    // Also after it expired, as long as it is there.
    for late in [soon(), LATER] {
        let before = store.run(provider(), consume(1, &grant, late)).await.unwrap();
        assert_eq!(before, Consumption::Before(used(1, &grant)));
    }
    let revoke = RevokeGrant { id: grant.id.0, reason: "code reused", now: soon() };
    store.run(provider(), revoke).await.unwrap();
    let gone = store.run(provider(), consume(2, &grant, soon())).await.unwrap();
    assert_eq!(gone, Consumption::Gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_have_a_code_exactly_one_uses_it() {
    let (db, store) = scene().await;
    let grant = add_grant(&store, 1, 1, 1).await;
    let alice = member(1);
    for (n, first, second) in [(1, Call::by(&alice), provider()), (2, provider(), Call::by(&alice))]
    {
        add_code(&store, n, &grant).await;
        let use_it = || consume(n, &grant, soon());
        let (one, two) = meet((&db, &store), (first, use_it), (second, use_it())).await;
        assert_eq!(one.unwrap(), Consumption::Now(used(n, &grant)));
        assert_eq!(two.unwrap(), Consumption::Before(used(n, &grant)));
    }
    // Whoever used it and then failed has not used it.
    add_code(&store, 3, &grant).await;
    let ran = Notify::new();
    let one = Box::pin(store.tx(provider(), TxOptions::write("test"), async |tx| {
        let outcome = tx.run(consume(3, &grant, soon())).await?;
        assert_eq!(outcome, Consumption::Now(used(3, &grant)));
        ran.notify_one();
        eventually(&db, WAITING, "1").await;
        Err::<(), Error>(Error::NotFound)
    }));
    let two = async {
        ran.notified().await;
        store.run(provider(), consume(3, &grant, soon())).await
    };
    let (one, two) = tokio::join!(one, two);
    refused!(one, Error::NotFound);
    assert_eq!(two.unwrap(), Consumption::Now(used(3, &grant)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_not_used_while_its_grant_is_revoked() {
    let (db, store) = scene().await;
    let (one, two) = (add_grant(&store, 1, 1, 1).await, add_grant(&store, 2, 1, 1).await);
    add_code(&store, 1, &one).await;
    add_code(&store, 2, &two).await;
    let revoke = |n| RevokeGrant { id: grant_id(n), reason: "test", now: soon() };
    let scene = (&db, &store);
    let (ended, late) =
        meet(scene, (provider(), || revoke(1)), (provider(), consume(1, &one, soon()))).await;
    assert!(ended.unwrap().what.is_some());
    assert_eq!(late.unwrap(), Consumption::Gone);
    let (now, ended) =
        meet(scene, (provider(), || consume(2, &two, soon())), (provider(), revoke(2))).await;
    assert_eq!(now.unwrap(), Consumption::Now(used(2, &two)));
    assert!(ended.unwrap().what.is_some());
    assert_eq!(value(&db, "SELECT count(*) FROM oauth2_provider_app_codes").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_deleted_by_user_and_client_and_when_they_expired() {
    let (db, store) = scene().await;
    for (n, app, user) in [(1, 1, 1), (2, 1, 1), (3, 2, 1), (4, 1, 2)] {
        let grant = add_grant(&store, n, app, user).await;
        add_code(&store, n, &grant).await;
    }
    let left = async || {
        value(
            &db,
            "SELECT string_agg(right(id::text, 1), '' ORDER BY id) FROM oauth2_provider_app_codes",
        )
        .await
    };
    let delete = || DeleteCodes { app_id: app_id(1), user_id: user_id(1) };
    refused!(store.run(Call::by(&member(2)), delete()).await, Error::Denied(_));
    assert_eq!(store.run(Call::by(&member(1)), delete()).await.unwrap(), 2);
    assert_eq!(store.run(provider(), delete()).await.unwrap(), 0);
    assert_eq!(left().await, "34");

    let purge = Call::by(system::dbpurge());
    let grant = add_grant(&store, 5, 1, 1).await;
    for (n, minutes) in [(5, 30), (6, 20), (7, 60)] {
        let expires_at = NOW + Duration::from_mins(minutes);
        let code =
            HashedCode { code: Code { expires_at, ..code(n, &grant).code }, ..code(n, &grant) };
        store.run(provider(), InsertCode(code)).await.unwrap();
    }
    // Used or not.
    store.run(provider(), consume(5, &grant, soon())).await.unwrap();
    let expired = |limit| DeleteExpiredCodes { before: LATER, limit };
    refused!(store.run(Call::by(&member(1)), expired(9)).await, Error::Denied(_));
    assert_eq!(store.run(purge, expired(3)).await.unwrap(), 3);
    assert_eq!(left().await, "57", "oldest first");
    assert_eq!(store.run(purge, expired(3)).await.unwrap(), 1);
    assert_eq!(store.run(purge, expired(3)).await.unwrap(), 0);
    assert_eq!(left().await, "7");
}
