//! What users consented to, and how it ends.

use std::time::Duration;

use store::api_keys::GetApiKey;
use store::oauth2_codes::InsertCode;
use store::oauth2_grants::{
    FindLiveGrant, GetGrant, Grant, InsertGrant, ListGrants, RevokeGrant, RevokeGrants, TouchGrant,
};
use store::oauth2_tokens::InsertToken;
use store::users::DeleteUser;
use store::{Call, Constraint, Error, Pk, Store as _};

use super::{
    KEYS, LATER, add_code, add_grant, add_key, add_token, app_id, code, grant, grant_id, key_id,
    provider, scene, token,
};
use crate::meeting::{meet, refused};
use crate::scene::{NOW, member, owner, user_id, value};

/// Codes, tokens.
const LEFT: &str = "SELECT (SELECT count(*) FROM oauth2_provider_app_codes)
    || '/' || (SELECT count(*) FROM oauth2_provider_app_tokens)";

fn revoke(n: u32) -> RevokeGrant {
    RevokeGrant { id: grant_id(n), reason: "token reused", now: LATER }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_grant_for_themselves_and_see_what_they_granted() {
    let (_db, store) = scene().await;
    let (alice, bob, owner) = (member(1), member(2), owner());
    let with = InsertGrant { audience: vec!["https://mcp".to_owned()], ..grant(1, 1, 1) };
    refused!(store.run(Call::by(&bob), with.clone()).await, Error::Denied(_));
    let made = store.run(Call::by(&alice), with).await.unwrap().new.unwrap();
    let wanted = Grant {
        id: Pk(grant_id(1)),
        app_id: Pk(app_id(1)),
        user_id: Pk(user_id(1)),
        scope: "coder:all".to_owned(),
        audience: vec!["https://mcp".to_owned()],
        created_at: NOW + Duration::from_secs(1),
        last_used_at: None,
        revoked_at: None,
        revoke_reason: None,
    };
    assert_eq!(made, wanted);
    let by = Call::by(&alice);
    refused!(store.run(by, grant(9, 9, 1)).await, Error::Missing(Constraint::Oauth2GrantsAppFk));
    let nothing = InsertGrant { scope: String::new(), ..grant(9, 1, 1) };
    refused!(store.run(by, nothing).await, Error::Check(Constraint::Oauth2GrantsScopeCheck));
    refused!(store.run(provider(), grant(9, 1, 77)).await, Error::NotFound);

    let get = |n| GetGrant { id: grant_id(n) };
    for reader in [&alice, &owner] {
        assert_eq!(store.run(Call::by(reader), get(1)).await.unwrap(), wanted);
        refused!(store.run(Call::by(reader), get(9)).await, Error::NotFound);
    }
    refused!(store.run(Call::by(&bob), get(1)).await, Error::Denied(_));

    // A second one for the same client, another client, another user.
    for (n, app, user) in [(2, 1, 1), (3, 2, 1), (4, 1, 2)] {
        add_grant(&store, n, app, user).await;
    }
    let live = |app, user| FindLiveGrant { app_id: app_id(app), user_id: user_id(user) };
    let found = async |app, user| {
        let grant = store.run(provider(), live(app, user)).await.unwrap();
        grant.map(|grant| grant.id.0)
    };
    assert_eq!(found(1, 1).await, Some(grant_id(2)), "the last one");
    assert_eq!(found(2, 2).await, None);
    refused!(store.run(Call::by(&bob), live(1, 1)).await, Error::Denied(_));
    store.run(by, revoke(2)).await.unwrap();
    assert_eq!(found(1, 1).await, Some(grant_id(1)));
    store.run(by, revoke(1)).await.unwrap();
    assert_eq!(found(1, 1).await, None);

    let list =
        |only_live, offset, limit| ListGrants { user_id: user_id(1), only_live, offset, limit };
    for (list, wanted) in [
        (list(false, 0, 9), vec![3, 2, 1]),
        (list(true, 0, 9), vec![3]),
        (list(false, 1, 1), vec![2]),
        (list(false, -1, 5_000), vec![3, 2, 1]),
        (list(false, 0, 0), vec![]),
    ] {
        let shown = format!("{list:?}");
        let page = store.run(by, list).await.unwrap();
        let ids: Vec<_> = page.iter().map(|grant| grant.id.0).collect();
        assert_eq!(ids, wanted.into_iter().map(grant_id).collect::<Vec<_>>(), "{shown}");
    }
    assert_eq!(store.run(Call::by(&bob), list(false, 0, 9)).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_use_of_a_grant_is_noted_once_a_minute_until_it_is_revoked() {
    let (_db, store) = scene().await;
    add_grant(&store, 1, 1, 1).await;
    let touch = |user, seconds| TouchGrant {
        id: grant_id(1),
        user_id: user_id(user),
        now: NOW + Duration::from_secs(seconds),
    };
    let used = async || {
        let grant = store.run(provider(), GetGrant { id: grant_id(1) }).await.unwrap();
        grant.last_used_at
    };
    refused!(store.run(Call::by(&member(2)), touch(1, 0)).await, Error::Denied(_));
    store.run(provider(), touch(2, 0)).await.unwrap();
    assert_eq!(used().await, None, "another's");
    let alice = member(1);
    for (seconds, wanted) in [(0, 0), (59, 0), (60, 60)] {
        store.run(Call::by(&alice), touch(1, seconds)).await.unwrap();
        assert_eq!(used().await, Some(NOW + Duration::from_secs(wanted)));
    }
    store.run(provider(), revoke(1)).await.unwrap();
    store.run(provider(), touch(1, 600)).await.unwrap();
    assert_eq!(used().await, Some(NOW + Duration::from_mins(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_a_grant_ends_its_whole_family_and_no_other() {
    let (db, store) = scene().await;
    let (one, other) = (add_grant(&store, 1, 1, 1).await, add_grant(&store, 2, 1, 1).await);
    for (n, grant) in [(1, &one), (2, &one), (3, &other)] {
        add_code(&store, n, grant).await;
        add_token(&store, n, grant, 1).await;
    }
    refused!(store.run(Call::by(&member(2)), revoke(1)).await, Error::Denied(_));
    refused!(store.run(provider(), revoke(9)).await, Error::NotFound);
    assert_eq!(value(&db, LEFT).await, "3/3");
    let mut ended = store.run(Call::by(&member(1)), revoke(1)).await.unwrap();
    ended.api_keys.sort();
    assert_eq!(ended.api_keys, [key_id(1), key_id(2)]);
    let change = ended.what.unwrap();
    let revoked = Grant {
        revoked_at: Some(LATER),
        revoke_reason: Some("token reused".to_owned()),
        ..one.clone()
    };
    assert_eq!((change.old, change.new), (Some(one.clone()), Some(revoked.clone())));
    assert_eq!((value(&db, LEFT).await, value(&db, KEYS).await), ("1/1".into(), key_id(3)));

    let again = RevokeGrant { reason: "again", now: LATER + Duration::from_secs(1), ..revoke(1) };
    let again = store.run(provider(), again).await.unwrap();
    assert_eq!((again.what, again.api_keys), (None, vec![]));
    let kept = store.run(provider(), GetGrant { id: grant_id(1) }).await.unwrap();
    assert_eq!(kept, revoked, "the first time counts");
    // Nothing is issued under it any more.
    refused!(store.run(provider(), InsertCode(code(4, &one))).await, Error::NotFound);
    add_key(&store, 4, 1).await;
    refused!(store.run(provider(), InsertToken(token(4, &one))).await, Error::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_end_what_one_client_or_all_may_do_for_them() {
    let (db, store) = scene().await;
    for (n, app, user) in [(1, 1, 1), (2, 1, 1), (3, 2, 1), (4, 1, 2)] {
        let grant = add_grant(&store, n, app, user).await;
        add_code(&store, n, &grant).await;
        add_token(&store, n, &grant, user).await;
    }
    store.run(provider(), revoke(2)).await.unwrap();
    let end = |app: Option<u32>| RevokeGrants {
        user_id: user_id(1),
        app_id: app.map(app_id),
        reason: "by the user",
        now: LATER,
    };
    refused!(store.run(Call::by(&member(2)), end(None)).await, Error::Denied(_));
    let alice = member(1);
    for (app, wanted) in [(Some(1), vec![1]), (Some(1), vec![]), (None, vec![3]), (None, vec![])] {
        let ended = store.run(Call::by(&alice), end(app)).await.unwrap();
        assert_eq!(ended.api_keys, wanted.iter().copied().map(key_id).collect::<Vec<_>>());
        let changed: Vec<_> = ended
            .what
            .into_iter()
            .map(|change| {
                let (old, new) = (change.old.unwrap(), change.new.unwrap());
                assert_eq!((old.revoked_at, new.revoked_at), (None, Some(LATER)));
                assert_eq!((old.id, new.revoke_reason.as_deref()), (new.id, Some("by the user")));
                new.id.0
            })
            .collect();
        assert_eq!(changed, wanted.into_iter().map(grant_id).collect::<Vec<_>>());
    }
    assert_eq!((value(&db, LEFT).await, value(&db, KEYS).await), ("1/1".into(), key_id(4)));
    let reasons =
        "SELECT string_agg(coalesce(revoke_reason, '-'), ', ' ORDER BY id) FROM oauth2_grants";
    assert_eq!(value(&db, reasons).await, "by the user, token reused, by the user, -");
}

/// Two who notice a theft at once.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_revoke_a_grant_the_first_says_why() {
    let (db, store) = scene().await;
    add_grant(&store, 1, 1, 1).await;
    let all = RevokeGrants { user_id: user_id(1), app_id: None, reason: "all", now: LATER };
    let (one, two) = meet((&db, &store), (provider(), || revoke(1)), (provider(), all)).await;
    assert!(one.unwrap().what.is_some());
    assert_eq!(two.unwrap().what, []);
    let reason = "SELECT string_agg(revoke_reason, ',') FROM oauth2_grants";
    assert_eq!(value(&db, reason).await, "token reused");
    add_grant(&store, 2, 1, 1).await;
    let all = || RevokeGrants { user_id: user_id(1), app_id: None, reason: "all", now: LATER };
    let (one, two) = meet((&db, &store), (provider(), all), (provider(), revoke(2))).await;
    assert_eq!(one.unwrap().what.len(), 1);
    assert_eq!(two.unwrap().what, None);
}

/// What is granted by somebody who is being deleted goes with the account, or is not granted.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_granted_outlives_the_account() {
    let (db, store) = scene().await;
    let owner = owner();
    let delete = |n| DeleteUser { id: user_id(n), now: NOW };
    let (gone, late) =
        meet((&db, &store), (Call::by(&owner), || delete(1)), (provider(), grant(1, 1, 1))).await;
    assert!(gone.unwrap().new.unwrap().deleted);
    refused!(late, Error::NotFound);
    let (made, gone) =
        meet((&db, &store), (provider(), || grant(2, 1, 2)), (Call::by(&owner), delete(2))).await;
    assert!(made.is_ok() && gone.is_ok());
    assert_eq!(value(&db, "SELECT count(*) FROM oauth2_grants").await, "0");
}

/// A token that is issued while its account is deleted, or its grant revoked, does not stay.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_issued_under_a_grant_that_ends() {
    let (db, store) = scene().await;
    let owner = owner();
    let (one, two) = (add_grant(&store, 1, 1, 1).await, add_grant(&store, 2, 1, 1).await);
    for n in 1..=4 {
        add_key(&store, n, 1).await;
    }
    let issue = |n, grant: &Grant| InsertToken(token(n, grant));
    let scene = (&db, &store);
    let (ended, late) = meet(scene, (provider(), || revoke(1)), (provider(), issue(1, &one))).await;
    assert!(ended.unwrap().what.is_some());
    refused!(late, Error::NotFound);
    let (made, ended) = meet(scene, (provider(), || issue(2, &two)), (provider(), revoke(2))).await;
    assert!(made.is_ok());
    assert_eq!(ended.unwrap().api_keys, [key_id(2)]);
    let three = add_grant(&store, 3, 1, 1).await;
    let delete = DeleteUser { id: user_id(1), now: NOW };
    let (made, gone) =
        meet(scene, (provider(), || issue(3, &three)), (Call::by(&owner), delete)).await;
    assert!(made.is_ok() && gone.is_ok());
    assert_eq!((value(&db, LEFT).await, value(&db, KEYS).await), ("0/0".into(), String::new()));
    let key = store.run(provider(), GetApiKey { id: key_id(3) }).await;
    refused!(key, Error::NotFound);
}
