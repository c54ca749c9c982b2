use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pgcluster::{Cluster, Error, Phase, Progress, Search, Settings, Status};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(30);

/// A place that the PostgreSQL user can enter too.
fn place() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    dir
}

/// What was committed must be there after each of the crashes below.
fn durable(dir: &tempfile::TempDir) -> Settings {
    let mut settings = settings(dir);
    settings.durable = true;
    settings
}

fn settings(dir: &tempfile::TempDir) -> Settings {
    let mut settings = Settings::scratch(dir.path().join("data"), dir.path().join("cache"));
    settings.download = false;
    settings
}

async fn start(dir: &tempfile::TempDir) -> Cluster {
    Cluster::start(settings(dir)).await.unwrap()
}

async fn sql(url: &str, statement: &str) -> Result<String, String> {
    let output = Command::new("psql")
        .args(["-X", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", url, "-c", statement])
        .output()
        .await
        .unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

async fn ask(cluster: &Cluster, statement: &str) -> String {
    sql(cluster.url().expose(), statement).await.unwrap()
}

/// Asks again until it holds; fails after a while that no healthy run takes.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect(what)
}

fn server_pid(data: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data.join("pg/postmaster.pid")).ok()?;
    Pid::from_raw(text.lines().next()?.parse().ok()?)
}

#[derive(Debug, Default)]
struct Seen(Mutex<Vec<Phase>>);

impl Progress for Seen {
    fn phase(&self, phase: Phase) {
        self.0.lock().unwrap().push(phase);
    }
}

#[tokio::test]
async fn a_cluster_starts_once_keeps_its_data_and_its_address() {
    let dir = place();
    let seen = Arc::new(Seen::default());
    let mut first = settings(&dir);
    first.progress = seen.clone();
    let cluster = Cluster::start(first).await.unwrap();
    assert_eq!(
        *seen.0.lock().unwrap(),
        [Phase::Locating, Phase::Initialising, Phase::Starting, Phase::Ready]
    );
    assert!(cluster.major() >= 14);
    assert_eq!(*cluster.watch().borrow(), Status::Up { starts: 1 });

    for (name, want) in [
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("password_encryption", "scram-sha-256"),
        ("server_encoding", "UTF8"),
        ("TimeZone", "UTC"),
        ("max_connections", "200"),
        ("fsync", "off"),
        ("data_checksums", "on"),
    ] {
        assert_eq!(ask(&cluster, &format!("SHOW {name}")).await, want, "{name}");
    }
    assert_eq!(
        ask(&cluster, "SELECT current_database() || ' ' || current_user").await,
        "coder coder"
    );
    let open = "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'";
    assert_eq!(ask(&cluster, open).await, "0");
    let wrong = format!("postgres://coder:wrong@127.0.0.1:{}/coder", cluster.connection().port());
    let refusal = sql(&wrong, "SELECT 1").await.unwrap_err();
    assert!(refusal.contains("password authentication failed"), "{refusal}");
    let pg = fs::metadata(dir.path().join("data/pg")).unwrap();
    assert_eq!(pg.mode() & 0o777, 0o700);
    assert_ne!(pg.uid(), 0, "never root");

    match Cluster::start(settings(&dir)).await {
        Err(Error::InUse { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    ask(&cluster, "CREATE TABLE kept AS SELECT 42 AS answer").await;
    let url = cluster.url();
    cluster.stop().await;
    cluster.stop().await;
    assert_eq!(*cluster.watch().borrow(), Status::Stopped);
    assert_eq!(server_pid(&dir.path().join("data")), None);

    // Stopped: the address can still be told, and is the same after the next start.
    let told = Cluster::connection_of(settings(&dir)).await.unwrap();
    assert_eq!(told.url().expose(), url.expose());
    let cluster = start(&dir).await;
    assert_eq!(cluster.url().expose(), url.expose());
    assert_eq!(ask(&cluster, "SELECT answer FROM kept").await, "42");
    cluster.stop().await;

    // A lost password is set anew; the data is not.
    fs::remove_file(dir.path().join("data/password")).unwrap();
    let cluster = start(&dir).await;
    assert_ne!(cluster.url().expose(), url.expose());
    assert_eq!(ask(&cluster, "SELECT answer FROM kept").await, "42");
    let refusal = sql(url.expose(), "SELECT 1").await.unwrap_err();
    assert!(refusal.contains("password authentication failed"), "{refusal}");
    cluster.stop().await;

    // A port that someone else took meanwhile is replaced, a fixed one is insisted on.
    let port = cluster.connection().port();
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let mut fixed = settings(&dir);
    fixed.port = Some(port);
    let error = Cluster::start(fixed).await.unwrap_err();
    assert!(matches!(error, Error::PortTaken { port: p } if p == port), "{error}");
    let cluster = start(&dir).await;
    assert_ne!(cluster.connection().port(), port);
    cluster.stop().await;
    drop(other);

    // Damage is reported with the server's own words.
    fs::remove_file(dir.path().join("data/pg/global/pg_control")).unwrap();
    let error = Cluster::start(settings(&dir)).await.unwrap_err();
    assert!(matches!(error, Error::Exited { .. }), "{error}");
    assert!(error.to_string().contains("pg_control"), "{error}");

    // Data of another version is not touched, and the remedy names that version.
    fs::write(dir.path().join("data/pg/PG_VERSION"), "99\n").unwrap();
    let error = Cluster::start(settings(&dir)).await.unwrap_err();
    assert!(matches!(error, Error::NoServer { wanted: Some(99), .. }), "{error}");
    assert!(error.to_string().contains("postgresql-99"), "{error}");
}

#[tokio::test]
async fn a_killed_server_comes_back_with_its_data_at_the_same_address() {
    let dir = place();
    let data = dir.path().join("data");
    let cluster = Cluster::start(durable(&dir)).await.unwrap();
    let mut watch = cluster.watch();
    ask(&cluster, "CREATE TABLE kept AS SELECT 42 AS answer").await;

    // One connection of many: the server mends itself.
    let mut client = Command::new("psql")
        .args(["-X", "-A", "-t", "-q", cluster.url().expose()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut input, output) = (client.stdin.take().unwrap(), client.stdout.take().unwrap());
    let mut lines = BufReader::new(output).lines();
    input.write_all(b"SELECT pg_backend_pid();\n").await.unwrap();
    let backend: i32 = lines.next_line().await.unwrap().unwrap().parse().unwrap();
    kill_process(Pid::from_raw(backend).unwrap(), Signal::KILL).unwrap();
    let answer = eventually("the server mends itself", async || {
        sql(cluster.url().expose(), "SELECT answer FROM kept").await.ok()
    })
    .await;
    assert_eq!(answer, "42");
    assert_eq!(*watch.borrow(), Status::Up { starts: 1 });

    // The server itself, while clients are connected; twice.
    for starts in 2..4 {
        kill_process(server_pid(&data).unwrap(), Signal::KILL).unwrap();
        let up = watch.wait_for(|status| *status == Status::Up { starts });
        tokio::time::timeout(PATIENCE, up).await.unwrap().unwrap();
        assert_eq!(ask(&cluster, "SELECT answer FROM kept").await, "42");
    }

    // A server that dropped its owner's handle stops all the same.
    let pid = server_pid(&data).unwrap();
    drop(cluster);
    let stopped = watch.wait_for(|status| *status == Status::Stopped);
    tokio::time::timeout(PATIENCE, stopped).await.unwrap().unwrap();
    assert!(test_kill_process(pid).is_err());
}

/// Another process that owns a cluster.
fn serve(data: &Path) -> tokio::process::Child {
    Command::new(env!("CARGO_BIN_EXE_pgcluster-serve"))
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn a_server_left_behind_by_a_killed_owner_is_stopped_and_replaced() {
    let dir = place();
    let data = dir.path().join("data");
    let mut owner = serve(&data);
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let port = line.strip_prefix("ready ").unwrap().to_owned();
    let url = Cluster::connection_of(settings(&dir)).await.unwrap().url();
    sql(url.expose(), "CREATE TABLE kept AS SELECT 42 AS answer").await.unwrap();

    match Cluster::start(durable(&dir)).await {
        Err(Error::InUse { pid, .. }) => assert_eq!(pid, owner.id()),
        other => panic!("{other:?}"),
    }
    owner.kill().await.unwrap();
    let orphan = server_pid(&data).unwrap();
    assert!(test_kill_process(orphan).is_ok(), "it outlives its owner");

    let seen = Arc::new(Seen::default());
    let mut next = durable(&dir);
    next.progress = seen.clone();
    let cluster = Cluster::start(next).await.unwrap();
    assert!(seen.0.lock().unwrap().contains(&Phase::StoppingOrphan));
    assert_ne!(server_pid(&data).unwrap(), orphan);
    assert_eq!(cluster.connection().port().to_string(), port);
    assert_eq!(ask(&cluster, "SELECT answer FROM kept").await, "42");
    cluster.stop().await;

    // Owner and server killed together leave nothing but a stale file.
    let mut owner = serve(&data);
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    lines.next_line().await.unwrap().unwrap();
    let server = server_pid(&data).unwrap();
    owner.kill().await.unwrap();
    kill_process(server, Signal::KILL).unwrap();
    let cluster = Cluster::start(durable(&dir)).await.unwrap();
    assert_eq!(ask(&cluster, "SELECT answer FROM kept").await, "42");
    cluster.stop().await;
}

#[tokio::test]
async fn an_interrupted_first_start_is_begun_anew() {
    let dir = place();
    let data = dir.path().join("data");
    let mut owner = serve(&data);
    let half: PathBuf = eventually("initdb is at work", async || {
        fs::read_dir(&data).ok()?.flatten().find_map(|entry| {
            let made = entry.path().join("pg/PG_VERSION");
            made.exists().then(|| entry.path())
        })
    })
    .await;
    owner.kill().await.unwrap();
    assert!(!data.join("pg").exists());

    let cluster = start(&dir).await;
    assert_eq!(ask(&cluster, "SELECT 1").await, "1");
    cluster.stop().await;
    // Its orphaned initdb may write on for a moment; at the next start at the latest all is swept away.
    let cluster = start(&dir).await;
    assert!(!half.exists());
    cluster.stop().await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named_with_a_remedy() {
    let dir = place();
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o500)).unwrap();
    let mut settings = settings(&dir);
    settings.data_dir = closed.join("above/data");
    let text = Cluster::start(settings).await.unwrap_err().to_string();
    assert!(text.contains(closed.to_str().unwrap()), "{text}");
    assert!(!closed.join("above").exists(), "nothing was made");
    if rustix::process::geteuid().is_root() {
        assert!(text.contains("CODER_PG_DATA_DIR"), "{text}");
        assert!(text.contains("may not enter"), "{text}");
    } else {
        assert!(text.contains("cannot create"), "{text}");
    }
}

#[tokio::test]
async fn without_any_server_the_error_says_what_to_install() {
    let dir = place();
    let mut settings = settings(&dir);
    settings.search = Search::Dirs(vec![dir.path().join("nothing")]);
    let error = Cluster::start(settings).await.unwrap_err();
    assert!(matches!(error, Error::NoServer { wanted: None, .. }), "{error}");
    let text = error.to_string();
    for part in ["apt-get install postgresql", "CODER_PG_CONNECTION_URL"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!dir.path().join("data/pg").exists());
}
