//! Who acts in the tests, on what, and when.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rbac::{Catalog, Scope, Subject, SubjectBuilder};
use stdx::ids::UserId;
use store::api_keys::ApiKey;
use store::users::{InsertUser, User};
use store::{Call, Full, Pk, Store as _};
use testkit::TestDb;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) const NOW: OffsetDateTime = datetime!(2031-01-15 12:00 UTC);

/// A user's identifier, for a number that tells users apart.
pub(crate) const fn user_id(n: u32) -> UserId {
    UserId::new(Uuid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0000 + n as u128))
}

pub(crate) fn subject(id: UserId, roles: &[&str]) -> Arc<Subject> {
    limited(id, roles, Scope::all())
}

pub(crate) fn limited(id: UserId, roles: &[&str], scope: Scope) -> Arc<Subject> {
    let builder = SubjectBuilder::user(id).no_roles().scope(scope);
    let builder = roles.iter().fold(builder, |builder, role| builder.site_role(role));
    Arc::new(builder.compile(&Catalog::default()).unwrap())
}

/// May do everything.
pub(crate) fn owner() -> Arc<Subject> {
    subject(user_id(900), &["owner", "member"])
}

/// May do what everybody may.
pub(crate) fn member(n: u32) -> Arc<Subject> {
    subject(user_id(n), &["member"])
}

pub(crate) fn new_user(n: u32, username: &str) -> InsertUser {
    InsertUser {
        id: user_id(n),
        email: format!("{username}@example.com"),
        username: username.to_owned(),
        name: String::new(),
        hashed_password: "$argon2id$hash".to_owned(),
        status: "active",
        rbac_roles: Vec::new(),
        login_type: "password",
        is_service_account: false,
        now: NOW,
    }
}

pub(crate) async fn add_user(store: &Full, n: u32, username: &str) -> User {
    let change = store.run(Call::by(&owner()), new_user(n, username)).await.unwrap();
    change.new.unwrap()
}

/// A key of user `n`; a token when it has a name.
pub(crate) fn new_key(id: &str, n: u32, token_name: &str) -> ApiKey {
    ApiKey {
        id: id.to_owned(),
        hashed_secret: vec![7; 32],
        user_id: Pk(user_id(n)),
        last_used: NOW,
        expires_at: NOW + Duration::from_hours(1),
        created_at: NOW,
        updated_at: NOW,
        login_type: if token_name.is_empty() { "password" } else { "token" }.to_owned(),
        lifetime_seconds: 3600,
        ip_address: IpAddr::V4(Ipv4Addr::LOCALHOST).into(),
        token_name: token_name.to_owned(),
        scopes: vec!["coder:all".to_owned()],
        allow_list: vec!["*:*".to_owned()],
    }
}

/// A file or folder of the repository.
pub(crate) fn tree(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The names of all migrations, oldest first.
pub(crate) fn migrations() -> Vec<String> {
    let entries = fs::read_dir(tree("migrations")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

/// Puts the rows of a migration's fixture into the database.
pub(crate) async fn fixture(db: &TestDb, migration: &str) {
    let path = tree("fixtures/sql").join(format!("{migration}.sql"));
    db.sql(&fs::read_to_string(path).unwrap()).await.unwrap();
}

/// The one value of a statement's one row, as text.
pub(crate) async fn value(db: &TestDb, statement: &str) -> String {
    let rows = db.sql(statement).await.unwrap();
    assert_eq!(rows.len(), 1, "{statement}");
    rows[0][0].clone().unwrap_or_else(|| "NULL".to_owned())
}

/// Waits until the statement yields `wanted`; fails after ten seconds.
pub(crate) async fn eventually(db: &TestDb, statement: &str, wanted: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found = value(db, statement).await;
        if found == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{statement}: {found}, not {wanted}");
    }
}
