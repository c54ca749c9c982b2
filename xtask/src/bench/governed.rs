//! Gateways with everything on: identity, limits, full records.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::Args;
use super::parts::{Api, Bench, Kind, Upstream, Variant};
use crate::child::{Server, clean};
use crate::control::{Admin, Control, DEMO_KEY, any_port};
use crate::preflight;
use crate::psql::Psql;
use crate::tree::{output, write};
use crate::up::random_word;

/// Variants that hold a durable record of every request, by the name and the policy of their spool.
pub(crate) const SPOOL: [(&str, &str); 2] = [("spool os", "os"), ("spool strict", "strict")];
pub(crate) const DAEMON: [(&str, &str); 2] =
    [("aibridged os", "os"), ("aibridged strict", "strict")];
/// The gateway that coderd serves itself.
pub(crate) const IN_PROCESS: &str = "coderd";

/// Servers end open streams and their database within this time.
const GRACE: Duration = Duration::from_secs(45);

/// Limits that are on and never reached.
const LIMITS: [(&str, &str); 2] =
    [("CODER_AI_GATEWAY_MAX_CONCURRENCY", "100000"), ("CODER_AI_GATEWAY_RATE_LIMIT", "10000000")];

/// coderd with a database of its own, a user and a provider.
#[derive(Clone)]
pub(crate) struct Coderd {
    pub(crate) control: Control,
    psql: Psql,
    pub(crate) pid: u32,
    address: String,
    token: String,
}

/// How many rows there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) interceptions: u64,
    /// Of them, those with an end.
    pub(crate) ended: u64,
    pub(crate) prompts: u64,
    pub(crate) usages: u64,
    pub(crate) output_tokens: u64,
    pub(crate) tools: u64,
    /// Interceptions that follow another one.
    pub(crate) linked: u64,
}

impl Stored {
    /// What came since.
    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            interceptions: self.interceptions - before.interceptions,
            ended: self.ended - before.ended,
            prompts: self.prompts - before.prompts,
            usages: self.usages - before.usages,
            output_tokens: self.output_tokens - before.output_tokens,
            tools: self.tools - before.tools,
            linked: self.linked - before.linked,
        }
    }

    /// What requests leave that are recorded whole, each with a prompt and an answer of so many tokens.
    pub(crate) const fn of(requests: u64, tokens_each: u64) -> Self {
        Self {
            interceptions: requests,
            ended: requests,
            prompts: requests,
            usages: requests,
            output_tokens: requests * tokens_each,
            tools: 0,
            linked: 0,
        }
    }

    /// Rows of all tables.
    pub(crate) const fn rows(self) -> u64 {
        self.interceptions + self.prompts + self.usages + self.tools
    }
}

/// Whether anything that needs coderd takes part.
pub(crate) fn is_wanted(args: &Args) -> bool {
    let pairs = SPOOL.iter().chain(&DAEMON).map(|(name, _)| *name);
    pairs.chain([IN_PROCESS]).any(|name| args.includes(name))
}

impl Coderd {
    pub(crate) fn start(bench: &mut Bench, upstream: &Upstream) -> Result<Self> {
        let address = format!("127.0.0.1:{}", any_port()?);
        let url = format!("http://{address}");
        let program = bench.programs.coderd.as_ref().context("coderd was not built")?;
        let mut command = clean(program);
        command
            .arg("server")
            .envs(LIMITS)
            .env("CODER_HTTP_ADDRESS", &address)
            .env("CODER_ACCESS_URL", &url)
            .env("CODER_AI_GATEWAY_SPOOL_DIR", bench.dir.join("coderd-spool"))
            .env("CODER_PG_DATA_DIR", bench.dir.join("postgres"));
        let log = bench.dir.join("coderd.log");
        let mut server = Server::start("coderd", &mut command, &log, GRACE)?;
        let pid = server.id();
        let control = Control::new(url);
        let ready = control.ready(&mut server, &bench.interrupt, |_| {});
        bench.servers.push(server);
        ready?;
        let password = random_word(24)?;
        let admin =
            Admin { email: "bench@localhost.localdomain", username: "bench", password: &password };
        control.create_first_user(&admin)?;
        let token = control.make_token(&admin, "bench")?;
        let control = control.with_token(&token);
        control.put_provider("anthropic", &upstream.url, DEMO_KEY)?;
        let mut ask = clean(program);
        ask.args(["server", "postgres-builtin-url", "--raw-url"]);
        let url = output(ask.env("CODER_PG_DATA_DIR", bench.dir.join("postgres")))?;
        let psql = Psql::new(&preflight::postgres()?, url.trim())?;
        Ok(Self { control, psql, pid, address, token })
    }

    /// What is in the database.
    pub(crate) fn stored(&self) -> Result<Stored> {
        let line = self.psql.run(
            "SELECT (SELECT count(*) FROM aibridge_interceptions), \
             (SELECT count(*) FROM aibridge_interceptions WHERE ended_at IS NOT NULL), \
             (SELECT count(*) FROM aibridge_user_prompts), \
             (SELECT count(*) FROM aibridge_token_usages), \
             (SELECT coalesce(sum(output_tokens), 0) FROM aibridge_token_usages), \
             (SELECT count(*) FROM aibridge_tool_usages), \
             (SELECT count(*) FROM aibridge_interceptions WHERE thread_parent_id IS NOT NULL)",
        )?;
        let numbers: Result<Vec<u64>, _> = line.trim().split('|').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[interceptions, ended, prompts, usages, output_tokens, tools, linked]) => {
                Ok(Stored { interceptions, ended, prompts, usages, output_tokens, tools, linked })
            }
            _ => bail!("the database counts `{}`", line.trim()),
        }
    }

    /// A file with a new gateway key.
    pub(crate) fn key_file(&self, bench: &Bench, name: &str) -> Result<PathBuf> {
        let file = bench.dir.join(format!("{name}.key"));
        write(&file, &self.control.make_gateway_key(name)?, 0o600)?;
        Ok(file)
    }

    /// The way through the gateway that coderd serves itself.
    pub(crate) fn variant(&self) -> Variant {
        self.through((Kind::InProcess, IN_PROCESS), self.address.clone(), self.pid)
    }

    fn through(&self, (kind, name): (Kind, &'static str), target: String, pid: u32) -> Variant {
        Variant {
            name,
            target,
            path: "/api/v2/aibridge/anthropic/v1/messages".to_owned(),
            headers: vec![self.header()],
            pid: Some(pid),
            api: Api::Messages,
            kind,
        }
    }

    /// Starts the gateway of the bench that is governed, with a spool of that policy.
    pub(crate) fn spool(
        &self,
        bench: &mut Bench,
        (name, sync): (&'static str, &'static str),
        flags: &[&str],
    ) -> Result<Variant> {
        let called = bench.file_name(name);
        let dir = bench.dir.join(format!("{called}-spool"));
        let key = self.key_file(bench, &called)?;
        let (dir, key) = (dir.to_string_lossy(), key.to_string_lossy());
        let more = ["--sync", sync, "--spool-dir", &dir, "--coderd", &self.control.url];
        let more = [flags, &more[..], &["--key-file", &key]].concat();
        let program = bench.programs.governed.clone();
        let path = "/anthropic/v1/messages";
        let variant = bench.variant((Kind::Spool, name), &program, &more, path)?;
        Ok(Variant { headers: vec![self.header()], ..variant })
    }

    /// The caller's credential.
    fn header(&self) -> String {
        format!("x-api-key: {}", self.token)
    }

    /// Starts a daemon with a spool of that policy.
    pub(crate) fn daemon(
        &self,
        bench: &mut Bench,
        (name, sync): (&'static str, &'static str),
        threads: usize,
    ) -> Result<Variant> {
        let program = bench.programs.daemon.clone().context("aibridged was not built")?;
        let called = bench.file_name(name);
        let address = format!("127.0.0.1:{}", any_port()?);
        let mut command = clean(&program);
        command
            .envs(LIMITS)
            .env("CODER_URL", &self.control.url)
            .env("CODER_AI_GATEWAY_KEY_FILE", self.key_file(bench, &called)?)
            .env("CODER_AI_GATEWAY_LISTEN_ADDR", &address)
            .env("CODER_AI_GATEWAY_THREADS", threads.to_string())
            .env("CODER_AI_GATEWAY_SPOOL_SYNC", sync)
            .env("CODER_AI_GATEWAY_SPOOL_DIR", bench.dir.join(format!("{called}-spool")));
        let log = bench.dir.join(format!("{called}.log"));
        let mut server = Server::start(name, &mut command, &log, GRACE)?;
        let pid = server.id();
        let control = Control::new(format!("http://{address}"));
        let ready = control.ready(&mut server, &bench.interrupt, |_| {});
        bench.servers.push(server);
        ready?;
        Ok(self.through((Kind::Daemon, name), address, pid))
    }
}
