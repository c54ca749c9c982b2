//! Clients.

use std::time::Duration;

use store::oauth2_apps::{
    App, ClientMetadata, CountApps, DeleteApp, DeleteUnusedApps, FindRegistration, GetApp,
    InsertApp, ListApps, ListAppsOfUser, RegisteredApp, SetRegistrationToken, TouchApp, UpdateApp,
    UpdateMetadata,
};
use store::oauth2_tokens::RotateToken;
use store::{Call, Constraint, Error, Full, Pk, Store as _, TxOptions};
use testkit::TestDb;

use super::{
    KEYS, LATER, URI, add_app, add_code, add_grant, add_key, add_secret, add_token, app, app_id,
    grant, key_id, provider, registered, scene, token,
};
use crate::meeting::{meet, refused};
use crate::scene::{NOW, add_user, member, owner, subject, user_id, value};

fn update(n: u32, redirect_uris: Option<Vec<String>>) -> UpdateApp {
    UpdateApp {
        id: app_id(n),
        name: "Renamed".to_owned(),
        icon: "/icon.svg".to_owned(),
        callback_url: "https://example.com/back".to_owned(),
        redirect_uris,
        now: LATER,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_read_by_everybody_and_changed_by_administrators() {
    let (_db, store) = scene().await;
    let (owner, alice, nobody) = (owner(), member(1), subject(user_id(1), &[]));
    let by = Call::by(&owner);
    refused!(store.run(Call::by(&alice), InsertApp(app(3, "Agent"))).await, Error::Denied(_));
    let made = store.run(by, InsertApp(app(3, "Agent"))).await.unwrap();
    assert_eq!((made.old, made.new), (None, Some(app(3, "Agent"))), "a name need not be new");
    for (wrong, constraint) in [
        (App { name: String::new(), ..app(4, "x").app }, Constraint::Oauth2ProviderAppsNameCheck),
        (
            App { client_type: "secret".to_owned(), ..app(4, "x").app },
            Constraint::Oauth2ProviderAppsClientTypeKnown,
        ),
    ] {
        let wrong = RegisteredApp { app: wrong, registration_access_token: None };
        let outcome = store.run(by, InsertApp(wrong)).await;
        assert!(matches!(outcome, Err(Error::Check(found)) if found == constraint), "{outcome:?}");
    }
    refused!(store.run(by, InsertApp(app(4, &"x".repeat(65)))).await, Error::Unfit(_));
    refused!(
        store.run(by, InsertApp(app(3, "Again"))).await,
        Error::Conflict(Constraint::Oauth2ProviderAppsPkey)
    );

    let get = |n| GetApp { id: app_id(n) };
    for reader in [&owner, &alice] {
        assert_eq!(store.run(Call::by(reader), get(3)).await.unwrap(), app(3, "Agent").app);
        refused!(store.run(Call::by(reader), get(9)).await, Error::NotFound);
    }
    refused!(store.run(Call::by(&nobody), get(3)).await, Error::Denied(_));

    refused!(store.run(Call::by(&alice), update(2, None)).await, Error::Denied(_));
    refused!(store.run(by, update(9, None)).await, Error::NotFound);
    let change = store.run(by, update(2, None)).await.unwrap();
    let wanted = App {
        name: "Renamed".to_owned(),
        icon: "/icon.svg".to_owned(),
        callback_url: "https://example.com/back".to_owned(),
        updated_at: LATER,
        ..registered(2, "").app
    };
    assert_eq!((change.old, change.new), (Some(registered(2, "Editor").app), Some(wanted.clone())));
    let uris = vec!["https://example.com/back".to_owned()];
    let change = store.run(by, update(2, Some(uris.clone()))).await.unwrap();
    assert_eq!(change.new, Some(App { redirect_uris: uris, ..wanted }));

    refused!(store.run(Call::by(&alice), DeleteApp { id: app_id(3) }).await, Error::Denied(_));
    let gone = store.run(by, DeleteApp { id: app_id(3) }).await.unwrap();
    assert_eq!((gone.what.old, gone.api_keys), (Some(app(3, "Agent").app), vec![]));
    refused!(store.run(by, DeleteApp { id: app_id(3) }).await, Error::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_takes_along_all_that_was_issued_to_it() {
    let (db, store) = scene().await;
    add_secret(&store, 1, 1).await;
    let (one, other) = (add_grant(&store, 1, 1, 1).await, add_grant(&store, 2, 2, 1).await);
    add_code(&store, 1, &one).await;
    add_token(&store, 1, &one, 1).await;
    add_token(&store, 2, &other, 1).await;
    let gone = store.run(provider(), DeleteApp { id: app_id(1) }).await.unwrap();
    assert_eq!(gone.api_keys, [key_id(1)]);
    assert_eq!(value(&db, KEYS).await, key_id(2));
    let left = "SELECT (SELECT count(*) FROM oauth2_provider_app_secrets)
        || '/' || (SELECT count(*) FROM oauth2_provider_app_codes)
        || '/' || (SELECT count(*) FROM oauth2_provider_app_tokens)
        || '/' || (SELECT count(*) FROM oauth2_grants)";
    assert_eq!(value(&db, left).await, "0/0/1/1");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_listed_in_the_order_of_their_names() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    for (n, name, callback) in [
        (1, "beta", URI),
        (2, "Alpha", URI),
        (3, "alpha", "https://EXAMPLE.com/100%"),
        (4, "Gamma_1", URI),
    ] {
        let app = App { callback_url: callback.to_owned(), ..app(n, name).app };
        add_app(&store, RegisteredApp { app, registration_access_token: None }).await;
    }
    let (alice, nobody) = (member(1), subject(user_id(1), &[]));
    let all = || ListApps { search: None, after: None, offset: 0, limit: 0 };
    let some = |text: &str| ListApps { search: Some(text.to_owned()), ..all() };
    let after = |n| ListApps { after: Some(app_id(n)), ..all() };
    for (list, wanted) in [
        (all(), vec![2, 3, 1, 4]),
        (ListApps { limit: 2, ..all() }, vec![2, 3]),
        (ListApps { limit: 5_000, offset: 3, ..all() }, vec![4]),
        (ListApps { limit: -1, offset: -1, ..all() }, vec![2, 3, 1, 4]),
        (after(2), vec![3, 1, 4]),
        (after(3), vec![1, 4]),
        (ListApps { limit: 1, offset: 1, ..after(3) }, vec![4]),
        (after(4), vec![]),
        (some("ALPH"), vec![2, 3]),
        (some("example"), vec![3]),
        (some("%"), vec![3]),
        (some("_"), vec![4]),
        (some("\\"), vec![]),
        (ListApps { search: Some("a_1".to_owned()), ..after(1) }, vec![4]),
        (ListApps { search: Some("gamma".to_owned()), ..after(1) }, vec![4]),
    ] {
        let shown = format!("{list:?}");
        let page = store.run(Call::by(&alice), list).await.unwrap().unwrap();
        let found: Vec<_> = page.iter().map(|app| app.id.0).collect();
        assert_eq!(found, wanted.into_iter().map(app_id).collect::<Vec<_>>(), "{shown}");
    }
    assert_eq!(store.run(Call::by(&alice), after(9)).await.unwrap(), None);
    assert_eq!(store.run(Call::by(&nobody), after(2)).await.unwrap(), None);
    assert_eq!(store.run(Call::by(&nobody), all()).await.unwrap(), Some(vec![]));
    for (search, wanted) in [(None, 4), (Some("alpha".to_owned()), 2), (Some("z".to_owned()), 0)] {
        let count = || CountApps { search: search.clone() };
        assert_eq!(store.run(Call::by(&alice), count()).await.unwrap(), wanted);
        assert_eq!(store.run(Call::by(&nobody), count()).await.unwrap(), 0);
    }
}

fn metadata() -> ClientMetadata {
    ClientMetadata {
        name: "Editor 2".to_owned(),
        icon: String::new(),
        callback_url: "https://example.com/2".to_owned(),
        redirect_uris: vec!["https://example.com/2".to_owned()],
        grant_types: vec!["authorization_code".to_owned()],
        response_types: vec!["code".to_owned()],
        token_endpoint_auth_method: "none".to_owned(),
        scope: "workspace:read".to_owned(),
        contacts: vec!["a@example.com".to_owned()],
        client_uri: None,
        logo_uri: Some("https://example.com/logo.png".to_owned()),
        tos_uri: None,
        policy_uri: None,
        jwks_uri: Some("https://example.com/jwks".to_owned()),
        jwks: None,
        software_id: Some("editor".to_owned()),
        software_version: Some("2".to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_manages_its_own_registration_and_no_other() {
    let (_db, store) = scene().await;
    let alice = member(1);
    let find = |n| FindRegistration { id: app_id(n) };
    refused!(store.run(Call::by(&alice), find(2)).await, Error::Denied(_));
    assert_eq!(store.run(provider(), find(2)).await.unwrap(), Some(registered(2, "Editor")));
    assert_eq!(store.run(provider(), find(1)).await.unwrap(), Some(app(1, "Agent")));
    assert_eq!(store.run(provider(), find(9)).await.unwrap(), None);

    let set = |n, hash| SetRegistrationToken { id: app_id(n), hash, now: LATER };
    refused!(store.run(Call::by(&alice), set(2, vec![9; 32])).await, Error::Denied(_));
    for absent in [1, 9] {
        refused!(store.run(provider(), set(absent, vec![9; 32])).await, Error::NotFound);
    }
    refused!(
        store.run(provider(), set(2, vec![9; 31])).await,
        Error::Check(Constraint::Oauth2ProviderAppsRegistrationHash)
    );
    let change = store.run(provider(), set(2, vec![9; 32])).await.unwrap();
    let app = App { updated_at: LATER, ..registered(2, "Editor").app };
    let wanted = RegisteredApp { app, registration_access_token: Some(vec![9; 32]) };
    assert_eq!((change.old, change.new), (Some(registered(2, "Editor")), Some(wanted.clone())));
    assert_eq!(store.run(provider(), find(2)).await.unwrap(), Some(wanted.clone()));

    let update = |n| UpdateMetadata { id: app_id(n), metadata: metadata(), now: LATER };
    refused!(store.run(Call::by(&alice), update(2)).await, Error::Denied(_));
    for absent in [1, 9] {
        refused!(store.run(provider(), update(absent)).await, Error::NotFound);
    }
    let change = store.run(provider(), update(2)).await.unwrap();
    let new = change.new.unwrap();
    let ClientMetadata { name, callback_url, redirect_uris, grant_types, scope, .. } = metadata();
    let ClientMetadata { contacts, logo_uri, jwks_uri, software_id, software_version, .. } =
        metadata();
    let wanted = App {
        name,
        callback_url,
        redirect_uris,
        grant_types,
        scope,
        contacts,
        client_uri: None,
        logo_uri,
        jwks_uri,
        jwks: None,
        software_id,
        software_version,
        ..wanted.app
    };
    assert_eq!(new, wanted, "what it says no more is gone, and what it does not say stays");
    let kept = store.run(provider(), find(2)).await.unwrap().unwrap();
    assert_eq!(kept.registration_access_token, Some(vec![9; 32]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_is_noted_once_a_minute() {
    let (_db, store) = scene().await;
    let touch = |n, now| TouchApp { id: app_id(n), now };
    refused!(store.run(Call::by(&member(1)), touch(1, NOW)).await, Error::Denied(_));
    for (seconds, wanted) in [(0, 0), (59, 0), (60, 60), (10, 60), (180, 180)] {
        store.run(provider(), touch(1, NOW + Duration::from_secs(seconds))).await.unwrap();
        let found = store.run(provider(), GetApp { id: app_id(1) }).await.unwrap();
        assert_eq!(found.last_used_at, Some(NOW + Duration::from_secs(wanted)));
        assert_eq!(found.updated_at, NOW);
    }
    store.run(provider(), touch(9, NOW)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_nobody_ever_used_are_removed() {
    let (db, store) = scene().await;
    let old = NOW - Duration::from_hours(48);
    for n in 3..=8 {
        let new = registered(n, "Old");
        let app = App { created_at: old + Duration::from_secs(n.into()), ..new.app };
        add_app(&store, RegisteredApp { app, ..new }).await;
    }
    // One was granted something, one was until it was revoked, one was used lately, and one long ago.
    add_grant(&store, 3, 3, 1).await;
    add_grant(&store, 4, 4, 1).await;
    db.sql("UPDATE oauth2_grants SET revoked_at = now(), revoke_reason = 'x' WHERE app_id::text LIKE '%4'")
        .await
        .unwrap();
    store.run(provider(), TouchApp { id: app_id(5), now: NOW }).await.unwrap();
    store.run(provider(), TouchApp { id: app_id(6), now: old }).await.unwrap();
    let unused = |limit| DeleteUnusedApps { before: NOW - Duration::from_hours(24), limit };
    refused!(store.run(Call::by(&member(1)), unused(9)).await, Error::Denied(_));
    let mut gone = Vec::new();
    for wanted in [1, 1, 1, 0] {
        let batch = store.run(provider(), unused(1)).await.unwrap();
        assert_eq!(batch.len(), wanted);
        gone.extend(batch.into_iter().map(|change| change.old.unwrap().id.0));
    }
    assert_eq!(gone, [app_id(6), app_id(7), app_id(8)]);
    let left = "SELECT count(*) FROM oauth2_provider_apps";
    assert_eq!(value(&db, left).await, "5", "those of administrators and new ones stay as well");
    assert_eq!(store.run(provider(), unused(0)).await.unwrap(), []);
}

/// What a user consents to at this moment is neither lost nor granted to a client that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_not_removed_while_something_is_granted_to_it() {
    let (db, store) = scene().await;
    let unused = || DeleteUnusedApps { before: LATER, limit: 9 };
    let kept = store.tx(provider(), TxOptions::write("test"), async |tx| {
        tx.run(grant(1, 2, 1)).await?;
        store.run(provider(), unused()).await
    });
    assert_eq!(Box::pin(kept).await.unwrap(), []);
    assert_eq!(value(&db, "SELECT count(*) FROM oauth2_grants").await, "1");

    add_app(&store, registered(3, "Unused")).await;
    let (gone, late) =
        meet((&db, &store), (provider(), unused), (provider(), grant(2, 3, 1))).await;
    assert_eq!(gone.unwrap().len(), 1);
    refused!(late, Error::Missing(Constraint::Oauth2GrantsAppFk));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sees_which_clients_may_act_for_him_now() {
    let (_db, store) = scene().await;
    add_user(&store, 3, "carol").await;
    let (agent, editor) = (add_grant(&store, 1, 1, 1).await, add_grant(&store, 2, 2, 1).await);
    let again = add_grant(&store, 3, 2, 1).await;
    let bobs = add_grant(&store, 4, 1, 2).await;
    for (n, of, user) in [(1, &agent, 1), (2, &editor, 1), (3, &again, 1), (4, &bobs, 2)] {
        add_token(&store, n, of, user).await;
    }
    // A rotated one does not count, its successor does.
    add_key(&store, 5, 1).await;
    let rotate = RotateToken { id: super::token_id(2), successor: token(5, &editor), now: NOW };
    store.run(provider(), rotate).await.unwrap();
    let list = |n, now| ListAppsOfUser { user_id: user_id(n), now };
    let counted = async |store: &Full, n, now| {
        let (by, owner) = (member(n), owner());
        let own = store.run(Call::by(&by), list(n, now)).await.unwrap();
        assert_eq!(store.run(Call::by(&owner), list(n, now)).await.unwrap(), own);
        own.into_iter().map(|(app, count)| (app.id, count)).collect::<Vec<_>>()
    };
    assert_eq!(counted(&store, 1, NOW).await, [(Pk(app_id(1)), 1), (Pk(app_id(2)), 2)]);
    assert_eq!(counted(&store, 2, NOW).await, [(Pk(app_id(1)), 1)]);
    assert_eq!(counted(&store, 3, NOW).await, []);
    assert_eq!(counted(&store, 1, NOW + Duration::from_hours(720)).await, [], "expired");
    refused!(store.run(Call::by(&member(2)), list(1, NOW)).await, Error::Denied(_));
}
