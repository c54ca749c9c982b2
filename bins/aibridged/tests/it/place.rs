use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::program::{LIMIT, free_port};
use testkit::provider::{FakeProvider, Options, Served};
use testkit::{Program, TestDb};
use tokio::time::{Instant, interval};

use crate::daemon::Daemon;

/// What the provider accepts.
const PROVIDER_KEY: &str = "sk-provider-canary-0123456789";
/// In every prompt, and so in every answer.
pub(crate) const WORD: &str = "marzipan";
const PASSWORD: &str = "SomeSecurePassword!";
const STEP: Duration = Duration::from_millis(20);

/// A deployment: database, provider, coderd with an owner, and what a gateway daemon needs.
pub(crate) struct Place {
    dir: TempDir,
    pub(crate) db: TestDb,
    pub(crate) provider: FakeProvider,
    pub(crate) http: Client,
    coderd: Program,
    address: String,
    metrics: String,
    /// The owner's token.
    pub(crate) owner: String,
    /// The gateway key's row and the key itself.
    pub(crate) key: (String, String),
    /// What must not show anywhere.
    secrets: Vec<String>,
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self::with(Duration::ZERO).await
    }

    /// With a provider that waits before each frame of a stream.
    pub(crate) async fn with(frame_delay: Duration) -> Self {
        // The client finds several providers of cryptography in a workspace build and wants to be told.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::Builder::new().prefix("aibridged-test-").tempdir().unwrap();
        let keys = vec![PROVIDER_KEY.to_owned()];
        let options = Options { frame_delay, keys, ..Options::default() };
        let provider = FakeProvider::start(options).await.unwrap();
        let db = TestDb::new().await;
        let address = format!("127.0.0.1:{}", free_port());
        let metrics = format!("127.0.0.1:{}", free_port());
        let coderd = start_coderd(dir.path(), &db, &address, &metrics);
        // A connection of its own per request: what was served over one says nothing about the next process.
        let http = Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let (owner, key) = (String::new(), (String::new(), String::new()));
        let secrets = [PROVIDER_KEY, WORD, PASSWORD].map(str::to_owned).to_vec();
        let mut place =
            Self { dir, db, provider, http, coderd, address, metrics, owner, key, secrets };
        place.settle().await;
        place
    }

    /// The first user, two providers, a gateway key.
    async fn settle(&mut self) {
        self.coderd_ready().await;
        let user = json!({
            "email": "owner@example.com", "username": "owner", "password": PASSWORD
        });
        self.ok(Method::POST, "/users/first", user).await;
        self.owner = self.session("owner").await;
        let (anthropic, openai) = (self.provider.url(), self.provider.openai_url());
        for (kind, url) in [("anthropic", anthropic), ("openai", openai)] {
            let provider = json!({
                "type": kind, "name": kind, "display_name": kind, "enabled": true,
                "base_url": url, "api_keys": [PROVIDER_KEY],
            });
            self.ok(Method::POST, "/ai/providers", provider).await;
        }
        self.new_key("first").await;
    }

    /// Makes a gateway key, which daemons that start from now on use.
    pub(crate) async fn new_key(&mut self, name: &str) {
        let made = self.ok(Method::POST, "/ai-gateway/keys", json!({ "name": name })).await;
        let [id, key] = ["id", "key"].map(|field| made[field].as_str().unwrap().to_owned());
        fs::write(self.key_file(), format!("{key}\n")).unwrap();
        self.secrets.push(key.clone());
        self.key = (id, key);
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.path("gateway.key")
    }

    /// A path inside of the deployment's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn coderd_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// coderd's own gateway.
    pub(crate) fn in_process(&self) -> String {
        format!("{}/api/v2/ai-gateway", self.coderd_url())
    }

    pub(crate) async fn coderd_ready(&mut self) {
        let (http, url) = (self.http.clone(), format!("{}/readyz", self.coderd_url()));
        let ready = async || {
            http.get(&url).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
        };
        self.coderd.until("coderd is ready", ready).await;
    }

    pub(crate) fn kill_coderd(&mut self) {
        self.coderd.kill();
    }

    /// Starts it where it was.
    pub(crate) async fn restart_coderd(&mut self) {
        self.coderd = start_coderd(self.dir.path(), &self.db, &self.address, &self.metrics);
        self.coderd_ready().await;
    }

    /// A question to API v2, as the owner.
    pub(crate) async fn api(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let request = self
            .http
            .request(method, format!("{}/api/v2{path}", self.coderd_url()))
            .header("Coder-Session-Token", &self.owner);
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The same, when nothing but success will do.
    pub(crate) async fn ok(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.api(method, path, body).await;
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }

    /// A session of a user. Its token opens the gateway as well.
    pub(crate) async fn session(&mut self, name: &str) -> String {
        let login = json!({ "email": format!("{name}@example.com"), "password": PASSWORD });
        let session = self.ok(Method::POST, "/users/login", login).await;
        let token = session["session_token"].as_str().unwrap().to_owned();
        self.secrets.push(token.split_once('-').unwrap().1.to_owned());
        token
    }

    /// Another token of the owner.
    pub(crate) async fn token(&mut self, name: &str) -> String {
        let made = self.ok(Method::POST, "/users/me/keys/tokens", json!({ "token_name": name }));
        let token = made.await["key"].as_str().unwrap().to_owned();
        self.secrets.push(token.split_once('-').unwrap().1.to_owned());
        token
    }

    /// A member with a session.
    pub(crate) async fn member(&mut self, name: &str) -> String {
        self.db
            .sql(&format!(
                "INSERT INTO users (id, email, username, hashed_password, created_at, updated_at, status, rbac_roles)
                 SELECT gen_random_uuid(), '{name}@example.com', '{name}', hashed_password, now(), now(), 'active', '{{}}'
                   FROM users WHERE username = 'owner';
                 INSERT INTO organization_members (organization_id, user_id, created_at, updated_at)
                 SELECT o.id, u.id, now(), now() FROM organizations o, users u WHERE o.is_default AND u.username = '{name}'"
            ))
            .await
            .unwrap();
        self.session(name).await
    }

    /// Starts a daemon and waits until it is ready.
    pub(crate) async fn daemon(&self, name: &str, settings: &[(&str, &str)]) -> Daemon {
        let mut daemon = self.begin(name, settings);
        daemon.ready(&self.http).await;
        daemon
    }

    /// Starts a daemon.
    pub(crate) fn begin(&self, name: &str, settings: &[(&str, &str)]) -> Daemon {
        let address = format!("127.0.0.1:{}", free_port());
        let metrics = format!("127.0.0.1:{}", free_port());
        let (url, key, spool) = (self.coderd_url(), self.key_file(), self.spool(name));
        let ours = [
            ("CODER_URL", url.as_str()),
            ("CODER_AI_GATEWAY_KEY_FILE", key.to_str().unwrap()),
            ("CODER_AI_GATEWAY_LISTEN_ADDR", &address),
            ("CODER_AI_GATEWAY_SPOOL_DIR", spool.to_str().unwrap()),
            ("CODER_AI_GATEWAY_THREADS", "2"),
            ("CODER_PROMETHEUS_ENABLE", "true"),
            ("CODER_PROMETHEUS_ADDRESS", &metrics),
            ("CODER_VERBOSE", "true"),
        ];
        let settings: Vec<_> = ours.into_iter().chain(settings.iter().copied()).collect();
        Daemon::start(&address, &metrics, &settings, &self.path(&format!("{name}.log")))
    }

    /// Where a daemon of that name keeps its records.
    pub(crate) fn spool(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}-spool"))
    }

    /// `aibridged ledger verify` over a daemon's spool.
    pub(crate) fn verify(&self, name: &str) -> (bool, String) {
        let (url, key) = (self.coderd_url(), self.key_file());
        let output = Command::new(env!("CARGO_BIN_EXE_aibridged"))
            .args(["ledger", "verify", "--dir"])
            .arg(self.spool(name))
            .env_clear()
            .env("CODER_URL", url)
            .env("CODER_AI_GATEWAY_KEY_FILE", key)
            .output()
            .unwrap();
        said(&output)
    }

    /// Waits until everything that the provider has served is recorded, and checks that it is so once: ids
    /// and token counts are equal.
    pub(crate) async fn all_recorded(&self) -> Vec<Value> {
        let counts = |served: &Served| {
            let usage = &served.usage;
            (served.response_id.clone(), usage.input, usage.output)
        };
        let mut wanted: Vec<_> = self.provider.served().iter().map(counts).collect();
        wanted.sort();
        let rows = self.closed(wanted.len()).await;
        let mut seen: Vec<_> = rows
            .iter()
            .flat_map(|row| row["token_usages"].as_array().unwrap())
            .map(|usage| {
                let count = |field: &str| usage[field].as_u64().unwrap();
                let id = usage["provider_response_id"].as_str().unwrap().to_owned();
                (id, count("input_tokens"), count("output_tokens"))
            })
            .collect();
        seen.sort();
        assert_eq!(seen, wanted);
        rows
    }

    /// Waits until so many interceptions, and no others, are recorded with their ends. The API shows those only
    /// that have ended.
    pub(crate) async fn closed(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + LIMIT;
        let mut step = interval(STEP);
        loop {
            step.tick().await;
            let rows = self.rows().await;
            if rows.len() >= count {
                assert_eq!(rows.len(), count, "{rows:?}");
                return rows;
            }
            assert!(Instant::now() < deadline, "{} of {count} are recorded", rows.len());
        }
    }

    /// The interceptions that have ended; none while the database is away.
    pub(crate) async fn rows(&self) -> Vec<Value> {
        let list = "/aibridge/interceptions?limit=1000";
        let (_, list) = self.api(Method::GET, list, Value::Null).await;
        list["results"].as_array().cloned().unwrap_or_default()
    }

    /// Ends the daemons in good order and looks for secrets and prompts wherever anybody could read.
    pub(crate) async fn close(mut self, daemons: Vec<Daemon>) {
        let mut places = Vec::new();
        for mut daemon in daemons {
            places.extend(daemon.public(&self.http).await);
            assert!(daemon.program.interrupt().await, "{}", daemon.program.log());
        }
        let url = format!("http://{}/", self.metrics);
        if let Ok(answer) = self.http.get(&url).send().await {
            places.push(("coderd's metrics".to_owned(), answer.text().await.unwrap()));
        }
        assert!(self.coderd.interrupt().await, "{}", self.coderd.log());
        for entry in fs::read_dir(self.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "log") {
                places.push((path.display().to_string(), fs::read_to_string(path).unwrap()));
            }
        }
        assert!(places.iter().any(|(name, _)| name.ends_with("coderd.log")));
        for (name, text) in places {
            assert!(!text.is_empty(), "{name} is empty");
            for secret in &self.secrets {
                let line = text.lines().find(|line| line.contains(secret));
                assert_eq!(line, None, "{secret} shows in {name}");
            }
            for panicked in ["panicked at", "a request handler panicked"] {
                assert!(!text.contains(panicked), "{name}: {text}");
            }
        }
    }
}

/// Whether a program called its end a success, and what it said.
pub(crate) fn said(output: &Output) -> (bool, String) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// coderd lies beside the daemon. Cargo builds it with the tests of the whole workspace, and `cargo xtask test`
/// before the tests of this package alone.
fn coderd() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_aibridged")).with_file_name("coderd");
    assert!(
        path.is_file(),
        "{} is missing: run `cargo xtask test -p aibridged`, which builds it, or `cargo build -p coderd`",
        path.display()
    );
    path
}

fn start_coderd(dir: &Path, db: &TestDb, address: &str, metrics: &str) -> Program {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    let spool = dir.join("coderd-spool");
    let settings = [
        ("HOME", dir.to_str().unwrap()),
        ("CODER_PG_CONNECTION_URL", db.url().expose().as_str()),
        ("CODER_HTTP_ADDRESS", address),
        ("CODER_AI_GATEWAY_SPOOL_DIR", spool.to_str().unwrap()),
        ("CODER_PROMETHEUS_ENABLE", "true"),
        ("CODER_PROMETHEUS_ADDRESS", metrics),
        ("CODER_VERBOSE", "true"),
    ];
    Program::start(&coderd(), &["server"], settings, &dir.join("coderd.log"))
}
