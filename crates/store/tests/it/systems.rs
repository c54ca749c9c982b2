//! Each part of the deployment runs the queries of its job, with the real authorizer, and is refused the
//! job of another.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rbac::system;
use serde_json::json;
use stdx::Secret;
use stdx::ids::{AuditId, OrganizationId, ProviderId, ProviderKeyId, RequestId};
use store::ai_providers::{InsertKey, InsertProvider, ListKeys, ListProviders};
use store::api_keys::{DeleteApiKey, GetApiKey, InsertApiKey, TouchApiKey};
use store::audit_logs::{AuditLog, InsertAuditLog};
use store::interceptions::{EnsurePartitions, IngestFacts};
use store::organizations::{GetDefault, InsertMember, InsertOrganization};
use store::site_configs::{DEPLOYMENT_ID, GetOrInsert};
use store::users::{
    FindLogin, GetAuthorization, InsertUser, UpdateLastSeen, UpdatePasswordHash, UpdateStatus,
};
use store::{Call, Error, Full, Pk, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::interceptions::sample_facts;
use crate::scene::{NOW, add_user, member, new_key, new_user, user_id, value};

const ORGANIZATION: OrganizationId = OrganizationId::new(Uuid::from_u128(0x20));

pub(crate) fn provider(n: u128, name: &str) -> InsertProvider {
    InsertProvider {
        id: ProviderId::new(Uuid::from_u128(0x40_0000 + n)),
        kind: "openai".to_owned(),
        name: name.to_owned(),
        display_name: Some("Shown".to_owned()),
        icon: String::new(),
        enabled: true,
        base_url: "https://api.openai.com/v1/".to_owned(),
        settings: None,
        now: NOW,
    }
}

pub(crate) fn provider_key(n: u128, provider: u128, secret: &str) -> InsertKey {
    InsertKey {
        id: ProviderKeyId::new(Uuid::from_u128(0x41_0000 + n)),
        provider_id: ProviderId::new(Uuid::from_u128(0x40_0000 + provider)),
        api_key: Secret::from(secret),
        created_at: NOW + Duration::from_secs(u64::try_from(n).unwrap()),
    }
}

pub(crate) fn audit_log(n: u128) -> AuditLog {
    AuditLog {
        id: Pk(AuditId::new(Uuid::from_u128(0x50_0000 + n))),
        time: NOW + Duration::from_secs(u64::try_from(n).unwrap()),
        user_id: Pk(user_id(1)),
        organization_id: Pk(OrganizationId::nil()),
        ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST).into()),
        user_agent: Some("curl".to_owned()),
        resource_type: "user".to_owned(),
        resource_id: user_id(2).uuid(),
        resource_target: "bob".to_owned(),
        resource_icon: String::new(),
        action: "write".to_owned(),
        diff: json!({"status": {"old": "dormant", "new": "active"}}),
        status_code: 200,
        additional_fields: json!({}),
        request_id: Pk(RequestId::new(Uuid::from_u128(0x51_0000 + n))),
    }
}

async fn fresh() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    (db, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_records_and_reads_its_providers() {
    let (db, store) = fresh().await;
    let seeder = Call::by(system::ai_provider_seeder());
    store.run(seeder, provider(1, "openai")).await.unwrap();
    store.run(seeder, provider_key(1, 1, "sk-one")).await.unwrap();
    let gateway = Call::by(system::gateway());
    store.run(gateway, EnsurePartitions { at: NOW }).await.unwrap();
    store.run(gateway, IngestFacts(sample_facts(1, 1).into())).await.unwrap();
    assert_eq!(value(&db, "SELECT count(*) FROM aibridge_interceptions").await, "1");
    let providers = store.run(gateway, ListProviders { include_deleted: false }).await.unwrap();
    let keys = store.run(gateway, ListKeys { provider_id: None }).await.unwrap();
    assert_eq!((providers.len(), keys.len()), (1, 1));
    assert_eq!(keys[0].api_key.expose(), "sk-one");
    let refused = store.run(gateway, provider(2, "other")).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seeder_adds_providers_and_keys_and_lists_them() {
    let (_db, store) = fresh().await;
    let seeder = Call::by(system::ai_provider_seeder());
    store.run(seeder, provider(1, "openai")).await.unwrap();
    store.run(seeder, provider_key(1, 1, "sk-one")).await.unwrap();
    let seen = store.run(seeder, ListProviders { include_deleted: true }).await.unwrap();
    assert_eq!(seen.len(), 1);
    let refused =
        store.run(seeder, store::ai_providers::DeleteProvider { id: seen[0].id, now: NOW }).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authenticator_turns_a_credential_into_a_subject() {
    let (db, store) = fresh().await;
    let bootstrap = Call::by(system::bootstrap());
    setup(&store).await;
    let alice = member(1);
    store.run(Call::by(&alice), InsertApiKey(new_key("key0000001", 1, ""))).await.unwrap();
    let authenticator = Call::by(system::authenticator());
    let key = store.run(authenticator, GetApiKey { id: "key0000001".to_owned() }).await.unwrap();
    assert_eq!(key, new_key("key0000001", 1, ""));
    let later = NOW + Duration::from_mins(5);
    let touch = |known_expires_at| TouchApiKey {
        id: key.id.clone(),
        user_id: user_id(1),
        now: later,
        known_expires_at,
        expires_at: later + Duration::from_hours(1),
        ip_address: key.ip_address,
    };
    store.run(authenticator, touch(later)).await.unwrap();
    assert_eq!(
        value(&db, "SELECT last_used = '2031-01-15 12:05Z' FROM api_keys").await,
        "f",
        "a key that was ended since it was read stays ended"
    );
    store.run(authenticator, touch(key.expires_at)).await.unwrap();
    let known = store.run(authenticator, GetAuthorization { id: user_id(1) }).await.unwrap();
    assert_eq!(known.user.username, "alice");
    assert_eq!(known.memberships.len(), 1);
    assert_eq!(known.memberships[0].organization, ORGANIZATION);
    assert_eq!(known.memberships[0].default_roles, ["organization-workspace-access"]);
    assert_eq!(known.groups.iter().map(|g| g.uuid()).collect::<Vec<_>>(), [ORGANIZATION.uuid()]);
    let email = "Alice@Example.com".to_owned();
    let login = store.run(authenticator, FindLogin { email }).await.unwrap().unwrap();
    assert_eq!(login.hashed_password, "$argon2id$hash");
    let id = user_id(1);
    store.run(authenticator, UpdateLastSeen { id, now: later }).await.unwrap();
    store.run(authenticator, UpdateStatus { id, status: "active", now: later }).await.unwrap();
    let rehash = |known: &str| UpdatePasswordHash {
        id,
        known: known.to_owned(),
        new: "$argon2id$new".to_owned(),
    };
    let outdated = store.run(authenticator, rehash("$argon2id$another")).await.unwrap();
    assert!(!outdated, "a password that was changed since stays changed");
    assert!(store.run(authenticator, rehash("$argon2id$hash")).await.unwrap());
    assert_eq!(
        value(&db, "SELECT hashed_password || last_seen_at::text FROM users").await,
        "$argon2id$new2031-01-15 12:05:00+00"
    );
    assert_eq!(value(&db, "SELECT last_used = '2031-01-15 12:05Z' FROM api_keys").await, "t");
    let refused = store.run(authenticator, DeleteApiKey { id: "key0000001".to_owned() }).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let refused = store.run(bootstrap, GetApiKey { id: "key0000001".to_owned() }).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
}

/// What the first start and the first user make.
async fn setup(store: &Full) {
    let bootstrap = Call::by(system::bootstrap());
    let organization = InsertOrganization {
        id: ORGANIZATION,
        name: "coder".to_owned(),
        display_name: "Coder".to_owned(),
        is_default: true,
        now: NOW,
    };
    store.run(bootstrap, organization).await.unwrap();
    let first = InsertUser { rbac_roles: vec!["owner".to_owned()], ..new_user(1, "alice") };
    store.run(bootstrap, first).await.unwrap();
    let membership = InsertMember { organization_id: ORGANIZATION, user_id: user_id(1), now: NOW };
    store.run(bootstrap, membership).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bootstrap_sets_up_a_deployment_once() {
    let (db, store) = fresh().await;
    setup(&store).await;
    let bootstrap = Call::by(system::bootstrap());
    for value in ["first", "second"] {
        let id = GetOrInsert { key: DEPLOYMENT_ID, value: value.to_owned() };
        assert_eq!(store.run(bootstrap, id).await.unwrap(), "first");
    }
    let default = store.run(bootstrap, GetDefault).await.unwrap();
    assert_eq!((default.id.0, default.is_default), (ORGANIZATION, true));
    let everyone = "SELECT id = organization_id AND name = 'Everyone' FROM groups";
    assert_eq!(value(&db, everyone).await, "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_auditor_writes_and_cannot_read() {
    let (db, store) = fresh().await;
    let auditor = Call::by(system::auditor());
    store.run(auditor, InsertAuditLog(audit_log(1))).await.unwrap();
    assert_eq!(value(&db, "SELECT count(*) FROM audit_logs").await, "1");
    let list = store::audit_logs::ListAuditLogs {
        filter: store::audit_logs::Filter::default(),
        after: None,
        offset: 0,
        limit: 0,
    };
    assert_eq!(store.run(auditor, list).await.unwrap(), Some(Vec::new()));
    add_user(&store, 1, "alice").await;
    let forged = store.run(Call::by(&member(1)), InsertAuditLog(audit_log(2))).await;
    assert!(matches!(forged, Err(Error::Denied(_))), "{forged:?}");
}
