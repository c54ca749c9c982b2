//! Users, keys, organizations: allowed, refused, absent, in conflict.

use std::time::Duration;

use rbac::{Scope, system};
use stdx::ids::OrganizationId;
use store::ai_providers::{
    DeleteKey, DeleteProvider, GetProvider, InsertProvider, ListKeys, ListProviders, NewSettings,
    ProviderRef, UpdateProvider,
};
use store::api_keys::{
    DeleteApiKey, ExpireApiKey, GetApiKey, GetTokenByName, InsertApiKey, ListTokens,
};
use store::organizations::{GetDefault, InsertMember, InsertOrganization, ListIdsOfUser};
use store::users::{AnyExists, FindLogin, GetUser, GetUserByName, InsertUser, UpdateStatus};
use store::{Call, Constraint, Error, Full, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::scene::{
    NOW, add_user, limited, member, new_key, new_user, owner, subject, user_id, value,
};
use crate::systems::{provider, provider_key};

async fn fresh() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    (db, store)
}

macro_rules! refused {
    ($outcome:expr, $pattern:pat $(if $also:expr)?) => {{
        let outcome = $outcome;
        assert!(matches!(outcome, Err($pattern) $(if $also)?), "{outcome:?}");
    }};
}

async fn soft_delete(db: &TestDb, n: u32) {
    db.sql(&format!("UPDATE users SET deleted = true WHERE id = '{}'", user_id(n))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_addresses_are_taken_whatever_the_case_until_the_user_is_deleted() {
    let (db, store) = fresh().await;
    let owner = owner();
    let by = Call::by(&owner);
    assert!(!store.run(by, AnyExists).await.unwrap());
    add_user(&store, 1, "Alice").await;
    assert!(store.run(by, AnyExists).await.unwrap());
    refused!(
        store.run(by, new_user(2, "aLICE")).await,
        Error::Conflict(Constraint::UsersUsernameLowerKey)
    );
    let same_address = InsertUser { email: "ALICE@example.COM".to_owned(), ..new_user(2, "bob") };
    refused!(store.run(by, same_address).await, Error::Conflict(Constraint::UsersEmailLowerKey));
    refused!(
        store.run(by, InsertUser { email: "x@y".to_owned(), ..new_user(1, "bob") }).await,
        Error::Conflict(Constraint::UsersPkey)
    );
    for (bad, rule) in [
        (new_user(2, "-bob"), Constraint::UsersUsernameShape),
        (new_user(2, &"b".repeat(33)), Constraint::UsersUsernameShape),
        (InsertUser { name: "n".repeat(129), ..new_user(2, "bob") }, Constraint::UsersNameLength),
        (InsertUser { status: "awake", ..new_user(2, "bob") }, Constraint::UsersStatusKnown),
        (InsertUser { login_type: "magic", ..new_user(2, "bob") }, Constraint::UsersLoginTypeKnown),
        (InsertUser { email: String::new(), ..new_user(2, "bob") }, Constraint::UsersEmailNotEmpty),
    ] {
        refused!(store.run(by, bad).await, Error::Check(found) if found == rule);
    }
    soft_delete(&db, 1).await;
    let again = add_user(&store, 2, "alice").await;
    let found = store.run(by, GetUserByName { username: "ALICE".to_owned() }).await.unwrap();
    assert_eq!(found, again);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_read_by_those_who_may_and_found_by_name_while_alive() {
    let (db, store) = fresh().await;
    let alice = add_user(&store, 1, "alice").await;
    add_user(&store, 2, "bob").await;
    let (own, other, nobody) = (member(1), member(2), subject(user_id(2), &[]));
    assert_eq!(store.run(Call::by(&own), GetUser { id: user_id(1) }).await.unwrap(), alice);
    refused!(store.run(Call::by(&nobody), GetUser { id: user_id(1) }).await, Error::Denied(_));
    refused!(store.run(Call::by(&owner()), GetUser { id: user_id(3) }).await, Error::NotFound);
    let by_name = |username: &str| GetUserByName { username: username.to_owned() };
    assert_eq!(store.run(Call::by(&own), by_name("Alice")).await.unwrap(), alice);
    refused!(store.run(Call::by(&nobody), by_name("alice")).await, Error::Denied(_));
    refused!(store.run(Call::by(&owner()), by_name("carol")).await, Error::NotFound);
    let status = UpdateStatus { id: user_id(1), status: "suspended", now: NOW };
    refused!(store.run(Call::by(&other), status).await, Error::Denied(_));
    let status = |id| UpdateStatus { id, status: "suspended", now: NOW };
    refused!(store.run(Call::by(&owner()), status(user_id(3))).await, Error::NotFound);
    let change = store.run(Call::by(&owner()), status(user_id(1))).await.unwrap();
    assert_eq!(change.old.unwrap().status, "active");
    assert_eq!(change.new.unwrap().status, "suspended");
    soft_delete(&db, 1).await;
    refused!(store.run(Call::by(&owner()), by_name("alice")).await, Error::NotFound);
    assert!(store.run(Call::by(&owner()), GetUser { id: user_id(1) }).await.unwrap().deleted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_found_by_address_by_the_authenticator_alone() {
    let (db, store) = fresh().await;
    add_user(&store, 1, "alice").await;
    db.sql(&format!(
        "INSERT INTO users (id, email, username, created_at, updated_at, is_service_account, login_type)
         VALUES ('{}', '', 'robot', now(), now(), true, 'none')",
        user_id(2)
    ))
    .await
    .unwrap();
    let find = |email: &str| FindLogin { email: email.to_owned() };
    let by = Call::by(system::authenticator());
    let found = store.run(by, find("ALICE@EXAMPLE.COM")).await.unwrap().unwrap();
    assert_eq!((found.user.username.as_str(), found.hashed_password.is_empty()), ("alice", false));
    assert!(store.run(by, find("")).await.unwrap().is_none(), "an empty address found somebody");
    assert!(store.run(by, find("alice@example.co_")).await.unwrap().is_none());
    refused!(store.run(Call::by(&member(1)), find("alice@example.com")).await, Error::Denied(_));
    db.sql("UPDATE users SET is_system = true WHERE username = 'alice'").await.unwrap();
    assert!(store.run(by, find("alice@example.com")).await.unwrap().is_none());
    db.sql("UPDATE users SET is_system = false, deleted = true").await.unwrap();
    assert!(store.run(by, find("alice@example.com")).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_user_takes_keys_and_memberships_and_refuses_new_keys() {
    let (db, store) = fresh().await;
    let owner = owner();
    let by = Call::by(&owner);
    add_user(&store, 1, "alice").await;
    let organization = OrganizationId::new(Uuid::from_u128(0x20));
    let new = InsertOrganization {
        id: organization,
        name: "coder".to_owned(),
        display_name: String::new(),
        is_default: true,
        now: NOW,
    };
    store.run(by, new).await.unwrap();
    let join = || InsertMember { organization_id: organization, user_id: user_id(1), now: NOW };
    store.run(by, join()).await.unwrap();
    refused!(store.run(by, join()).await, Error::Conflict(Constraint::OrganizationMembersPkey));
    refused!(store.run(Call::by(&member(2)), join()).await, Error::Denied(_));
    refused!(
        store.run(by, InsertMember { user_id: user_id(7), ..join() }).await,
        Error::Missing(Constraint::OrganizationMembersUserFk)
    );
    let ids = store.run(by, ListIdsOfUser { user_id: user_id(1) }).await.unwrap();
    assert_eq!(ids, [organization.uuid()]);
    db.sql(&format!(
        "INSERT INTO groups (id, organization_id, name) VALUES ('{0}', '{1}', 'staff');
         INSERT INTO group_members VALUES ('{0}', '{2}')",
        Uuid::from_u128(0x30),
        organization,
        user_id(1)
    ))
    .await
    .unwrap();
    store.run(by, InsertApiKey(new_key("key0000001", 1, ""))).await.unwrap();
    let left =
        "SELECT (SELECT count(*) FROM api_keys) + (SELECT count(*) FROM organization_members)
        + (SELECT count(*) FROM group_members) + (SELECT count(*) FROM group_members_expanded)";
    assert_eq!(value(&db, left).await, "5");
    soft_delete(&db, 1).await;
    assert_eq!(value(&db, left).await, "0");
    refused!(
        store.run(by, InsertApiKey(new_key("key0000002", 1, ""))).await,
        Error::Check(Constraint::ApiKeysUserNotDeleted)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_an_organization_is_leaving_its_groups() {
    let (db, store) = fresh().await;
    add_user(&store, 1, "alice").await;
    db.sql(&format!(
        "INSERT INTO organizations (id, name, created_at, updated_at)
         SELECT ('00000000-0000-0000-0000-00000000002' || i)::uuid, 'org' || i, now(), now() FROM generate_series(0, 1) i;
         INSERT INTO groups (id, organization_id, name) SELECT ('00000000-0000-0000-0000-00000000003' || right(id::text, 1))::uuid, id, 'staff' FROM organizations;
         INSERT INTO organization_members SELECT id, '{0}', now(), now() FROM organizations;
         INSERT INTO group_members SELECT id, '{0}' FROM groups;
         DELETE FROM organization_members WHERE organization_id::text LIKE '%20'",
        user_id(1)
    ))
    .await
    .unwrap();
    assert_eq!(value(&db, "SELECT right(group_id::text, 2) FROM group_members").await, "31");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_one_name_per_user_and_only_tokens_have_names() {
    let (_db, store) = fresh().await;
    let owner = owner();
    let by = Call::by(&owner);
    add_user(&store, 1, "alice").await;
    add_user(&store, 2, "bob").await;
    let insert = |id: &str, n: u32, name: &str| InsertApiKey(new_key(id, n, name));
    store.run(by, insert("key0000001", 1, "ci")).await.unwrap();
    refused!(
        store.run(by, insert("key0000002", 1, "ci")).await,
        Error::Conflict(Constraint::ApiKeysTokenNameKey)
    );
    store.run(by, insert("key0000002", 1, "CI")).await.unwrap();
    store.run(by, insert("key0000003", 2, "ci")).await.unwrap();
    for id in ["key0000004", "key0000005"] {
        store.run(by, insert(id, 1, "")).await.unwrap();
    }
    refused!(
        store.run(by, insert("key0000001", 1, "other")).await,
        Error::Conflict(Constraint::ApiKeysPkey)
    );
    refused!(
        store.run(by, insert("key0000009", 9, "ci")).await,
        Error::Missing(Constraint::ApiKeysUserFk)
    );
    let mut bad = new_key("key0000009", 1, "bad");
    bad.scopes.clear();
    refused!(
        store.run(by, InsertApiKey(bad)).await,
        Error::Check(Constraint::ApiKeysScopesNotEmpty)
    );
    let named = |name: &str| GetTokenByName { user_id: user_id(1), token_name: name.to_owned() };
    assert_eq!(store.run(by, named("ci")).await.unwrap().id, "key0000001");
    refused!(store.run(by, named("")).await, Error::NotFound);
    refused!(store.run(by, named("ci_")).await, Error::NotFound);
    refused!(store.run(Call::by(&member(2)), named("ci")).await, Error::Denied(_));
    refused!(store.run(Call::by(&member(2)), insert("key0000008", 1, "x")).await, Error::Denied(_));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_expired_and_deleted_by_their_owners() {
    let (db, store) = fresh().await;
    add_user(&store, 1, "alice").await;
    add_user(&store, 2, "bob").await;
    let (alice, bob, owner) = (member(1), member(2), owner());
    let mut old = new_key("key0000001", 1, "old");
    old.expires_at = NOW - Duration::from_secs(1);
    old.created_at = NOW - Duration::from_hours(1);
    for key in [old, new_key("key0000002", 1, "new"), new_key("key0000003", 1, "")] {
        store.run(Call::by(&alice), InsertApiKey(key)).await.unwrap();
    }
    store.run(Call::by(&bob), InsertApiKey(new_key("key0000004", 2, "bobs"))).await.unwrap();
    let list = async |by: &std::sync::Arc<rbac::Subject>, user: Option<u32>, live: bool| {
        let query = ListTokens { user_id: user.map(user_id), live_at: live.then_some(NOW) };
        let rows = store.run(Call::by(by), query).await.unwrap();
        rows.into_iter().map(|(key, user)| format!("{user}/{}", key.token_name)).collect::<Vec<_>>()
    };
    assert_eq!(list(&alice, None, false).await, ["alice/new", "alice/old"]);
    assert_eq!(list(&alice, None, true).await, ["alice/new"]);
    assert_eq!(list(&bob, Some(1), false).await, Vec::<String>::new());
    assert_eq!(list(&owner, None, false).await, ["alice/new", "bob/bobs", "alice/old"]);
    assert_eq!(list(&owner, Some(2), false).await, ["bob/bobs"]);
    // A credential for one thing by identifier names no key, as keys have none that it could name.
    let allow = format!("api_key:{}", user_id(1));
    let narrow = Scope::all().narrowed_to(&rbac::AllowList::parse(&[allow]).unwrap());
    let narrow = limited(user_id(1), &["member"], narrow);
    assert_eq!(list(&narrow, None, false).await, Vec::<String>::new());

    let expire = |id: &str| ExpireApiKey { id: id.to_owned(), now: NOW };
    refused!(store.run(Call::by(&bob), expire("key0000002")).await, Error::Denied(_));
    refused!(store.run(Call::by(&bob), expire("absent0000")).await, Error::NotFound);
    let change = store.run(Call::by(&alice), expire("key0000002")).await.unwrap();
    assert!(change.old.unwrap().expires_at > NOW);
    assert_eq!(change.new.unwrap().expires_at, NOW);
    let delete = |id: &str| DeleteApiKey { id: id.to_owned() };
    refused!(store.run(Call::by(&bob), delete("key0000002")).await, Error::Denied(_));
    refused!(store.run(Call::by(&alice), delete("absent0000")).await, Error::NotFound);
    let change = store.run(Call::by(&alice), delete("key0000002")).await.unwrap();
    assert_eq!((change.old.unwrap().id.as_str(), change.new), ("key0000002", None));
    let get = |id: &str| GetApiKey { id: id.to_owned() };
    refused!(store.run(Call::by(&alice), get("key0000002")).await, Error::NotFound);
    refused!(store.run(Call::by(&bob), get("key0000001")).await, Error::Denied(_));
    assert_eq!(store.run(Call::by(&alice), get("key0000001")).await.unwrap().token_name, "old");
    assert_eq!(value(&db, "SELECT count(*) FROM api_keys").await, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_default_organization_and_names_ignore_case() {
    let (_db, store) = fresh().await;
    let owner = owner();
    let by = Call::by(&owner);
    refused!(store.run(by, GetDefault).await, Error::NotFound);
    let new = |n: u128, name: &str, is_default| InsertOrganization {
        id: OrganizationId::new(Uuid::from_u128(n)),
        name: name.to_owned(),
        display_name: String::new(),
        is_default,
        now: NOW,
    };
    store.run(by, new(1, "coder", true)).await.unwrap();
    refused!(
        store.run(by, new(2, "other", true)).await,
        Error::Conflict(Constraint::OrganizationsDefaultKey)
    );
    refused!(
        store.run(by, new(2, "CODER", false)).await,
        Error::Conflict(Constraint::OrganizationsNameLowerKey)
    );
    refused!(
        store.run(by, new(2, "a b", false)).await,
        Error::Check(Constraint::OrganizationsNameShape)
    );
    refused!(store.run(Call::by(&member(1)), new(2, "other", false)).await, Error::Denied(_));
    assert_eq!(store.run(by, GetDefault).await.unwrap().name, "coder");
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_have_one_live_name_and_their_keys_go_with_them() {
    let (_db, store) = fresh().await;
    let owner = owner();
    let by = Call::by(&owner);
    let created = store.run(by, provider(1, "openai")).await.unwrap().new.unwrap();
    refused!(
        store.run(by, provider(2, "openai")).await,
        Error::Conflict(Constraint::AiProvidersNameUnique)
    );
    refused!(
        store.run(by, provider(2, "Open_AI")).await,
        Error::Check(Constraint::AiProvidersNameCheck)
    );
    refused!(
        store.run(by, InsertProvider { kind: "abacus".to_owned(), ..provider(2, "x") }).await,
        Error::Check(Constraint::AiProvidersTypeKnown)
    );
    refused!(store.run(by, provider_key(1, 7, "sk")).await, Error::NotFound);
    let key = store.run(by, provider_key(2, 1, "sk-2")).await.unwrap().new.unwrap();
    store.run(by, provider_key(1, 1, "sk-1")).await.unwrap();
    let other = store.run(by, provider(3, "other")).await.unwrap().new.unwrap();
    let keys = store.run(by, ListKeys { provider_id: Some(created.id) }).await.unwrap();
    let order: Vec<&str> = keys.iter().map(|key| key.api_key.expose().as_str()).collect();
    assert_eq!(order, ["sk-1", "sk-2"], "oldest first");
    assert!(store.run(by, ListKeys { provider_id: Some(other.id) }).await.unwrap().is_empty());
    refused!(store.run(by, DeleteKey { provider_id: other.id, id: key.id }).await, Error::NotFound);
    let gone = store.run(by, DeleteKey { provider_id: created.id, id: key.id }).await.unwrap();
    assert_eq!(gone.old.unwrap().api_key.expose(), "sk-2");

    let delete = || DeleteProvider { id: created.id, now: NOW };
    refused!(store.run(Call::by(&member(1)), delete()).await, Error::Denied(_));
    let (change, keys) = store.run(by, delete()).await.unwrap();
    assert!(change.new.as_ref().unwrap().deleted && !change.new.unwrap().enabled);
    assert_eq!(keys.len(), 1);
    refused!(store.run(by, delete()).await, Error::NotFound);
    let update = UpdateProvider {
        id: created.id,
        display_name: None,
        icon: String::new(),
        enabled: true,
        base_url: String::new(),
        settings: NewSettings::Keep,
        now: NOW,
    };
    refused!(store.run(by, update).await, Error::NotFound);
    for by_ref in [ProviderRef::Id(created.id), ProviderRef::Name("openai".to_owned())] {
        refused!(store.run(by, GetProvider(by_ref)).await, Error::NotFound);
    }
    assert_eq!(store.run(by, ListProviders { include_deleted: false }).await.unwrap().len(), 1);
    assert_eq!(store.run(by, ListProviders { include_deleted: true }).await.unwrap().len(), 2);
    store.run(by, provider(4, "openai")).await.unwrap();
    refused!(store.run(by, provider_key(5, 1, "sk-late")).await, Error::NotFound);
}
