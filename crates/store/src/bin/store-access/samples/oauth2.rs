use rbac::{Action, Resource};
use stdx::ids::{Oauth2AppId, Oauth2CodeId, Oauth2GrantId, Oauth2SecretId, Oauth2TokenId};
use store::Pk;
use store::oauth2_apps::{
    App, ClientMetadata, CountApps, DeleteApp, DeleteUnusedApps, FindRegistration, GetApp,
    InsertApp, ListApps, ListAppsOfUser, RegisteredApp, SetRegistrationToken, TouchApp, UpdateApp,
    UpdateMetadata,
};
use store::oauth2_codes::{Code, ConsumeCode, DeleteCodes, FindCode, HashedCode, InsertCode};
use store::oauth2_grants::{
    FindLiveGrant, GetGrant, InsertGrant, ListGrants, RevokeGrant, RevokeGrants, TouchGrant,
};
use store::oauth2_secrets::{
    AppSecret, DeleteSecret, FindSecret, GetSecret, HashedAppSecret, InsertSecret, ListSecrets,
    TouchSecret,
};
use store::oauth2_tokens::{
    DeleteTokens, FindToken, GetTokenByKey, InsertToken, NewToken, RotateToken,
};
use uuid::Uuid;

use super::{NEW, NOW, Refusal, USER, Visitor};

const APP: Oauth2AppId = Oauth2AppId::new(Uuid::from_u128(0x80000000_0000_4000_8000_000000000001));
const SECRET: Oauth2SecretId =
    Oauth2SecretId::new(Uuid::from_u128(0x81000000_0000_4000_8000_000000000001));
const GRANT: Oauth2GrantId =
    Oauth2GrantId::new(Uuid::from_u128(0x82000000_0000_4000_8000_000000000001));
const CODE: Oauth2CodeId =
    Oauth2CodeId::new(Uuid::from_u128(0x83000000_0000_4000_8000_000000000001));
const TOKEN: Oauth2TokenId =
    Oauth2TokenId::new(Uuid::from_u128(0x84000000_0000_4000_8000_000000000001));
const URI: &str = "http://127.0.0.1/callback";

fn app() -> RegisteredApp {
    let app = App {
        id: Pk(Oauth2AppId::new(NEW)),
        created_at: NOW,
        updated_at: NOW,
        name: "New".to_owned(),
        icon: String::new(),
        callback_url: URI.to_owned(),
        redirect_uris: vec![URI.to_owned()],
        client_type: "public".to_owned(),
        dynamically_registered: true,
        client_id_issued_at: Some(NOW),
        client_secret_expires_at: None,
        grant_types: vec!["authorization_code".to_owned()],
        response_types: vec!["code".to_owned()],
        token_endpoint_auth_method: "none".to_owned(),
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
    RegisteredApp { app, registration_access_token: Some(vec![1; 32]) }
}

fn metadata() -> ClientMetadata {
    let RegisteredApp { app, .. } = app();
    ClientMetadata {
        name: app.name,
        icon: app.icon,
        callback_url: app.callback_url,
        redirect_uris: app.redirect_uris,
        grant_types: app.grant_types,
        response_types: app.response_types,
        token_endpoint_auth_method: app.token_endpoint_auth_method,
        scope: app.scope,
        contacts: app.contacts,
        client_uri: None,
        logo_uri: None,
        tos_uri: None,
        policy_uri: None,
        jwks_uri: None,
        jwks: None,
        software_id: None,
        software_version: None,
    }
}

fn token() -> NewToken {
    NewToken {
        id: Pk(Oauth2TokenId::new(NEW)),
        created_at: NOW,
        expires_at: NOW,
        hash_prefix: b"newtokenne".to_vec(),
        refresh_hash: vec![1; 32],
        app_id: Pk(APP),
        app_secret_id: Some(Pk(SECRET)),
        api_key_id: "oauthtoken".to_owned(),
        user_id: Pk(USER),
        grant_id: Pk(GRANT),
        audience: None,
        scope: "coder:all".to_owned(),
    }
}

pub(super) fn visit(v: &mut impl Visitor) {
    apps(v);
    secrets(v);
    grants(v);
    codes(v);
    tokens(v);
}

fn apps(v: &mut impl Visitor) {
    v.visit(InsertApp(app()), Refusal::Inputs);
    v.visit(GetApp { id: APP }, Refusal::Inputs);
    let search = || Some("AGENT".to_owned());
    v.visit(
        ListApps { search: search(), after: None, offset: 0, limit: 10 },
        Refusal::Empty(|page: &Option<Vec<_>>| page.as_ref().is_none_or(Vec::is_empty)),
    );
    v.visit(CountApps { search: search() }, Refusal::Empty(|count| *count == 0));
    v.visit(ListAppsOfUser { user_id: USER, now: NOW }, Refusal::Inputs);
    v.visit(
        UpdateApp {
            id: APP,
            name: "New".to_owned(),
            icon: String::new(),
            callback_url: URI.to_owned(),
            redirect_uris: None,
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(TouchApp { id: APP, now: NOW }, Refusal::Inputs);
    v.visit(DeleteApp { id: APP }, Refusal::Inputs);
    v.visit(FindRegistration { id: APP }, Refusal::Inputs);
    v.visit(SetRegistrationToken { id: APP, hash: vec![1; 32], now: NOW }, Refusal::Inputs);
    v.visit(UpdateMetadata { id: APP, metadata: metadata(), now: NOW }, Refusal::Inputs);
    v.visit(DeleteUnusedApps { before: NOW, limit: 10 }, Refusal::Inputs);
}

fn secrets(v: &mut impl Visitor) {
    let secret = AppSecret {
        id: Pk(Oauth2SecretId::new(NEW)),
        created_at: NOW,
        last_used_at: None,
        display_secret: "*wxyz".to_owned(),
        app_id: Pk(APP),
    };
    let (secret_prefix, hashed_secret) = (b"newsecretn".to_vec(), vec![1; 32]);
    v.visit(
        InsertSecret(HashedAppSecret { secret, secret_prefix, hashed_secret }),
        Refusal::Inputs,
    );
    v.visit(GetSecret { id: SECRET }, Refusal::Inputs);
    v.visit(ListSecrets { app_id: APP }, Refusal::Empty(Vec::is_empty));
    v.visit(FindSecret { secret_prefix: b"abcdefghij".to_vec() }, Refusal::Inputs);
    v.visit(TouchSecret { id: SECRET, now: NOW }, Refusal::Inputs);
    v.visit(DeleteSecret { id: SECRET }, Refusal::Inputs);
}

fn grants(v: &mut impl Visitor) {
    v.visit(
        InsertGrant {
            id: Oauth2GrantId::new(NEW),
            app_id: APP,
            user_id: USER,
            scope: "coder:all".to_owned(),
            audience: Vec::new(),
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(GetGrant { id: GRANT }, Refusal::Row(Action::Read, Resource::Oauth2AppCodeToken));
    v.visit(FindLiveGrant { app_id: APP, user_id: USER }, Refusal::Inputs);
    v.visit(
        ListGrants { user_id: USER, only_live: true, offset: 0, limit: 10 },
        Refusal::Empty(Vec::is_empty),
    );
    v.visit(TouchGrant { id: GRANT, user_id: USER, now: NOW }, Refusal::Inputs);
    v.visit(
        RevokeGrant { id: GRANT, reason: "sample", now: NOW },
        Refusal::Row(Action::Delete, Resource::Oauth2AppCodeToken),
    );
    v.visit(
        RevokeGrants { user_id: USER, app_id: Some(APP), reason: "sample", now: NOW },
        Refusal::Inputs,
    );
}

fn codes(v: &mut impl Visitor) {
    let code = Code {
        id: Pk(Oauth2CodeId::new(NEW)),
        created_at: NOW,
        expires_at: NOW,
        consumed_at: None,
        app_id: Pk(APP),
        user_id: Pk(USER),
        grant_id: Pk(GRANT),
        scope: "coder:all".to_owned(),
        resource_uri: None,
        code_challenge: None,
        code_challenge_method: None,
        state_hash: None,
        redirect_uri: None,
    };
    let (secret_prefix, hashed_secret) = (b"newcodenew".to_vec(), vec![1; 32]);
    v.visit(InsertCode(HashedCode { code, secret_prefix, hashed_secret }), Refusal::Inputs);
    v.visit(FindCode { secret_prefix: b"bcdefghijk".to_vec() }, Refusal::Inputs);
    v.visit(ConsumeCode { id: CODE, user_id: USER, grant_id: GRANT, now: NOW }, Refusal::Inputs);
    v.visit(DeleteCodes { app_id: APP, user_id: USER }, Refusal::Inputs);
}

fn tokens(v: &mut impl Visitor) {
    v.visit(InsertToken(token()), Refusal::Inputs);
    v.visit(FindToken { hash_prefix: b"cdefghijkl".to_vec() }, Refusal::Inputs);
    v.visit(
        GetTokenByKey { api_key_id: "oauthtoken".to_owned() },
        Refusal::Row(Action::Read, Resource::Oauth2AppCodeToken),
    );
    v.visit(RotateToken { id: TOKEN, successor: token(), now: NOW }, Refusal::Inputs);
    v.visit(DeleteTokens { app_id: APP, user_id: USER }, Refusal::Inputs);
}
