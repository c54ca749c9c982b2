//! `coderd server dbcrypt …`: encryption keys come, rotate and go, while servers run.

#![expect(clippy::doc_markdown, reason = "clap shows the comments of options as they are")]

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use config::{Environment, Options};
use crypt::Keyring;
use indicatif::{ProgressBar, ProgressStyle};
use rbac::system;
use stdx::ids::{OrganizationId, RequestId, UserId};
use stdx::{Clock as _, Secret, SystemClock, SystemRng};
use store::dbcrypt::{Count, Maintenance, Step};
use store::{Call, ConnectOptions, Full, Tx, TxOptions};
use telemetry::Registry;
use uuid::Uuid;

use crate::database;

/// How often a line tells of progress where there is no terminal.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Maintains the encryption of the database. Servers may go on running; they need both keys, the new one first.
#[derive(Debug, Parser)]
#[command(name = "coderd server dbcrypt")]
struct Dbcrypt {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Seals everything by a new key, also what is not encrypted yet, and retires the old keys.
    Rotate {
        #[command(flatten)]
        common: Common,
        /// The new key: base64 of 32 bytes [env: CODER_EXTERNAL_TOKEN_ENCRYPTION_ENCRYPT_NEW_KEY]
        #[arg(long, value_name = "KEY")]
        new_key: Option<String>,
        /// The old keys, separated by commas [env: CODER_EXTERNAL_TOKEN_ENCRYPTION_ENCRYPT_OLD_KEYS]
        #[arg(long, value_name = "KEYS")]
        old_keys: Option<String>,
    },
    /// Opens everything, and retires all keys: afterwards nothing is encrypted.
    Decrypt {
        #[command(flatten)]
        common: Common,
        /// All keys in use, separated by commas [env: CODER_EXTERNAL_TOKEN_ENCRYPTION_DECRYPT_KEYS]
        #[arg(long, value_name = "KEYS")]
        keys: Option<String>,
    },
    /// Deletes everything that is encrypted, and retires all keys. For keys that are lost.
    Delete {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
struct Common {
    /// The database; the built-in one if there is none [env: CODER_PG_CONNECTION_URL]
    #[arg(long, value_name = "URL")]
    postgres_url: Option<String>,
    /// How to log in: `password` [env: CODER_PG_CONNECTION_AUTH]
    #[arg(long, value_name = "KIND")]
    postgres_connection_auth: Option<String>,
    /// Changes nothing: tells what is sealed by which key
    #[arg(long)]
    dry_run: bool,
    /// Does not ask
    #[arg(short, long)]
    yes: bool,
}

/// Runs one of the commands. `args` follow `coderd server dbcrypt`.
pub(crate) async fn run(
    args: &[std::ffi::OsString],
    options: impl AsyncFnOnce() -> Result<Options>,
    environment: &Environment,
) -> Result<()> {
    let words = std::iter::once("coderd server dbcrypt".into()).chain(args.iter().cloned());
    let command = match Dbcrypt::try_parse_from(words) {
        Ok(parsed) => parsed.command,
        Err(error) if error.use_stderr() => bail!("{}", error.render()),
        Err(help) => {
            print!("{}", help.render());
            return Ok(());
        }
    };
    // Keys first: what is wrong with them is told before a database is looked for.
    let task = Task::of(&command, environment)?;
    let (Command::Rotate { common, .. }
    | Command::Decrypt { common, .. }
    | Command::Delete { common }) = &command;
    let auth = common
        .postgres_connection_auth
        .clone()
        .or_else(|| get(environment, "CODER_PG_CONNECTION_AUTH"));
    if let Some(auth) = auth.filter(|auth| auth != "password") {
        bail!("--postgres-connection-auth {auth:?} is not supported: use \"password\"");
    }
    let url = common
        .postgres_url
        .clone()
        .or_else(|| match command {
            Command::Delete { .. } => {
                get(environment, "CODER_EXTERNAL_TOKEN_ENCRYPTION_POSTGRES_URL")
            }
            Command::Rotate { .. } | Command::Decrypt { .. } => None,
        })
        .or_else(|| get(environment, "CODER_PG_CONNECTION_URL"));
    let (url, started) = match url {
        Some(url) => (Secret::new(url), None),
        None => database::of_its_own(&options().await?, environment).await?,
    };
    let outcome = task.perform(&url, common).await;
    if let Some(cluster) = started {
        cluster.stop().await;
    }
    outcome
}

/// What is to be done, with the keys for it.
enum Task {
    Rotate(Keyring),
    Decrypt(Keyring),
    Delete,
}

impl Task {
    fn of(command: &Command, environment: &Environment) -> Result<Self> {
        let given = |flag: &Option<String>, variable| {
            flag.clone().or_else(|| get(environment, variable)).unwrap_or_default()
        };
        match command {
            Command::Rotate { new_key, old_keys, .. } => {
                let new = given(new_key, "CODER_EXTERNAL_TOKEN_ENCRYPTION_ENCRYPT_NEW_KEY");
                let old = given(old_keys, "CODER_EXTERNAL_TOKEN_ENCRYPTION_ENCRYPT_OLD_KEYS");
                rotation(&new, &list(&old)).map(Self::Rotate)
            }
            Command::Decrypt { keys, .. } => {
                let keys = given(keys, "CODER_EXTERNAL_TOKEN_ENCRYPTION_DECRYPT_KEYS");
                decryption(&list(&keys)).map(|ring| Self::Decrypt(ring.without_primary()))
            }
            Command::Delete { .. } => Ok(Self::Delete),
        }
    }

    async fn perform(self, url: &Secret<String>, common: &Common) -> Result<()> {
        let said = |error| anyhow!("{}", stdx::chain(&error));
        let mut maintenance = Maintenance::open(url, SystemRng::shared(), SystemClock::shared())
            .await
            .map_err(said)?;
        let counts = maintenance.counts().await.map_err(said)?;
        self.announce(&counts);
        if common.dry_run {
            return Ok(());
        }
        if !common.yes && !confirmed()? {
            bail!("nothing was changed");
        }
        let what = match &self {
            Self::Delete => {
                for (column, values) in maintenance.give_up().await.map_err(said)? {
                    if values > 0 {
                        println!("{}.{}: {values} deleted", column.table, column.column);
                    }
                }
                println!(
                    "All keys are retired. Remove them from CODER_EXTERNAL_TOKEN_ENCRYPTION_KEYS."
                );
                "everything encrypted was deleted".to_owned()
            }
            Self::Rotate(ring) | Self::Decrypt(ring) => {
                // A new key is noted: from here on servers that do not have it refuse to start.
                maintenance.check(ring).await.map_err(said)?;
                let mut told = Told::new(to_do(&counts, ring.primary_digest()));
                let done = maintenance.reseal(ring, &mut |step| told.step(step)).await;
                told.finish();
                let done = done.map_err(said)?;
                println!("{done} values {}", self.done());
                for digest in maintenance.retire(ring).await.map_err(said)? {
                    println!("key {digest} is retired");
                }
                format!("{done} values {}", self.done())
            }
        };
        drop(maintenance);
        record(url, self.into_ring(), what).await
    }

    fn into_ring(self) -> Keyring {
        match self {
            Self::Rotate(ring) => ring,
            Self::Decrypt(_) | Self::Delete => Keyring::empty(),
        }
    }

    const fn done(&self) -> &'static str {
        match self {
            Self::Rotate(_) => "are sealed by the new key",
            Self::Decrypt(_) | Self::Delete => "are in the clear",
        }
    }

    fn announce(&self, counts: &[Count]) {
        for Count { column, key, values } in counts {
            let key = key
                .as_deref()
                .map_or_else(|| "not encrypted".to_owned(), |key| format!("key {key}"));
            println!("{}.{}: {values} values, {key}", column.table, column.column);
        }
        match self {
            Self::Rotate(ring) => {
                let mut digests = ring.digests();
                println!(
                    "All of them will be sealed by key {}.",
                    digests.next().unwrap_or_default()
                );
                for digest in digests {
                    println!("Key {digest} will be retired.");
                }
            }
            Self::Decrypt(_) => {
                println!("All of them will be stored in the clear, and all keys will be retired.");
            }
            Self::Delete => {
                println!(
                    "What is encrypted will be DELETED and cannot be brought back; all keys will be retired."
                );
            }
        }
    }
}

/// The entry in the audit log.
async fn record(url: &Secret<String>, keyring: Keyring, what: String) -> Result<()> {
    let name = keyring.primary_digest().unwrap_or("none").to_owned();
    let options = ConnectOptions {
        url: url.clone(),
        connections_max: 2,
        keyring,
        rng: SystemRng::shared(),
        clock: SystemClock::shared(),
    };
    let store = Full::connect(options, &mut Registry::default())
        .await
        .context("the keys are changed, but this could not be recorded in the audit log")?;
    let context = audit::Context {
        user_id: UserId::nil(),
        request_id: RequestId::nil(),
        ip: None,
        user_agent: None,
        status_code: 200,
        time: SystemClock.now(),
        rng: &SystemRng,
    };
    let target = audit::Target {
        resource_type: "encryption_key",
        resource_id: Uuid::nil(),
        name: format!("{name}: {what}"),
        organization_id: OrganizationId::nil(),
    };
    store
        .tx(Call::by(system::auditor()), TxOptions::write("dbcrypt"), async |tx: &mut Tx| {
            audit::note(tx, &context, target.clone(), audit::Action::Write).await
        })
        .await
        .context("the keys are changed, but this could not be recorded in the audit log")
}

/// An empty variable is none.
fn get(environment: &Environment, name: &str) -> Option<String> {
    environment.get(name).map(ToString::to_string).filter(|value| !value.is_empty())
}

fn list(keys: &str) -> Vec<String> {
    keys.split(',').map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

fn rotation(new: &str, old: &[String]) -> Result<Keyring> {
    let new = new.trim();
    if new.is_empty() {
        bail!("no new key provided");
    }
    let ring = key(new, "new key")?;
    for (index, text) in old.iter().enumerate() {
        let one = key(text, &format!("old key at index {index}"))?;
        if one.primary_digest() == ring.primary_digest() {
            bail!("old key at index {index} is the same as the new key");
        }
    }
    all(std::iter::once(new).chain(old.iter().map(String::as_str)))
}

fn decryption(keys: &[String]) -> Result<Keyring> {
    if keys.is_empty() {
        bail!("no keys provided");
    }
    for (index, text) in keys.iter().enumerate() {
        key(text, &format!("key at index {index}"))?;
    }
    all(keys.iter().map(String::as_str))
}

/// One key, or what is wrong with it. Never shows it.
fn key(text: &str, name: &str) -> Result<Keyring> {
    Keyring::from_base64(&[Secret::from(text)]).map_err(|error| match error {
        crypt::KeyringError::NotBase64 { .. } => anyhow!("{name} must be base64-encoded"),
        crypt::KeyringError::Length { .. } => anyhow!("{name} must be exactly 32 bytes in length"),
        other => anyhow!("{name}: {other}"),
    })
}

fn all<'a>(keys: impl Iterator<Item = &'a str>) -> Result<Keyring> {
    let keys: Vec<Secret<String>> = keys.map(Secret::from).collect();
    Keyring::from_base64(&keys).context("the keys do not go together")
}

fn to_do(counts: &[Count], target: Option<&str>) -> u64 {
    counts.iter().filter(|count| count.key.as_deref() != target).map(|count| count.values).sum()
}

fn confirmed() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("this changes the database: say --yes where nobody can be asked");
    }
    print!("Go on? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A bar on a terminal, a line every few seconds elsewhere.
enum Told {
    Bar(ProgressBar),
    Lines { total: u64, last: Instant },
}

impl Told {
    fn new(total: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines { total, last: Instant::now() };
        }
        let bar = ProgressBar::new(total);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {msg}, {eta} left")
        {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    fn step(&mut self, step: Step) {
        let Step { column, done } = step;
        match self {
            Self::Bar(bar) => {
                bar.set_message(format!("{}.{}", column.table, column.column));
                bar.set_position(done);
            }
            Self::Lines { total, last } if last.elapsed() >= TELL_EVERY => {
                eprintln!("{done} of {total} values, at {}.{}", column.table, column.column);
                *last = Instant::now();
            }
            Self::Lines { .. } => {}
        }
    }

    fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<T>(result: Result<T>) -> String {
        result.err().unwrap().to_string()
    }

    #[test]
    fn keys_that_will_not_do_are_told_apart_and_never_shown() {
        let good = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let other = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        let old = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        for (new, keys, wanted) in [
            ("", old(&[]), "no new key provided"),
            (" ", old(&[good]), "no new key provided"),
            ("%%", old(&[]), "new key must be base64-encoded"),
            ("c2hvcnQ=", old(&[]), "new key must be exactly 32 bytes in length"),
            (good, old(&[other, "%%"]), "old key at index 1 must be base64-encoded"),
            (good, old(&["c2hvcnQ="]), "old key at index 0 must be exactly 32 bytes in length"),
            (good, old(&[other, good]), "old key at index 1 is the same as the new key"),
        ] {
            assert_eq!(said(rotation(new, &keys)), wanted);
        }
        let ring = rotation(good, &old(&[other])).unwrap();
        assert_eq!(ring.digests().count(), 2);
        assert_eq!(said(decryption(&[])), "no keys provided");
        assert_eq!(said(decryption(&old(&[good, "%%"]))), "key at index 1 must be base64-encoded");
        assert_eq!(decryption(&old(&[good])).unwrap().digests().count(), 1);
    }

    #[test]
    fn keys_are_listed_by_commas() {
        assert_eq!(list(" a, ,b,"), ["a", "b"]);
        assert!(list("").is_empty());
    }
}
