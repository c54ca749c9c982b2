//! `cargo xtask up`: one command from a checkout to a gateway that can be used.

mod hints;
mod orphans;
mod state;

use std::env;
use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::child::{Interrupt, Server, TICK};
use crate::control::{Admin, Control, DEMO_KEY, free_port, start_provider};
use crate::daemon::{self, Daemon};
use crate::preflight;
use crate::tree::Tree;
use hints::Hints;
use state::State;
pub(crate) use state::random_word;

/// Servers end open streams, and coderd its database, within this time.
const GRACE: Duration = Duration::from_secs(45);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Add a provider that answers without a model, so that no AI account is needed.
    #[arg(long)]
    demo: bool,
    /// Where database, logs and the first administrator's password are kept.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Build with optimisations.
    #[arg(long)]
    release: bool,
}

pub(crate) fn run(tree: &Tree, args: &Args) -> Result<()> {
    preflight::postgres()?;
    let state = State::open(tree, args.state_dir.as_deref())?;
    println!("State is kept in {}", state.dir.display());
    let mut bins = vec![("coderd", "coderd"), ("aibridged", "aibridged")];
    if args.demo {
        bins.push(("testkit", "fake-provider"));
    }
    let built = tree.build(&bins, args.release)?;
    let interrupt = Interrupt::install()?;
    let _ours = state.lock()?;
    orphans::end(&state.dir, &["aibridged", "coderd", "fake-provider"], GRACE)?;
    let mut servers = Vec::new();
    let served = serve(&state, &built, &interrupt, &mut servers);
    if interrupt.came() {
        println!("\nStopping. Press Ctrl-C again to stop at once.");
    }
    interrupt.rearm();
    let mut failed = false;
    // The gateway first, whose last records go to coderd, and the provider last.
    for server in servers.iter_mut().rev() {
        if let Err(error) = server.stop(|| interrupt.came()) {
            eprintln!("error: {error:#}");
            failed = true;
        }
    }
    served?;
    if failed {
        bail!("not everything ended cleanly");
    }
    println!("Stopped.");
    Ok(())
}

/// Starts everything, prints how to use it and stays until the user or a server ends.
fn serve(
    state: &State,
    built: &[PathBuf],
    interrupt: &Interrupt,
    servers: &mut Vec<Server>,
) -> Result<()> {
    let (coderd, aibridged, fake) = match built {
        [coderd, aibridged, fake] => (coderd, aibridged, Some(fake)),
        [coderd, aibridged] => (coderd, aibridged, None),
        _ => bail!("nothing was built"),
    };
    let upstream = match fake {
        None => None,
        Some(fake) => {
            let (server, url) = start_provider(&state.dir, fake, &["--delay-ms", "15"], interrupt)?;
            orphans::note(&state.dir, &server, fake)?;
            servers.push(server);
            Some(url)
        }
    };
    let (server, url) = start_coderd(state, coderd)?;
    servers.push(server);
    let control = Control::new(url);
    wait(&control, servers, interrupt)?;
    let admin = state.admin()?;
    let token = sign_in(state, &control, &admin)?;
    let control = control.with_token(&token);
    if let Some(upstream) = &upstream {
        control.put_provider("anthropic", upstream, DEMO_KEY)?;
        control.put_provider("openai", &format!("{upstream}/v1"), DEMO_KEY)?;
    }
    let (server, gateway) = start_daemon(state, aibridged, &control)?;
    servers.push(server);
    wait(&Control::new(gateway.clone()), servers, interrupt)?;
    let hints = Hints {
        url: &control.url,
        gateway: &gateway,
        token: &token,
        admin: &admin,
        state: &state.dir,
        demo: upstream.is_some(),
    };
    println!("{hints}");
    std::io::stdout().flush()?;
    while !interrupt.came() {
        for server in servers.iter_mut() {
            server.check()?;
        }
        sleep(TICK);
    }
    Ok(())
}

fn start_coderd(state: &State, program: &PathBuf) -> Result<(Server, String)> {
    let mut command = Command::new(program);
    command.arg("server");
    let mut address = None;
    for (name, value) in coder_options() {
        println!("{} is set and stays in effect", name.to_string_lossy());
        if name == "CODER_HTTP_ADDRESS" {
            address = Some(value.to_string_lossy().into_owned());
        }
    }
    let address = if let Some(address) = address {
        address
    } else {
        let port = free_port(3000)?;
        if port != 3000 {
            println!("Port 3000 is taken, so coderd listens on {port}");
        }
        let address = format!("127.0.0.1:{port}");
        command.env("CODER_HTTP_ADDRESS", &address);
        address
    };
    let url = url_of(&address);
    for (name, value) in [
        ("CODER_PG_DATA_DIR", state.dir.join("postgres").into_os_string()),
        ("CODER_AI_GATEWAY_SPOOL_DIR", state.dir.join("coderd-spool").into_os_string()),
        ("CODER_ACCESS_URL", OsString::from(&url)),
    ] {
        if env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    let log = state.dir.join("coderd.log");
    let server = Server::start("coderd", &mut command, &log, GRACE)?;
    orphans::note(&state.dir, &server, program)?;
    Ok((server, url))
}

/// Starts aibridged with a key that coderd accepts.
fn start_daemon(state: &State, program: &PathBuf, control: &Control) -> Result<(Server, String)> {
    let key_file = state.dir.join("gateway.key");
    daemon::ensure_key(control, &key_file, "up")?;
    let address = if let Some(address) = env::var_os("CODER_AI_GATEWAY_LISTEN_ADDR") {
        address.to_string_lossy().into_owned()
    } else {
        let port = free_port(4001)?;
        if port != 4001 {
            println!("Port 4001 is taken, so aibridged listens on {port}");
        }
        format!("127.0.0.1:{port}")
    };
    let mut command = Command::new(program);
    let spool = state.dir.join("aibridged-spool");
    Daemon { coderd: &control.url, key_file: &key_file, address: &address, spool: &spool }
        .configure(&mut command);
    // Of the two ways to name a key, this one is ours.
    command.env_remove("CODER_AI_GATEWAY_KEY");
    let log = state.dir.join("aibridged.log");
    let server = Server::start("aibridged", &mut command, &log, GRACE)?;
    orphans::note(&state.dir, &server, program)?;
    Ok((server, url_of(&address)))
}

/// Waits until the server that was started last is ready, and tells what it does meanwhile.
fn wait(control: &Control, servers: &mut [Server], interrupt: &Interrupt) -> Result<()> {
    let Some(server) = servers.last_mut() else { return Ok(()) };
    let mut line = Line { name: server.name, ..Line::default() };
    let ready = control.ready(server, interrupt, |doing| line.show(doing));
    line.end();
    ready
}

/// How this machine reaches an address that a server listens on.
fn url_of(address: &str) -> String {
    match address.rsplit_once(':') {
        Some(("" | "0.0.0.0" | "[::]", port)) => format!("http://127.0.0.1:{port}"),
        _ => format!("http://{address}"),
    }
}

/// The options of coderd that the environment sets. Values are not shown: some are secrets.
fn coder_options() -> Vec<(OsString, OsString)> {
    let mut found: Vec<_> =
        env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CODER_")).collect();
    found.sort();
    found
}

/// Creates the first administrator on the first run; returns a token that works.
fn sign_in(state: &State, control: &Control, admin: &state::Admin) -> Result<String> {
    let who = Admin { email: &admin.email, username: &admin.username, password: &admin.password };
    if !control.has_first_user()? {
        control.create_first_user(&who)?;
    }
    if let Some(token) = &admin.token
        && control.with_token(token).signed_in()?
    {
        return Ok(token.clone());
    }
    // A name of its own: the last token's name stays taken as long as its row.
    let name = format!("up-{}", state::random_word(6)?);
    let token = control.make_token(&who, &name).with_context(|| {
        format!(
            "the administrator in {} cannot sign in; if the password was changed, write the new one there",
            state.admin_file().display()
        )
    })?;
    state.keep(&state::Admin { token: Some(token.clone()), ..admin.clone() })?;
    Ok(token)
}

/// One line that tells what is going on: redrawn on a terminal, printed once per change elsewhere.
#[derive(Default)]
struct Line {
    name: &'static str,
    since: Option<Instant>,
    last: String,
    turns: usize,
}

impl Line {
    fn show(&mut self, doing: &str) {
        let since = *self.since.get_or_insert_with(Instant::now);
        if std::io::stdout().is_terminal() {
            let spinner = ["|", "/", "-", "\\"];
            let sign = spinner.get(self.turns / 2 % spinner.len()).unwrap_or(&"|");
            self.turns += 1;
            print!("\r{sign} {} is {doing} ({} s)  ", self.name, since.elapsed().as_secs());
            // A progress line that cannot be drawn is no reason to stop.
            let _ = std::io::stdout().flush();
        } else if self.last != doing {
            println!("{} is {doing}", self.name);
        }
        doing.clone_into(&mut self.last);
    }

    fn end(&mut self) {
        if self.since.is_some() && std::io::stdout().is_terminal() {
            print!("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_means_everywhere_is_reached_on_loopback() {
        for (address, url) in [
            ("127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            (":80", "http://127.0.0.1:80"),
            ("[::]:80", "http://127.0.0.1:80"),
            ("[::1]:80", "http://[::1]:80"),
        ] {
            assert_eq!(url_of(address), url);
        }
    }
}
