//! A secret that is in a row is in nothing that is written about it.

use audit::{Auditable, Declared, diff, tables};
use proptest::prelude::*;
use serde_json::{Value, json};
use stdx::Secret;
use stdx::ids::{
    GatewayKeyId, McpServerId, Oauth2AppId, OrganizationId, ProviderId, ProviderKeyId,
    ProvisionerKeyId, UserId, UserSecretId,
};
use store::ai_providers::{Provider, ProviderKey};
use store::chats::Chat;
use store::gateway_keys::HashedGatewayKey;
use store::git_ssh_keys::GitSshKey;
use store::licenses::License;
use store::mcp_servers::{McpSecrets, McpServer, McpSettings};
use store::oauth2_apps::{App, RegisteredApp};
use store::own_provider_keys::OwnProviderKey;
use store::provisioner_keys::ProvisionerKey;
use store::user_secrets::{SecretInfo, UserSecret};
use store::users::{LoginUser, User};
use store::{Change, Pk};
use time::OffsetDateTime;
use uuid::Uuid;

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const ID: Uuid = Uuid::from_u128(7);

fn provider(secret: &str) -> Provider {
    Provider {
        id: ProviderId::new(ID),
        kind: "openai".to_owned(),
        name: "main".to_owned(),
        display_name: None,
        icon: String::new(),
        enabled: true,
        deleted: false,
        base_url: String::new(),
        settings: Some(Secret::from(secret)),
        fault: None,
        created_at: NOW,
        updated_at: NOW,
    }
}

fn provider_key(secret: &str) -> ProviderKey {
    ProviderKey {
        id: ProviderKeyId::new(ID),
        provider_id: ProviderId::new(ID),
        api_key: Secret::from(secret),
        fault: None,
        created_at: NOW,
    }
}

fn own_key(secret: &str) -> OwnProviderKey {
    OwnProviderKey {
        id: ID,
        user_id: UserId::new(ID),
        provider_id: ProviderId::new(ID),
        api_key: Secret::from(secret),
        fault: None,
        created_at: NOW,
        updated_at: NOW,
    }
}

fn ssh_key(secret: &str) -> GitSshKey {
    GitSshKey {
        id: ID,
        user_id: UserId::new(ID),
        created_at: NOW,
        updated_at: NOW,
        private_key: Secret::from(secret),
        public_key: "ssh-ed25519".to_owned(),
    }
}

fn license(secret: &str) -> License {
    License { id: 1, uuid: ID, uploaded_at: NOW, jwt: secret.to_owned(), exp: NOW }
}

fn user_secret(secret: &str) -> UserSecret {
    let info = SecretInfo {
        id: Pk(UserSecretId::new(ID)),
        user_id: Pk(UserId::new(ID)),
        name: "token".to_owned(),
        description: String::new(),
        env_name: String::new(),
        file_path: String::new(),
        created_at: NOW,
        updated_at: NOW,
    };
    UserSecret { info, value: Secret::from(secret), fault: None }
}

fn login_user(secret: &str) -> LoginUser {
    let user = User {
        id: Pk(UserId::new(ID)),
        email: "a@example.com".to_owned(),
        username: "ann".to_owned(),
        name: String::new(),
        created_at: NOW,
        updated_at: NOW,
        last_seen_at: None,
        status: "active".to_owned(),
        rbac_roles: Vec::new(),
        login_type: "password".to_owned(),
        avatar_url: String::new(),
        deleted: false,
        is_system: false,
        is_service_account: false,
        quiet_hours_schedule: String::new(),
        github_com_user_id: None,
        one_time_passcode_expires_at: None,
        chat_spend_limit_micros: None,
    };
    LoginUser { user, hashed_password: secret.to_owned() }
}

fn gateway_key(hash: &[u8]) -> HashedGatewayKey {
    HashedGatewayKey {
        id: Pk(GatewayKeyId::new(ID)),
        created_at: NOW,
        name: "edge".to_owned(),
        secret_prefix: "cgw_abcdefg".to_owned(),
        hashed_secret: hash.to_vec(),
        last_used_at: None,
    }
}

fn provisioner_key(hash: &[u8]) -> ProvisionerKey {
    ProvisionerKey {
        id: Pk(ProvisionerKeyId::new(ID)),
        created_at: NOW,
        organization_id: Pk(OrganizationId::new(ID)),
        name: "builders".to_owned(),
        hashed_secret: hash.to_vec(),
        tags: json!({}),
    }
}

fn app(hash: &[u8], key: &str) -> RegisteredApp {
    let app = App {
        id: Pk(Oauth2AppId::new(ID)),
        created_at: NOW,
        updated_at: NOW,
        name: "editor".to_owned(),
        icon: String::new(),
        callback_url: "http://127.0.0.1/callback".to_owned(),
        redirect_uris: Vec::new(),
        client_type: "public".to_owned(),
        dynamically_registered: true,
        client_id_issued_at: None,
        client_secret_expires_at: None,
        grant_types: Vec::new(),
        response_types: Vec::new(),
        token_endpoint_auth_method: "none".to_owned(),
        scope: String::new(),
        contacts: Vec::new(),
        client_uri: None,
        logo_uri: None,
        tos_uri: None,
        policy_uri: None,
        jwks_uri: None,
        jwks: Some(json!({ "keys": [{ "k": key }] })),
        software_id: None,
        software_version: None,
        registration_client_uri: None,
        registered_from_ip: None,
        last_used_at: None,
    };
    RegisteredApp { app, registration_access_token: Some(hash.to_vec()) }
}

fn mcp_server(secret: &str) -> McpServer {
    McpServer {
        id: McpServerId::new(ID),
        settings: McpSettings {
            display_name: String::new(),
            slug: "search".to_owned(),
            description: String::new(),
            url: String::new(),
            auth_type: "api_key".to_owned(),
            oauth2_client_id: String::new(),
            api_key_header: String::new(),
            enabled: true,
        },
        secrets: McpSecrets {
            oauth2_client_secret: Secret::from(secret),
            api_key_value: Secret::from(secret),
            custom_headers: Secret::from(secret),
        },
        fault: None,
        created_at: NOW,
        updated_at: NOW,
    }
}

/// All that is written of a change: its diff, and what a log line that shows it would hold.
fn written<R: Auditable + std::fmt::Debug + Clone>(old: Option<R>, new: Option<R>) -> String {
    let shown = Value::Object(diff(old.as_ref(), new.as_ref()));
    format!("{shown} {:?} {:?}", Change { old, new }, shown)
}

/// Created, changed, deleted.
fn all<R: Auditable + std::fmt::Debug + Clone>(
    row: impl Fn(&str) -> R,
    a: &str,
    b: &str,
) -> String {
    let (old, new) = (row(a), row(b));
    [
        written(None, Some(new.clone())),
        written(Some(old.clone()), Some(new)),
        written(Some(old), None),
    ]
    .concat()
}

proptest! {
    #[test]
    fn a_planted_secret_is_nowhere(
        a in "[!-~]{4}s3cr3t[!-~]{8}",
        b in "[!-~]{4}s3cr3t[!-~]{8}",
    ) {
        for told in [
            all(provider, &a, &b),
            all(provider_key, &a, &b),
            all(own_key, &a, &b),
            all(ssh_key, &a, &b),
            all(license, &a, &b),
            all(user_secret, &a, &b),
            all(mcp_server, &a, &b),
            all(login_user, &a, &b),
        ] {
            prop_assert!(!told.contains("s3cr3t"), "{told}");
        }
        for told in [
            all(|hash| gateway_key(hash.as_bytes()), &a, &b),
            all(|hash| provisioner_key(hash.as_bytes()), &a, &b),
            all(|hash| app(hash.as_bytes(), hash), &a, &b),
            all(|hash| app(hash.as_bytes(), hash).app, &a, &b),
        ] {
            let shown = told.split("Change").next().unwrap_or_default();
            prop_assert!(!shown.contains("s3cr3t") && !shown.contains(&format!("{:?}", a.as_bytes())), "{told}");
        }
    }

    #[test]
    fn that_a_secret_changed_is_told(a in "[!-~]{8}", b in "[!-~]{8}") {
        let told = |shown: &serde_json::Map<String, Value>, name: &str| {
            shown.get(name) == Some(&json!({ "old": "", "new": "", "secret": true }))
        };
        let changed = a != b;
        let shown = diff(Some(&provider(&a)), Some(&provider(&b)));
        prop_assert_eq!(told(&shown, "settings"), changed);
        let shown = diff(Some(&login_user(&a)), Some(&login_user(&b)));
        prop_assert_eq!(told(&shown, "hashed_password"), changed);
        let shown = diff(Some(&user_secret(&a)), Some(&user_secret(&b)));
        prop_assert_eq!(told(&shown, "value"), changed);
        let shown = diff(Some(&ssh_key(&a)), Some(&ssh_key(&b)));
        prop_assert_eq!(told(&shown, "private_key"), changed);
        let shown = diff(Some(&app(a.as_bytes(), "")), Some(&app(b.as_bytes(), "")));
        prop_assert_eq!(told(&shown, "registration_access_token"), changed);
        prop_assert!(!shown.contains_key("jwks"));
        let shown = diff(Some(&app(b"", &a)), Some(&app(b"", &b)));
        prop_assert_eq!(told(&shown, "jwks"), changed);
        prop_assert!(!shown.contains_key("registration_access_token"));
    }
}

/// The rows above are all that have secrets: of a new one this list says so.
#[test]
fn every_declared_secret_is_planted_above() {
    let mut declared: Vec<&str> = tables::TABLES
        .iter()
        .filter(|(_, _, secret, _)| !secret.is_empty())
        .map(|(kind, ..)| *kind)
        .collect();
    declared.sort_unstable();
    let planted = [
        // Told to those who see chats, but not to those who read the log: its own tests say so.
        Chat::TABLE.0,
        HashedGatewayKey::TABLE.0,
        Provider::TABLE.0,
        ProviderKey::TABLE.0,
        GitSshKey::TABLE.0,
        ProvisionerKey::TABLE.0,
        App::TABLE.0,
        OwnProviderKey::TABLE.0,
    ];
    let mut planted = planted.to_vec();
    planted.sort_unstable();
    assert_eq!(declared, planted);
}
