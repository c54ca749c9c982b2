//! The OAuth2 provider: clients and their secrets. What users grant them is in the modules beneath.

mod apps;
mod codes;
mod grants;
mod parts;
mod secrets;
mod tokens;

use std::time::Duration;

use rbac::system;
use stdx::ids::{Oauth2AppId, Oauth2CodeId, Oauth2GrantId, Oauth2SecretId, Oauth2TokenId};
use store::api_keys::{ApiKey, InsertApiKey};
use store::oauth2_apps::{App, InsertApp, RegisteredApp};
use store::oauth2_codes::{Code, HashedCode, InsertCode};
use store::oauth2_grants::{Grant, InsertGrant};
use store::oauth2_secrets::{AppSecret, HashedAppSecret, InsertSecret};
use store::oauth2_tokens::{InsertToken, NewToken, Token};
use store::{Call, Full, Pk, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::scene::{NOW, add_user, member, new_key, user_id};

const LATER: time::OffsetDateTime = NOW.saturating_add(time::Duration::HOUR);
const URI: &str = "http://127.0.0.1/callback";
const KEYS: &str =
    "SELECT coalesce(string_agg(id, ',' ORDER BY id), '') FROM api_keys WHERE id LIKE 'oauth%'";

const fn app_id(n: u32) -> Oauth2AppId {
    Oauth2AppId::new(Uuid::from_u128(0xa100_0000 + n as u128))
}

const fn secret_id(n: u32) -> Oauth2SecretId {
    Oauth2SecretId::new(Uuid::from_u128(0xa200_0000 + n as u128))
}

const fn grant_id(n: u32) -> Oauth2GrantId {
    Oauth2GrantId::new(Uuid::from_u128(0xa300_0000 + n as u128))
}

const fn code_id(n: u32) -> Oauth2CodeId {
    Oauth2CodeId::new(Uuid::from_u128(0xa400_0000 + n as u128))
}

const fn token_id(n: u32) -> Oauth2TokenId {
    Oauth2TokenId::new(Uuid::from_u128(0xa500_0000 + n as u128))
}

fn provider() -> Call<'static> {
    Call::by(system::oauth2())
}

/// One that an administrator made.
fn app(n: u32, name: &str) -> RegisteredApp {
    let app = App {
        id: Pk(app_id(n)),
        created_at: NOW,
        updated_at: NOW,
        name: name.to_owned(),
        icon: String::new(),
        callback_url: URI.to_owned(),
        redirect_uris: Vec::new(),
        client_type: "confidential".to_owned(),
        dynamically_registered: false,
        client_id_issued_at: None,
        client_secret_expires_at: None,
        grant_types: vec!["authorization_code".to_owned(), "refresh_token".to_owned()],
        response_types: vec!["code".to_owned()],
        token_endpoint_auth_method: "client_secret_post".to_owned(),
        scope: String::new(),
        contacts: Vec::new(),
        client_uri: None,
        logo_uri: None,
        tos_uri: None,
        policy_uri: None,
        jwks_uri: None,
        jwks: None,
        software_id: None,
        software_version: None,
        registration_client_uri: None,
        registered_from_ip: None,
        last_used_at: None,
    };
    RegisteredApp { app, registration_access_token: None }
}

/// One that registered itself.
fn registered(n: u32, name: &str) -> RegisteredApp {
    let app = App {
        dynamically_registered: true,
        redirect_uris: vec![URI.to_owned(), "cursor://anywhere".to_owned()],
        client_type: "public".to_owned(),
        token_endpoint_auth_method: "none".to_owned(),
        client_uri: Some("https://example.com".to_owned()),
        jwks: Some(serde_json::json!({ "keys": [] })),
        registered_from_ip: Some("192.0.2.7/32".parse().unwrap()),
        ..app(n, name).app
    };
    RegisteredApp { app, registration_access_token: Some(vec![5; 32]) }
}

fn secret(n: u32, app: u32) -> HashedAppSecret {
    HashedAppSecret {
        secret: AppSecret {
            id: Pk(secret_id(n)),
            created_at: NOW + Duration::from_secs(n.into()),
            last_used_at: None,
            display_secret: "*****wxyz".to_owned(),
            app_id: Pk(app_id(app)),
        },
        secret_prefix: format!("secret{n:04}").into_bytes(),
        hashed_secret: vec![6; 32],
    }
}

fn grant(n: u32, app: u32, user: u32) -> InsertGrant {
    InsertGrant {
        id: grant_id(n),
        app_id: app_id(app),
        user_id: user_id(user),
        scope: "coder:all".to_owned(),
        audience: Vec::new(),
        now: NOW + Duration::from_secs(n.into()),
    }
}

fn code(n: u32, grant: &Grant) -> HashedCode {
    HashedCode {
        code: Code {
            id: Pk(code_id(n)),
            created_at: NOW,
            expires_at: NOW + Duration::from_mins(10),
            consumed_at: None,
            app_id: grant.app_id,
            user_id: grant.user_id,
            grant_id: grant.id,
            scope: grant.scope.clone(),
            resource_uri: None,
            code_challenge: Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned()),
            code_challenge_method: Some("S256".to_owned()),
            state_hash: None,
            redirect_uri: Some(URI.to_owned()),
        },
        secret_prefix: format!("code{n:06}").into_bytes(),
        hashed_secret: vec![7; 32],
    }
}

fn key_id(n: u32) -> String {
    format!("oauth{n:05}")
}

/// The token `n` whose access token is the key `n`.
fn token(n: u32, grant: &Grant) -> NewToken {
    NewToken {
        id: Pk(token_id(n)),
        created_at: NOW,
        expires_at: NOW + Duration::from_hours(720),
        hash_prefix: format!("token{n:05}").into_bytes(),
        refresh_hash: vec![8; 32],
        app_id: grant.app_id,
        app_secret_id: None,
        api_key_id: key_id(n),
        user_id: grant.user_id,
        grant_id: grant.id,
        audience: None,
        scope: grant.scope.clone(),
    }
}

async fn add_app(store: &Full, app: RegisteredApp) -> App {
    store.run(provider(), InsertApp(app)).await.unwrap().new.unwrap().app
}

async fn add_secret(store: &Full, n: u32, app: u32) -> AppSecret {
    store.run(provider(), InsertSecret(secret(n, app))).await.unwrap().new.unwrap()
}

async fn add_grant(store: &Full, n: u32, app: u32, user: u32) -> Grant {
    store.run(provider(), grant(n, app, user)).await.unwrap().new.unwrap()
}

async fn add_code(store: &Full, n: u32, grant: &Grant) -> Code {
    store.run(provider(), InsertCode(code(n, grant))).await.unwrap().new.unwrap()
}

/// A key that is an access token.
async fn add_key(store: &Full, n: u32, user: u32) {
    let login_type = "oauth2_provider_app".to_owned();
    let key = ApiKey { login_type, ..new_key(&key_id(n), user, "") };
    store.run(Call::by(&member(user)), InsertApiKey(key)).await.unwrap();
}

/// The token `n` with its key.
async fn add_token(store: &Full, n: u32, grant: &Grant, user: u32) -> Token {
    add_key(store, n, user).await;
    store.run(provider(), InsertToken(token(n, grant))).await.unwrap().new.unwrap()
}

/// Alice (1), Bob (2), and two clients.
async fn scene() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    for (n, name) in [(1, "alice"), (2, "bob")] {
        add_user(&store, n, name).await;
    }
    add_app(&store, app(1, "Agent")).await;
    add_app(&store, registered(2, "Editor")).await;
    (db, store)
}
