use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

/// How long a start or an end may take. A first start initialises a database on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

/// The directory of one deployment.
pub(crate) struct Home {
    dir: TempDir,
    prometheus: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("coderd-test-").tempdir().unwrap();
        // As root the database server runs as another user, who must get through.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir, prometheus: format!("127.0.0.1:{}", free_port()) }
    }

    pub(crate) fn prometheus(&self) -> &str {
        &self.prometheus
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("postgres")
    }

    fn postgres(&self) -> Option<u32> {
        let pidfile = fs::read_to_string(self.data().join("pg/postmaster.pid")).ok()?;
        pidfile.lines().next()?.parse().ok()
    }

    pub(crate) fn postgres_runs(&self) -> bool {
        self.postgres().is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists())
    }

    pub(crate) fn kill_postgres(&self) {
        signal("-KILL", self.postgres().unwrap());
    }

    /// Whether any file of the deployment has these bytes in it.
    pub(crate) fn contains(&self, needle: &[u8]) -> bool {
        let mut dirs = vec![self.dir.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else if fs::read(&path)
                    .is_ok_and(|bytes| bytes.windows(needle.len()).any(|found| found == needle))
                {
                    return true;
                }
            }
        }
        false
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(pid) = self.postgres() {
            signal("-QUIT", pid);
        }
    }
}

/// A running daemon.
pub(crate) struct Daemon {
    child: Child,
    url: String,
    log: PathBuf,
    pub(crate) http: Client,
}

impl Daemon {
    /// Starts and waits until it is ready.
    pub(crate) async fn start(home: &Home, settings: &[(&str, &str)]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let log = home.dir.path().join("coderd.log");
        let child = command(home, &address, settings, &log).spawn().unwrap();
        // The client finds several providers of cryptography in a workspace build and wants to be told.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut daemon = Self { child, url: format!("http://{address}"), log, http: Client::new() };
        daemon.ready().await;
        daemon
    }

    /// Starts one that is expected to exit; whether it called that a success, and what it said.
    pub(crate) async fn fail(home: &Home, settings: &[(&str, &str)]) -> (bool, String) {
        let address = format!("127.0.0.1:{}", free_port());
        let log = home.dir.path().join("failed.log");
        let mut child = command(home, &address, settings, &log).spawn().unwrap();
        let status = ended(&mut child).await.expect("it goes on running");
        (status, fs::read_to_string(log).unwrap())
    }

    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self) {
        let deadline = Instant::now() + LIMIT;
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            assert!(self.child.try_wait().unwrap().is_none(), "it exited: {}", self.log());
            if let Ok(answer) = self.http.get(self.path("/readyz")).send().await
                && answer.status() == StatusCode::OK
            {
                return;
            }
            assert!(Instant::now() < deadline, "it does not get ready: {}", self.log());
        }
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        let answer = self.http.get(self.path(path)).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    pub(crate) async fn post(&self, path: &str, body: &'static str) -> (StatusCode, Value) {
        let answer = self.http.post(self.path(path)).body(body).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    /// Waits until a login works. Until the dying server's connections are gone, it may fail for want of a
    /// database, but it must never blame the credential.
    pub(crate) async fn signs_in(&self, body: &'static str) {
        let deadline = Instant::now() + LIMIT;
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            let (status, answer) = self.post("/api/v2/users/login", body).await;
            if status == StatusCode::CREATED {
                return;
            }
            assert!(status.is_server_error(), "{status} {answer}");
            assert!(Instant::now() < deadline, "no login works: {}", self.log());
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end.
    pub(crate) fn signal(&self) {
        signal("-INT", self.child.id());
    }

    /// Waits for its end; whether it called that a success.
    pub(crate) async fn ended(&mut self) -> bool {
        ended(&mut self.child).await.unwrap_or(false)
    }

    pub(crate) async fn interrupt(&mut self) -> bool {
        self.signal();
        self.ended().await
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(home: &Home, address: &str, settings: &[(&str, &str)], log: &Path) -> Command {
    let file = fs::File::options().create(true).append(true).open(log).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_coderd"));
    command
        .arg("server")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.dir.path())
        .env("CODER_PG_DATA_DIR", home.data())
        .env("CODER_HTTP_ADDRESS", address)
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file);
    command
}

async fn ended(child: &mut Child) -> Option<bool> {
    let deadline = Instant::now() + LIMIT;
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while Instant::now() < deadline {
        tick.tick().await;
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.success());
        }
    }
    None
}

fn signal(which: &str, pid: u32) {
    let status = Command::new("kill").args([which, &pid.to_string()]).status().unwrap();
    assert!(status.success() || which == "-QUIT");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
