//! What belongs to one user: links, secrets, keys, skills, settings.

use std::sync::Arc;
use std::time::Duration;

use rbac::{Subject, system};
use serde_json::json;
use stdx::Secret;
use stdx::ids::{OrganizationId, UserSecretId, UserSkillId};
use store::api_keys::{DeleteKeysOfUser, FindLastUsedId, InsertApiKey, ListKeys};
use store::external_auth_links::{
    DeleteExternalAuthLink, GetExternalAuthLink, InsertExternalAuthLink, ListExternalAuthLinks,
    UpdateExternalAuthLink, UpdateRefreshToken,
};
use store::git_ssh_keys::{DeleteGitSshKey, GetGitSshKey, InsertGitSshKey, UpdateGitSshKey};
use store::user_configs::{ListUserConfigs, SetUserConfig};
use store::user_links::{
    FindByLinkedId, GetUserLink, InsertUserLink, ListClaimFields, ListClaimValues, ListUserLinks,
    SetLinkedId, Tokens, UpdateUserLink,
};
use store::user_secrets::{
    DeleteUserSecret, GetUserSecret, InsertUserSecret, ListUserSecrets, ListValues,
    UpdateUserSecret,
};
use store::user_skills::{
    DeleteUserSkill, GetUserSkill, InsertUserSkill, ListUserSkills, TRIGGER_RULES, UpdateUserSkill,
};
use store::users::DeleteUser;
use store::{Call, Constraint, Error, Full, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::people::{ORG, organization};
use crate::scene::{NOW, add_user, member, new_key, owner, subject, user_id, value};
use crate::sealed::{digest, ring};

/// Alice and Bob, in a deployment that encrypts.
async fn scene() -> (TestDb, Full, Arc<Subject>, Arc<Subject>) {
    let db = TestDb::new().await;
    let store = db.store_with(ring(&[1])).await.unwrap();
    add_user(&store, 1, "alice").await;
    add_user(&store, 2, "bob").await;
    (db, store, member(1), member(2))
}

macro_rules! refused {
    ($outcome:expr, $pattern:pat) => {{
        let outcome = $outcome;
        assert!(matches!(outcome, Err($pattern)), "{outcome:?}");
    }};
}

fn tokens(access: &str, refresh: &str) -> Tokens {
    Tokens { access: Secret::from(access), refresh: Secret::from(refresh), expiry: Some(NOW) }
}

fn shown(tokens: &Tokens) -> (&str, &str) {
    (tokens.access.expose(), tokens.refresh.expose())
}

/// Every text of a table, as stored.
async fn dump(db: &TestDb, table: &str) -> String {
    value(db, &format!("SELECT string_agg(t::text, '|') FROM {table} t")).await
}

async fn is_sealed(db: &TestDb, table: &str, secret: &str) {
    let at_rest = dump(db, table).await;
    assert!(!at_rest.contains(secret), "{table} holds a secret in the clear");
    assert!(at_rest.contains(&digest(1)), "{table} does not say which key sealed it");
}

fn link(n: u32, login_type: &'static str, linked_id: &str) -> InsertUserLink {
    InsertUserLink {
        id: Uuid::from_u128(0x1100 + u128::from(n)),
        user_id: user_id(n),
        login_type,
        linked_id: linked_id.to_owned(),
        oauth: tokens("access-secret", "refresh-secret"),
        claims: json!({ "merged_claims": { "groups": ["ops", "devs"], "email": "a@b" } }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_are_linked_once_and_found_by_the_authenticator() {
    let (db, store, alice, bob) = scene().await;
    let authenticator = Call::by(system::authenticator());
    refused!(store.run(Call::by(&alice), link(1, "oidc", "me")).await, Error::Denied(_));
    let made = store.run(authenticator, link(1, "oidc", "https://id||alice")).await.unwrap();
    assert_eq!(shown(&made.oauth), ("access-secret", "refresh-secret"));
    is_sealed(&db, "user_links", "-secret").await;
    refused!(
        store.run(authenticator, InsertUserLink { id: Uuid::nil(), ..link(1, "oidc", "x") }).await,
        Error::Conflict(Constraint::UserLinksUserLoginTypeKey)
    );
    refused!(
        store.run(authenticator, link(2, "oidc", "https://id||alice")).await,
        Error::Conflict(Constraint::UserLinksLinkedIdKey)
    );
    refused!(
        store.run(authenticator, link(2, "password", "x")).await,
        Error::Check(Constraint::UserLinksLoginTypeKnown)
    );
    store.run(authenticator, link(2, "oidc", "")).await.unwrap();
    let find = |login_type, linked_id: &str| FindByLinkedId {
        login_type,
        linked_id: linked_id.to_owned(),
    };
    let found = store.run(authenticator, find("oidc", "https://id||alice")).await.unwrap();
    assert_eq!(found.unwrap().user_id, user_id(1));
    for (login_type, nobody) in [("oidc", ""), ("github", "https://id||alice"), ("oidc", "\0")] {
        assert!(store.run(authenticator, find(login_type, nobody)).await.unwrap().is_none());
    }
    refused!(
        store.run(Call::by(&alice), find("oidc", "https://id||alice")).await,
        Error::Denied(_)
    );

    let get = |n| GetUserLink { user_id: user_id(n), login_type: "oidc" };
    let own = store.run(Call::by(&alice), get(1)).await.unwrap();
    assert_eq!((own.id, shown(&own.oauth)), (made.id, ("access-secret", "refresh-secret")));
    refused!(store.run(Call::by(&bob), get(1)).await, Error::Denied(_));
    refused!(store.run(Call::by(&owner()), get(7)).await, Error::NotFound);
    let list = || ListUserLinks { user_id: user_id(1) };
    assert_eq!(store.run(Call::by(&alice), list()).await.unwrap().len(), 1);
    refused!(store.run(Call::by(&bob), list()).await, Error::Denied(_));
    let update = |n| UpdateUserLink {
        user_id: user_id(n),
        login_type: "oidc",
        oauth: tokens("new-secret", ""),
        claims: json!({}),
    };
    refused!(store.run(Call::by(&bob), update(1)).await, Error::Denied(_));
    refused!(store.run(Call::by(&owner()), update(7)).await, Error::NotFound);
    let wrong = UpdateUserLink { claims: json!([]), ..update(1) };
    refused!(
        store.run(Call::by(&alice), wrong).await,
        Error::Check(Constraint::UserLinksClaimsObject)
    );
    let new = store.run(Call::by(&alice), update(1)).await.unwrap();
    assert_eq!(
        (shown(&new.oauth), new.linked_id.as_str()),
        (("new-secret", ""), "https://id||alice")
    );
    let set = |n, linked_id: &str| SetLinkedId {
        user_id: user_id(n),
        login_type: "oidc",
        linked_id: linked_id.to_owned(),
    };
    refused!(store.run(Call::by(&bob), set(2, "https://id||bob")).await, Error::Denied(_));
    store.run(authenticator, set(2, "https://id||bob")).await.unwrap();
    refused!(store.run(authenticator, set(2, "https://id||mallory")).await, Error::NotFound);

    store.run(Call::by(&owner()), DeleteUser { id: user_id(2), now: NOW }).await.unwrap();
    refused!(
        store.run(authenticator, link(2, "oidc", "https://id||bob")).await,
        Error::Check(Constraint::UserLinksUserNotDeleted)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_are_listed_for_those_who_write_rules_about_them() {
    let (db, store, alice, _) = scene().await;
    organization(&store, &[1]).await;
    let authenticator = Call::by(system::authenticator());
    store.run(authenticator, link(1, "oidc", "a")).await.unwrap();
    let other = json!({ "merged_claims": { "team": "blue", "level": 3, "groups": ["qa"] } });
    let other = InsertUserLink { claims: other, ..link(2, "oidc", "b") };
    store.run(authenticator, other).await.unwrap();
    let by = owner();
    let fields = |organization_id| ListClaimFields { organization_id };
    let values =
        |organization_id, field: &str| ListClaimValues { organization_id, field: field.to_owned() };
    let nowhere = OrganizationId::new(Uuid::from_u128(0x99));
    for (organization, names, groups) in [
        (None, vec!["email", "groups", "level", "team"], vec!["devs", "ops", "qa"]),
        (Some(ORG), vec!["email", "groups"], vec!["devs", "ops"]),
        (Some(nowhere), vec![], vec![]),
    ] {
        assert_eq!(store.run(Call::by(&by), fields(organization)).await.unwrap(), names);
        let found = store.run(Call::by(&by), values(organization, "groups")).await.unwrap();
        assert_eq!(found, groups);
    }
    assert_eq!(store.run(Call::by(&by), values(None, "level")).await.unwrap(), ["3"]);
    refused!(store.run(Call::by(&alice), fields(None)).await, Error::Denied(_));
    refused!(store.run(Call::by(&alice), values(Some(ORG), "groups")).await, Error::Denied(_));
    // Claims of an unknown shape are nobody's fault.
    db.sql("UPDATE user_links SET claims = '{\"merged_claims\": [1]}'").await.unwrap();
    assert!(store.run(Call::by(&by), fields(None)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_services_outside_are_replaced_only_by_who_knows_the_last() {
    let (db, store, alice, bob) = scene().await;
    let provider_id = || "github".to_owned();
    let insert = |n: u32| InsertExternalAuthLink {
        id: Uuid::from_u128(0x1200 + u128::from(n)),
        user_id: user_id(n),
        provider_id: provider_id(),
        oauth: tokens("access-secret", "refresh-secret"),
        oauth_extra: Some(json!({ "scope": "repo" })),
        now: NOW,
    };
    refused!(store.run(Call::by(&bob), insert(1)).await, Error::Denied(_));
    store.run(Call::by(&alice), insert(1)).await.unwrap();
    is_sealed(&db, "external_auth_links", "-secret").await;
    let again = InsertExternalAuthLink { id: Uuid::nil(), ..insert(1) };
    refused!(
        store.run(Call::by(&alice), again).await,
        Error::Conflict(Constraint::ExternalAuthLinksUserProviderKey)
    );
    refused!(store.run(Call::by(&owner()), insert(7)).await, Error::NotFound);
    let get = || GetExternalAuthLink { user_id: user_id(1), provider_id: provider_id() };
    refused!(store.run(Call::by(&bob), get()).await, Error::Denied(_));
    refused!(
        store.run(Call::by(&bob), GetExternalAuthLink { user_id: user_id(2), ..get() }).await,
        Error::NotFound
    );
    let refresh = |known: &str, refresh: &str, failure_reason: &str| UpdateRefreshToken {
        user_id: user_id(1),
        provider_id: provider_id(),
        known: Secret::from(known),
        refresh: Secret::from(refresh),
        failure_reason: failure_reason.to_owned(),
        now: NOW,
    };
    refused!(store.run(Call::by(&bob), refresh("refresh-secret", "", "")).await, Error::Denied(_));
    let sealed = "SELECT oauth_refresh_token FROM external_auth_links";
    let before = value(&db, sealed).await;
    assert!(!store.run(Call::by(&alice), refresh("outdated", "", "dead")).await.unwrap());
    assert_eq!(value(&db, sealed).await, before);
    assert!(
        store.run(Call::by(&alice), refresh("refresh-secret", "second-secret", "")).await.unwrap()
    );
    assert!(!store.run(Call::by(&alice), refresh("refresh-secret", "", "dead")).await.unwrap());
    let link = store.run(Call::by(&alice), get()).await.unwrap();
    assert_eq!(shown(&link.oauth), ("access-secret", "second-secret"));
    // The same holds after the keys have changed, and the row says which key it is sealed by.
    let rotated = db.store_with(ring(&[2, 1])).await.unwrap();
    assert!(rotated.run(Call::by(&alice), refresh("second-secret", "", "revoked")).await.unwrap());
    let key = "SELECT oauth_refresh_token_key_id FROM external_auth_links";
    assert_eq!(value(&db, key).await, digest(2));
    let link = rotated.run(Call::by(&alice), get()).await.unwrap();
    assert_eq!(shown(&link.oauth), ("access-secret", ""));
    assert_eq!(link.refresh_failure_reason, "revoked");

    let update = |n| UpdateExternalAuthLink {
        user_id: user_id(n),
        provider_id: provider_id(),
        oauth: tokens("third-secret", "fourth-secret"),
        oauth_extra: None,
        now: NOW,
    };
    refused!(rotated.run(Call::by(&bob), update(1)).await, Error::Denied(_));
    refused!(rotated.run(Call::by(&bob), update(2)).await, Error::NotFound);
    let link = rotated.run(Call::by(&alice), update(1)).await.unwrap();
    assert_eq!(
        (shown(&link.oauth), link.refresh_failure_reason.as_str()),
        (("third-secret", "fourth-secret"), "")
    );
    // A row that does not open is its own fault.
    rotated
        .run(
            Call::by(&alice),
            InsertExternalAuthLink {
                id: Uuid::nil(),
                provider_id: "gitlab".to_owned(),
                ..insert(1)
            },
        )
        .await
        .unwrap();
    db.sql("UPDATE external_auth_links SET oauth_access_token = 'x' WHERE provider_id = 'gitlab'")
        .await
        .unwrap();
    let list = || ListExternalAuthLinks { user_id: user_id(1) };
    let links = rotated.run(Call::by(&alice), list()).await.unwrap();
    let faults: Vec<bool> = links.iter().map(|link| link.fault.is_some()).collect();
    assert_eq!(faults, [false, true]);
    refused!(rotated.run(Call::by(&bob), list()).await, Error::Denied(_));
    let delete = || DeleteExternalAuthLink { user_id: user_id(1), provider_id: provider_id() };
    refused!(rotated.run(Call::by(&bob), delete()).await, Error::Denied(_));
    rotated.run(Call::by(&alice), delete()).await.unwrap();
    refused!(rotated.run(Call::by(&alice), delete()).await, Error::NotFound);
    assert!(!rotated.run(Call::by(&alice), refresh("fourth-secret", "", "")).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_one_key_pair_for_git() {
    let (db, store, alice, bob) = scene().await;
    let insert = |id, private_key: &str| InsertGitSshKey {
        id: Uuid::from_u128(id),
        user_id: user_id(1),
        private_key: Secret::from(private_key),
        public_key: "ssh-ed25519 AAAA".to_owned(),
        now: NOW,
    };
    let get = || GetGitSshKey { user_id: user_id(1) };
    refused!(store.run(Call::by(&alice), get()).await, Error::NotFound);
    refused!(store.run(Call::by(&bob), insert(1, "pem-secret")).await, Error::Denied(_));
    let change = store.run(Call::by(&alice), insert(1, "pem-secret")).await.unwrap();
    assert_eq!(change.new.unwrap().private_key.expose(), "pem-secret");
    is_sealed(&db, "gitsshkeys", "pem-secret").await;
    refused!(
        store.run(Call::by(&alice), insert(2, "other")).await,
        Error::Conflict(Constraint::GitsshkeysUserKey)
    );
    refused!(store.run(Call::by(&bob), get()).await, Error::Denied(_));
    assert_eq!(
        store.run(Call::by(&alice), get()).await.unwrap().private_key.expose(),
        "pem-secret"
    );
    let update = || UpdateGitSshKey {
        user_id: user_id(1),
        private_key: Secret::from("new-secret"),
        public_key: "ssh-ed25519 BBBB".to_owned(),
        now: NOW,
    };
    refused!(store.run(Call::by(&bob), update()).await, Error::Denied(_));
    let change = store.run(Call::by(&alice), update()).await.unwrap();
    let (old, new) = (change.old.unwrap(), change.new.unwrap());
    assert_ne!(old.private_key.expose(), new.private_key.expose());
    assert_eq!(
        (new.private_key.expose().as_str(), new.public_key.as_str()),
        ("new-secret", "ssh-ed25519 BBBB")
    );
    let delete = || DeleteGitSshKey { user_id: user_id(1) };
    refused!(store.run(Call::by(&bob), delete()).await, Error::Denied(_));
    store.run(Call::by(&alice), delete()).await.unwrap();
    refused!(store.run(Call::by(&alice), delete()).await, Error::NotFound);
    refused!(store.run(Call::by(&alice), update()).await, Error::NotFound);
}

fn secret(n: u128, name: &str) -> InsertUserSecret {
    InsertUserSecret {
        id: UserSecretId::new(Uuid::from_u128(0x1400 + n)),
        user_id: user_id(1),
        name: name.to_owned(),
        description: String::new(),
        value: Secret::from("value-secret"),
        env_name: String::new(),
        file_path: String::new(),
        now: NOW,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_users_are_theirs_alone() {
    let (db, store, alice, bob) = scene().await;
    let (by, name) = (Call::by(&alice), || "npm".to_owned());
    refused!(store.run(Call::by(&bob), secret(1, "npm")).await, Error::Denied(_));
    let made =
        store.run(by, InsertUserSecret { env_name: "NPM".to_owned(), ..secret(1, "npm") }).await;
    let made = made.unwrap().new.unwrap();
    assert_eq!(
        (made.value.expose().as_str(), made.info.env_name.as_str()),
        ("value-secret", "NPM")
    );
    is_sealed(&db, "user_secrets", "value-secret").await;
    for (bad, rule) in [
        (secret(2, "npm"), Constraint::UserSecretsUserNameKey),
        (
            InsertUserSecret { env_name: "NPM".to_owned(), ..secret(2, "other") },
            Constraint::UserSecretsUserEnvNameKey,
        ),
    ] {
        let outcome = store.run(by, bad).await;
        assert!(matches!(&outcome, Err(Error::Conflict(found)) if *found == rule), "{outcome:?}");
    }
    refused!(store.run(by, secret(2, "")).await, Error::Check(Constraint::UserSecretsNameSize));
    refused!(
        store
            .run(Call::by(&owner()), InsertUserSecret { user_id: user_id(7), ..secret(2, "x") })
            .await,
        Error::Denied(_)
    );
    store.run(by, secret(2, "apt")).await.unwrap();
    let get = || GetUserSecret { user_id: user_id(1), name: name() };
    refused!(store.run(Call::by(&bob), get()).await, Error::Denied(_));
    assert_eq!(store.run(by, get()).await.unwrap().value.expose(), "value-secret");
    refused!(
        store.run(by, GetUserSecret { name: "none".to_owned(), ..get() }).await,
        Error::NotFound
    );
    let list = || ListUserSecrets { user_id: user_id(1) };
    refused!(store.run(Call::by(&bob), list()).await, Error::Denied(_));
    let names: Vec<String> =
        store.run(by, list()).await.unwrap().into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["apt", "npm"]);
    let update = |value: Option<&str>| UpdateUserSecret {
        user_id: user_id(1),
        name: name(),
        description: Some("for installs".to_owned()),
        value: value.map(Secret::from),
        env_name: None,
        file_path: Some("~/.npmrc".to_owned()),
        now: NOW + Duration::from_secs(1),
    };
    refused!(store.run(Call::by(&bob), update(None)).await, Error::Denied(_));
    let new = store.run(by, update(None)).await.unwrap().new.unwrap();
    assert_eq!((new.value.expose().as_str(), new.info.env_name.as_str()), ("value-secret", "NPM"));
    let change = store.run(by, update(Some("second"))).await.unwrap();
    assert_eq!(change.old.unwrap().info.file_path, "~/.npmrc");
    assert_eq!(change.new.unwrap().value.expose(), "second");
    // One that was moved from another row does not open, and does not keep the others back.
    db.sql("UPDATE user_secrets SET value = (SELECT value FROM user_secrets WHERE name = 'apt') WHERE name = 'npm'")
        .await
        .unwrap();
    refused!(store.run(by, get()).await, Error::Keyring { .. });
    let values = || ListValues { user_id: user_id(1) };
    refused!(store.run(Call::by(&bob), values()).await, Error::Denied(_));
    let values = store.run(by, values()).await.unwrap();
    let seen: Vec<(&str, bool)> =
        values.iter().map(|one| (one.value.expose().as_str(), one.fault.is_some())).collect();
    assert_eq!(seen, [("value-secret", false), ("", true)]);
    let delete = || DeleteUserSecret { user_id: user_id(1), name: name() };
    refused!(store.run(Call::by(&bob), delete()).await, Error::Denied(_));
    assert_eq!(store.run(by, delete()).await.unwrap().old.unwrap().info.name, "npm");
    refused!(store.run(by, delete()).await, Error::NotFound);
    refused!(store.run(by, update(None)).await, Error::NotFound);
}

fn skill(n: u128, name: &str) -> InsertUserSkill {
    InsertUserSkill {
        id: UserSkillId::new(Uuid::from_u128(0x1500 + n)),
        user_id: user_id(1),
        name: name.to_owned(),
        description: String::new(),
        content: "Read the whole diff.".to_owned(),
        now: NOW,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn skills_have_owners_names_sizes_and_a_limit() {
    let (db, store, alice, bob) = scene().await;
    let (by, name) = (Call::by(&alice), || "review".to_owned());
    refused!(store.run(Call::by(&bob), skill(1, "review")).await, Error::Denied(_));
    refused!(store.run(Call::by(&owner()), skill(1, "review")).await, Error::Denied(_));
    store.run(by, skill(1, "review")).await.unwrap();
    refused!(
        store.run(by, skill(2, "review")).await,
        Error::Conflict(Constraint::UserSkillsUserIdNameIdx)
    );
    let long = |n| "x".repeat(n);
    for (bad, rule) in [
        (skill(2, "Review"), Constraint::UserSkillsNameFormat),
        (skill(2, "a--b"), Constraint::UserSkillsNameFormat),
        (skill(2, &long(257)), Constraint::UserSkillsNameSize),
        (
            InsertUserSkill { description: long(4097), ..skill(2, "a") },
            Constraint::UserSkillsDescriptionSize,
        ),
        (
            InsertUserSkill { content: long(65537), ..skill(2, "a") },
            Constraint::UserSkillsContentSize,
        ),
    ] {
        let outcome = store.run(by, bad).await;
        assert!(matches!(&outcome, Err(Error::Check(found)) if *found == rule), "{outcome:?}");
    }
    let get = || GetUserSkill { user_id: user_id(1), name: name() };
    refused!(store.run(Call::by(&bob), get()).await, Error::Denied(_));
    let seen = store.run(Call::by(&owner()), get()).await.unwrap();
    assert_eq!(seen.content, "Read the whole diff.");
    let list = || ListUserSkills { user_id: user_id(1) };
    refused!(store.run(Call::by(&bob), list()).await, Error::Denied(_));
    assert_eq!(store.run(by, list()).await.unwrap().len(), 1);
    let update = |name: &str| UpdateUserSkill {
        user_id: user_id(1),
        name: name.to_owned(),
        description: "new".to_owned(),
        content: "Read it twice.".to_owned(),
        now: NOW,
    };
    refused!(store.run(Call::by(&owner()), update("review")).await, Error::Denied(_));
    refused!(store.run(by, update("none")).await, Error::NotFound);
    let change = store.run(by, update("review")).await.unwrap();
    assert_eq!(change.old.unwrap().content, "Read the whole diff.");
    assert_eq!(change.new.unwrap().content, "Read it twice.");
    db.sql(&format!(
        "INSERT INTO user_skills (id, user_id, name, content, created_at, updated_at)
         SELECT gen_random_uuid(), '{}', 'skill-' || n, '', now(), now() FROM generate_series(2, 100) n",
        user_id(1)
    ))
    .await
    .unwrap();
    let full = store.run(by, skill(3, "one-too-many")).await;
    assert!(matches!(&full, Err(Error::Check(found)) if *found == TRIGGER_RULES[0]), "{full:?}");
    let delete = || DeleteUserSkill { user_id: user_id(1), name: name() };
    refused!(store.run(Call::by(&bob), delete()).await, Error::Denied(_));
    assert_eq!(store.run(Call::by(&owner()), delete()).await.unwrap().old.unwrap().name, "review");
    refused!(store.run(by, delete()).await, Error::NotFound);
    store.run(Call::by(&owner()), DeleteUser { id: user_id(1), now: NOW }).await.unwrap();
    let late = store.run(by, skill(4, "late")).await;
    assert!(matches!(&late, Err(Error::Check(found)) if *found == TRIGGER_RULES[1]), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_a_user_are_set_and_listed() {
    let (_db, store, alice, bob) = scene().await;
    let set = |key: &str, value: &str| SetUserConfig {
        user_id: user_id(1),
        key: key.to_owned(),
        value: value.to_owned(),
    };
    refused!(store.run(Call::by(&bob), set("theme", "dark")).await, Error::Denied(_));
    for (key, value) in [("theme", "dark"), ("font", "mono"), ("theme", "light")] {
        store.run(Call::by(&alice), set(key, value)).await.unwrap();
    }
    refused!(store.run(Call::by(&alice), set(&"k".repeat(257), "")).await, Error::Unfit(_));
    let list = || ListUserConfigs { user_id: user_id(1) };
    refused!(store.run(Call::by(&bob), list()).await, Error::Denied(_));
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let found = store.run(Call::by(&alice), list()).await.unwrap();
    assert_eq!(found, [pair("font", "mono"), pair("theme", "light")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_by_use_and_go_together() {
    let (_db, store, alice, bob) = scene().await;
    let key = |id: &str, n, used: u64, scope: &str| {
        InsertApiKey(store::api_keys::ApiKey {
            last_used: NOW + Duration::from_secs(used),
            scopes: vec![scope.to_owned()],
            ..new_key(id, n, "")
        })
    };
    for (id, n, used, scope) in [
        ("key0000001", 1, 1, "coder:all"),
        ("key0000002", 1, 2, "coder:application_connect"),
        ("key0000003", 2, 3, "coder:all"),
    ] {
        store.run(Call::by(&owner()), key(id, n, used, scope)).await.unwrap();
    }
    store.run(Call::by(&alice), InsertApiKey(new_key("tok0000001", 1, "ci"))).await.unwrap();
    let listed = async |by: &Arc<Subject>, list: ListKeys| {
        let keys = store.run(Call::by(by), list).await.unwrap();
        keys.into_iter().map(|key| key.id).collect::<Vec<_>>()
    };
    let all = ListKeys::default;
    let alices = ["key0000002", "key0000001", "tok0000001"];
    assert_eq!(listed(&owner(), all()).await.len(), 4);
    assert_eq!(listed(&alice, all()).await, alices);
    assert_eq!(listed(&owner(), ListKeys { user_id: Some(user_id(1)), ..all() }).await, alices);
    assert!(listed(&bob, ListKeys { user_id: Some(user_id(1)), ..all() }).await.is_empty());
    let token = ListKeys { login_type: Some("token".to_owned()), ..all() };
    assert_eq!(listed(&alice, token).await, ["tok0000001"]);
    let used = ListKeys { used_after: Some(NOW + Duration::from_secs(1)), ..all() };
    assert_eq!(listed(&alice, used).await, ["key0000002"]);
    let later = NOW + Duration::from_hours(2);
    assert!(listed(&alice, ListKeys { live_at: Some(later), ..all() }).await.is_empty());
    let last = |now| FindLastUsedId { user_id: user_id(1), now };
    refused!(store.run(Call::by(&bob), last(NOW)).await, Error::Denied(_));
    assert_eq!(store.run(Call::by(&alice), last(NOW)).await.unwrap().unwrap(), "key0000002");
    assert_eq!(store.run(Call::by(&alice), last(later)).await.unwrap(), None);
    let delete = |only_application_connect| DeleteKeysOfUser {
        user_id: user_id(1),
        only_application_connect,
    };
    refused!(store.run(Call::by(&bob), delete(false)).await, Error::Denied(_));
    assert_eq!(store.run(Call::by(&alice), delete(true)).await.unwrap(), ["key0000002"]);
    assert_eq!(store.run(Call::by(&alice), delete(false)).await.unwrap().len(), 2);
    assert_eq!(listed(&owner(), all()).await, ["key0000003"]);
    let nobody = subject(user_id(1), &[]);
    refused!(store.run(Call::by(&nobody), delete(false)).await, Error::Denied(_));
}
