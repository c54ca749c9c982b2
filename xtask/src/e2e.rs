//! `cargo xtask e2e`: real clients through a real gateway, and every record compared with what was served.

mod clients;
mod compare;

use std::env;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::child::{Interrupt, Server, TICK, clean};
use crate::control::{Admin, Control, DEMO_KEY, any_port, start_provider};
use crate::daemon::Daemon;
use crate::tree::Tree;
use crate::up::random_word;
use crate::{daemon, preflight, served};
use clients::Clients;

/// Below which gateways serve.
const PREFIX: &str = "/api/v2/aibridge";
/// Records are shipped in batches, so the last ones take a moment.
const RECORDS_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only install the clients.
    #[arg(long)]
    install: bool,
    /// Talk to the fake provider without a gateway between: checks clients and provider alone.
    #[arg(long)]
    direct: bool,
}

pub(crate) fn run(tree: &Tree, args: &Args) -> Result<()> {
    preflight::python()?;
    preflight::npm()?;
    if !args.direct {
        preflight::postgres()?;
    }
    let clients = Clients::install(tree)?;
    if args.install {
        return Ok(());
    }
    let mut bins = vec![("testkit", "fake-provider")];
    if !args.direct {
        bins.extend([("coderd", "coderd"), ("aibridged", "aibridged")]);
    }
    let built = tree.build(&bins, false)?;
    let interrupt = Interrupt::install()?;
    // PostgreSQL's account must be able to pass through it.
    let dir = env::temp_dir().join(format!("coder-e2e-{}", random_word(8)?));
    fs::DirBuilder::new()
        .mode(0o711)
        .create(&dir)
        .with_context(|| format!("cannot make {}", dir.display()))?;
    let mut servers = Vec::new();
    let outcome = match built.as_slice() {
        [fake] => direct(&dir, fake, &clients, &interrupt, &mut servers),
        [fake, coderd, daemon] => {
            let bins = [fake, coderd, daemon];
            through(&dir, bins, &clients, &interrupt, &mut servers)
        }
        _ => bail!("nothing was built"),
    };
    let mut stopped = Ok(());
    for server in servers.iter_mut().rev() {
        stopped = stopped.and(server.stop(|| interrupt.came()));
    }
    match outcome.and(stopped) {
        Ok(()) => {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))
        }
        Err(error) => {
            for server in &servers {
                eprintln!("{}", server.tail());
            }
            eprintln!("logs are kept in {}", dir.display());
            Err(error)
        }
    }
}

/// Clients and provider alone: what the clients saw is what was served.
fn direct(
    dir: &Path,
    fake: &Path,
    clients: &Clients,
    interrupt: &Interrupt,
    servers: &mut Vec<Server>,
) -> Result<()> {
    let (server, url) = start_provider(dir, fake, &[], interrupt)?;
    servers.push(server);
    let seen = clients.run(&clients::Target {
        anthropic: url.clone(),
        openai: format!("{url}/v1"),
        token: DEMO_KEY.to_owned(),
        dir: dir.to_path_buf(),
    })?;
    let exchanges = Control::new(url).get("/__served")?.expect("asking the provider", &[200])?;
    compare::direct(&seen, &exchanges)
}

fn through(
    dir: &Path,
    [fake, coderd, daemon]: [&PathBuf; 3],
    clients: &Clients,
    interrupt: &Interrupt,
    servers: &mut Vec<Server>,
) -> Result<()> {
    let (server, upstream) = start_provider(dir, fake, &[], interrupt)?;
    servers.push(server);
    let (server, control) = start_coderd(dir, coderd)?;
    servers.push(server);
    if let Some(server) = servers.last_mut() {
        control.ready(server, interrupt, |_| {})?;
    }
    let password = random_word(24)?;
    let admin = Admin { email: "e2e@localhost.localdomain", username: "e2e", password: &password };
    control.create_first_user(&admin)?;
    let token = control.make_token(&admin, "e2e")?;
    let control = control.with_token(&token);
    control.put_provider("anthropic", &upstream, DEMO_KEY)?;
    control.put_provider("openai", &format!("{upstream}/v1"), DEMO_KEY)?;

    let mut stage =
        Stage { dir, clients, control, upstream: Control::new(upstream), token, known: Vec::new() };
    println!("through coderd");
    stage.pass("coderd", &format!("{}{PREFIX}", stage.control.url), servers, interrupt)?;
    let (server, url) = start_daemon(dir, daemon, &stage.control)?;
    servers.push(server);
    let daemon = Control::new(url);
    if let Some(server) = servers.last_mut() {
        daemon.ready(server, interrupt, |_| {})?;
    }
    println!("through aibridged");
    stage.pass("aibridged", &format!("{}{PREFIX}", daemon.url), servers, interrupt)
}

/// What all passes share.
struct Stage<'a> {
    dir: &'a Path,
    clients: &'a Clients,
    /// coderd, signed in.
    control: Control,
    upstream: Control,
    token: String,
    /// The interceptions of earlier passes.
    known: Vec<Value>,
}

impl Stage<'_> {
    /// All clients through one gateway.
    fn pass(
        &mut self,
        name: &str,
        gateway: &str,
        servers: &mut [Server],
        interrupt: &Interrupt,
    ) -> Result<()> {
        let before = self.served(0)?;
        let last = before.as_array().and_then(|rows| rows.last()?.get("seq")?.as_u64());
        let dir = self.dir.join(name);
        fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let seen = self.clients.run(&clients::Target {
            anthropic: format!("{gateway}/anthropic"),
            openai: format!("{gateway}/openai/v1"),
            token: self.token.clone(),
            dir,
        })?;
        for server in servers {
            server.check()?;
        }
        let exchanges = self.served(last.unwrap_or(0))?;
        let recorded = self.records(served::answers(&exchanges).count(), interrupt)?;
        self.known.extend(recorded.iter().map(|row| row["id"].clone()));
        compare::through(&seen, &exchanges, &Value::Array(recorded), &self.token)
    }

    /// The exchanges of the provider after a number.
    fn served(&self, after: u64) -> Result<Value> {
        self.upstream
            .get(&format!("/__served?after={after}"))?
            .expect("asking the provider", &[200])
    }

    /// The interceptions of this pass, once `count` of them have ended.
    fn records(&self, count: usize, interrupt: &Interrupt) -> Result<Vec<Value>> {
        let deadline = Instant::now() + RECORDS_LIMIT;
        loop {
            let page = self.control.get("/api/v2/aibridge/interceptions?limit=1000")?;
            let page = page.expect("listing interceptions", &[200])?;
            let list = page.get("results").and_then(Value::as_array).cloned().unwrap_or_default();
            let new = |row: &Value| !self.known.contains(&row["id"]);
            let list: Vec<Value> = list.into_iter().filter(new).collect();
            let ended = list.iter().filter(|row| !row["ended_at"].is_null()).count();
            // After the deadline the comparison says what is missing.
            if ended >= count || Instant::now() > deadline {
                return Ok(list);
            }
            interrupt.check()?;
            sleep(TICK);
        }
    }
}

fn start_daemon(dir: &Path, program: &Path, control: &Control) -> Result<(Server, String)> {
    let address = format!("127.0.0.1:{}", any_port()?);
    let key_file = dir.join("gateway.key");
    daemon::ensure_key(control, &key_file, "e2e")?;
    let mut command = clean(program);
    let spool = dir.join("aibridged-spool");
    Daemon { coderd: &control.url, key_file: &key_file, address: &address, spool: &spool }
        .configure(&mut command);
    let log = dir.join("aibridged.log");
    let server = Server::start("aibridged", &mut command, &log, Duration::from_secs(45))?;
    Ok((server, format!("http://{address}")))
}

fn start_coderd(dir: &Path, program: &Path) -> Result<(Server, Control)> {
    let address = format!("127.0.0.1:{}", any_port()?);
    let mut command = clean(program);
    let url = format!("http://{address}");
    command
        .arg("server")
        .env("CODER_HTTP_ADDRESS", &address)
        .env("CODER_ACCESS_URL", &url)
        .env("CODER_PG_DATA_DIR", dir.join("postgres"))
        .env("CODER_AI_GATEWAY_SPOOL_DIR", dir.join("coderd-spool"));
    let log: PathBuf = dir.join("coderd.log");
    let server = Server::start("coderd", &mut command, &log, Duration::from_secs(45))?;
    Ok((server, Control::new(url)))
}
