//! The whole server on a port of its own, over a database of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aibridge::GatewaySettings;
use api::{App, Base, HttpSettings, Settings};
use crypt::Keyring;
use http::HeaderValue;
use httpmw::TrustedProxies;
use ledger::{FullPolicy, LedgerSettings, SyncPolicy};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use stdx::{Lifecycle, SystemClock, SystemRng};
use telemetry::Registry;
use tempfile::TempDir;
use testkit::TestDb;
use tokio::net::TcpListener;

pub(crate) const OWNER_PASSWORD: &str = "SomeSecurePassword!";

/// A running server. Ends with the test.
pub(crate) struct TestApp {
    pub(crate) url: String,
    pub(crate) db: TestDb,
    pub(crate) app: App,
    pub(crate) http: Client,
    lifecycle: Lifecycle,
    _spool: TempDir,
}

impl TestApp {
    /// Without encryption keys and without users.
    pub(crate) async fn empty() -> Self {
        Self::with_keys(Keyring::empty()).await
    }

    pub(crate) async fn with_keys(keyring: Keyring) -> Self {
        Self::start(keyring, |_| {}).await
    }

    /// With the gateway turned off.
    pub(crate) async fn without_gateway() -> Self {
        Self::start(Keyring::empty(), |base| base.settings.gateway_enabled = false).await
    }

    /// As `change` wants it.
    pub(crate) async fn start(keyring: Keyring, change: impl FnOnce(&mut Base)) -> Self {
        Self::over(TestDb::new().await, keyring, change).await
    }

    /// The same, over a database that the test has prepared.
    pub(crate) async fn over(db: TestDb, keyring: Keyring, change: impl FnOnce(&mut Base)) -> Self {
        let spool = spool();
        let (url, app, lifecycle) = serve(&db, keyring, &spool, change).await;
        // The client finds several providers of cryptography in a workspace build and wants to be told.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { url, db, app, http: Client::new(), lifecycle, _spool: spool }
    }

    /// Another process of the same deployment.
    pub(crate) async fn twin(&self) -> Twin {
        let spool = spool();
        let (url, _, lifecycle) = serve(&self.db, Keyring::empty(), &spool, |_| {}).await;
        Twin { url, lifecycle, _spool: spool }
    }

    /// Asks the server to stop.
    pub(crate) fn begin_stop(&self) {
        self.lifecycle.begin_stop();
    }

    /// With the first user, signed in.
    pub(crate) async fn new() -> (Self, Session) {
        let app = Self::empty().await;
        let owner = app.first_user().await;
        (app, owner)
    }

    /// Creates the first user, `owner@example.com`, and signs in.
    pub(crate) async fn first_user(&self) -> Session {
        let body = json!({ "email": "owner@example.com", "username": "owner", "password": OWNER_PASSWORD });
        let response =
            self.http.post(self.path("/api/v2/users/first")).json(&body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        self.login("owner@example.com", OWNER_PASSWORD).await
    }

    pub(crate) async fn login(&self, email: &str, password: &str) -> Session {
        let body = json!({ "email": email, "password": password });
        let response =
            self.http.post(self.path("/api/v2/users/login")).json(&body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        let body: Value = response.json().await.unwrap();
        self.session(body["session_token"].as_str().unwrap())
    }

    /// A further user with the given site roles, signed in. Written past the API, which cannot create users
    /// yet.
    pub(crate) async fn user(&self, name: &str, roles: &[&str]) -> Session {
        let roles = roles.join(",");
        self.db
            .sql(&format!(
                "INSERT INTO users (id, email, username, hashed_password, created_at, updated_at, status, rbac_roles)
                 SELECT gen_random_uuid(), '{name}@example.com', '{name}', hashed_password, now(), now(), 'active', '{{{roles}}}'
                   FROM users WHERE username = 'owner';
                 INSERT INTO organization_members (organization_id, user_id, created_at, updated_at)
                 SELECT o.id, u.id, now(), now() FROM organizations o, users u WHERE o.is_default AND u.username = '{name}'"
            ))
            .await
            .unwrap();
        self.login(&format!("{name}@example.com"), OWNER_PASSWORD).await
    }

    pub(crate) fn session(&self, token: &str) -> Session {
        Session { url: self.url.clone(), token: token.to_owned(), http: self.http.clone() }
    }

    pub(crate) fn anonymous(&self) -> Session {
        self.session("")
    }

    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

/// See [`TestApp::twin`].
pub(crate) struct Twin {
    pub(crate) url: String,
    lifecycle: Lifecycle,
    _spool: TempDir,
}

impl Drop for Twin {
    fn drop(&mut self) {
        self.lifecycle.begin_stop();
    }
}

/// Serves on a port of its own until its lifecycle ends.
/// The directory of a ledger.
fn spool() -> TempDir {
    tempfile::Builder::new().prefix("api-test-").tempdir().unwrap()
}

async fn serve(
    db: &TestDb,
    keyring: Keyring,
    spool: &TempDir,
    change: impl FnOnce(&mut Base),
) -> (String, App, Lifecycle) {
    let store = db.store_with(keyring).await.unwrap();
    let (clock, rng) = (SystemClock::shared(), SystemRng::shared());
    let deployment_id =
        api::setup::prepare(&store, &clock, &rng, rbac::RoleOptions::default()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let lifecycle = Lifecycle::new();
    let mut base = Base {
        store,
        database_url: db.url().clone(),
        settings: Settings {
            access_url: url.parse().unwrap(),
            version: "v0.0.0-test".to_owned(),
            deployment_id,
            session_duration: Duration::from_hours(24),
            default_token_lifetime: Duration::from_hours(7 * 24),
            max_token_lifetime: Duration::from_hours(30 * 24),
            max_admin_token_lifetime: Duration::from_hours(7 * 24),
            disable_password_auth: false,
            secure_cookies: false,
            same_site: "lax",
            gateway_enabled: true,
            record_authz_checks: false,
        },
        roles: rbac::RoleOptions::default(),
        sliding_sessions: true,
        gateway: GatewaySettings::new(lifecycle.clone()),
        retention: api::Retention::default(),
        spool: Some(LedgerSettings {
            dir: spool.path().to_owned(),
            max_bytes: 16 * 1024 * 1024,
            sync: SyncPolicy::Os,
            full: FullPolicy::Refuse,
            clock: Arc::clone(&clock),
            rng: Arc::clone(&rng),
        }),
        clock,
        rng,
        registry: Registry::new(),
    };
    change(&mut base);
    let app = App::start(base, &lifecycle).await.unwrap();
    let router = app.serve(HttpSettings {
        trusted_proxies: TrustedProxies::parse::<String, String>(&[], &[]).unwrap(),
        build_version: HeaderValue::from_static("v0.0.0-test"),
        hsts: None,
    });
    let stopping = lifecycle.stopping();
    lifecycle.spawn("http", async move {
        axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
            .with_graceful_shutdown(async move { stopping.wait().await })
            .await
            .unwrap();
    });
    (url, app, lifecycle)
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.lifecycle.begin_stop();
    }
}

/// A caller with a token.
#[derive(Clone)]
pub(crate) struct Session {
    url: String,
    pub(crate) token: String,
    http: Client,
}

impl Session {
    /// The same caller at another process of the deployment.
    pub(crate) fn at(url: &str, session: &Self) -> Self {
        Self { url: url.to_owned(), ..session.clone() }
    }

    /// A request to an API v2 path such as `/users/me`.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}/api/v2{path}", self.url));
        if self.token.is_empty() {
            request
        } else {
            request.header("Coder-Session-Token", &self.token)
        }
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        split(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        split(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        split(self.request(Method::PATCH, path).json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        split(self.request(Method::PUT, path).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> (StatusCode, Value) {
        split(self.request(Method::DELETE, path)).await
    }

    /// Creates an API token with all rights and returns a session that uses it.
    pub(crate) async fn token(&self, name: &str) -> Session {
        let (status, body) =
            self.post("/users/me/keys/tokens", &json!({ "token_name": name })).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        Session { token: body["key"].as_str().unwrap().to_owned(), ..self.clone() }
    }
}

async fn split(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
