use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use testkit::Program;
use testkit::program::{free_port, signal};

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

    /// A path inside of it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn kill_postgres(&self) {
        assert!(signal("KILL", self.postgres().unwrap()));
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
            // It may be gone.
            let _ = signal("QUIT", pid);
        }
    }
}

/// A running daemon.
pub(crate) struct Daemon {
    program: Program,
    url: String,
    pub(crate) http: Client,
}

impl Daemon {
    /// Starts and waits until it is ready.
    pub(crate) async fn start(home: &Home, settings: &[(&str, &str)]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let program = program(home, &address, settings, "coderd.log");
        // The client finds several providers of cryptography in a workspace build and wants to be told.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut daemon = Self { program, url: format!("http://{address}"), http: Client::new() };
        daemon.ready().await;
        daemon
    }

    /// Starts without waiting for anything.
    pub(crate) fn begin(home: &Home, settings: &[(&str, &str)]) -> Program {
        let address = format!("127.0.0.1:{}", free_port());
        program(home, &address, settings, "begun.log")
    }

    /// Starts one that is expected to exit; whether it called that a success, and what it said.
    pub(crate) async fn fail(home: &Home, settings: &[(&str, &str)]) -> (bool, String) {
        let address = format!("127.0.0.1:{}", free_port());
        // Each says its own.
        let _ = fs::remove_file(home.dir.path().join("failed.log"));
        let mut program = program(home, &address, settings, "failed.log");
        (program.ended().await, program.log())
    }

    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self) {
        let (http, url) = (self.http.clone(), self.path("/readyz"));
        let ready = async || {
            http.get(&url).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
        };
        self.program.until("it is ready", ready).await;
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
    pub(crate) async fn signs_in(&mut self, body: &'static str) {
        let (http, url) = (self.http.clone(), self.path("/api/v2/users/login"));
        let works = async || {
            let answer = http.post(&url).body(body).send().await.unwrap();
            let status = answer.status();
            assert!(status.is_server_error() || status == StatusCode::CREATED, "{status}");
            status == StatusCode::CREATED
        };
        self.program.until("a login works", works).await;
    }

    pub(crate) fn kill(&mut self) {
        self.program.kill();
    }

    /// Asks it to end.
    pub(crate) fn signal(&self) {
        self.program.signal("INT");
    }

    /// Waits for its end; whether it called that a success.
    pub(crate) async fn ended(&mut self) -> bool {
        self.program.ended().await
    }

    pub(crate) async fn interrupt(&mut self) -> bool {
        self.program.interrupt().await
    }

    pub(crate) fn log(&self) -> String {
        self.program.log()
    }
}

fn program(home: &Home, address: &str, settings: &[(&str, &str)], log: &str) -> Program {
    let data = home.data();
    let ours = [
        ("HOME", home.dir.path().to_str().unwrap()),
        ("CODER_PG_DATA_DIR", data.to_str().unwrap()),
        ("CODER_HTTP_ADDRESS", address),
    ];
    let path = Path::new(env!("CARGO_BIN_EXE_coderd"));
    let settings = ours.into_iter().chain(settings.iter().copied());
    Program::start(path, &["server"], settings, &home.dir.path().join(log))
}
