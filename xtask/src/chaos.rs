//! `cargo xtask chaos ledger`: the whole product under load while its parts are killed, and the proof that
//! no answer is without its record.
//!
//! [`schedule`] says what goes wrong when, [`plant`] does it, [`load`] asks and notes what it was told,
//! [`proof`] compares that with what the provider served and with the rows in the database.

mod ask;
mod dice;
mod http;
mod load;
mod plant;
mod proof;
mod relay;
mod report;
mod rows;
mod schedule;

use std::env;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use serde_json::Value;

use crate::child::Interrupt;
use crate::control::{Admin, Control, DEMO_KEY};
use crate::preflight;
use crate::psql::Psql;
use crate::tree::Tree;
use crate::up::random_word;
use load::{Aim, Exchange};
use plant::{Plant, Programs};
use proof::Proof;
use schedule::{Fault, Target};

/// People who ask, each with [`TOKENS_EACH`] tokens.
const USERS: usize = 4;
const TOKENS_EACH: usize = 2;
/// Below which a gateway serves.
const PREFIX: &str = "/api/v2/aibridge";
/// How long a new provider may take to be known to the gateway.
const SERVE_LIMIT: Duration = Duration::from_secs(10);
/// How long everything may take to be recorded once all parts are back.
const SETTLE_LIMIT: Duration = Duration::from_mins(2);
const SETTLE_STEP: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Kill, cut and restart under load, then prove that answered means recorded, once.
    Ledger(Ledger),
}

#[derive(Debug, clap::Args)]
struct Ledger {
    /// How long the load runs.
    #[arg(long, default_value_t = 120, value_name = "N", value_parser = clap::value_parser!(u64).range(5..=3_600))]
    seconds: u64,
    /// Requests a second.
    #[arg(long, default_value_t = 100, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=2_000))]
    rate: u32,
    /// Repeat the faults and requests of an earlier run.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Twenty seconds, for CI.
    #[arg(long, conflicts_with = "seconds")]
    short: bool,
    /// Whose gateway the clients talk to.
    #[arg(long, value_enum, default_value_t = Through::Aibridged)]
    through: Through,
    /// Build with optimisations.
    #[arg(long)]
    release: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Through {
    /// The daemon's.
    Aibridged,
    /// The one in coderd itself.
    Coderd,
}

impl Through {
    const fn targets(self) -> &'static [Target] {
        match self {
            Self::Coderd => &[Target::Coderd, Target::Postgres],
            Self::Aibridged => &[
                Target::Daemon,
                Target::Coderd,
                Target::Postgres,
                Target::LinkCut,
                Target::LinkSilent,
            ],
        }
    }
}

pub(crate) fn run(tree: &Tree, args: &Args) -> Result<()> {
    let What::Ledger(args) = &args.what;
    let bin = preflight::postgres()?;
    let mut bins = vec![("testkit", "fake-provider"), ("coderd", "coderd")];
    if args.through == Through::Aibridged {
        bins.push(("aibridged", "aibridged"));
    }
    let built = tree.build(&bins, args.release)?;
    let interrupt = Interrupt::install()?;
    // PostgreSQL's account must be able to pass through it.
    let dir = env::temp_dir().join(format!("coder-chaos-{}", random_word(8)?));
    fs::DirBuilder::new()
        .mode(0o711)
        .create(&dir)
        .with_context(|| format!("cannot make {}", dir.display()))?;
    let outcome = ledger(args, &dir, &bin, &built, &interrupt);
    match outcome {
        Ok(()) => {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))
        }
        Err(error) => {
            eprintln!("logs and database are kept in {}", dir.display());
            Err(error)
        }
    }
}

fn ledger(
    args: &Ledger,
    dir: &Path,
    bin: &Path,
    built: &[PathBuf],
    interrupt: &Interrupt,
) -> Result<()> {
    let seed = match args.seed {
        Some(seed) => seed,
        None => random_seed()?,
    };
    let length = Duration::from_secs(if args.short { 20 } else { args.seconds });
    let faults = schedule::make(seed, length, args.through.targets());
    println!(
        "{} requests a second for {} s, {} faults, seed {seed}",
        args.rate,
        length.as_secs(),
        faults.len()
    );
    let mut plant = Plant::start(dir, programs(dir, built)?, interrupt)?;
    let worked = work(args, seed, length, &faults, bin, &mut plant, interrupt);
    let stopped = plant.stop(|| interrupt.came());
    if worked.is_err() {
        for tail in plant.tails() {
            eprintln!("{tail}");
        }
        eprintln!("to repeat: {}", repeat(args, seed));
    }
    worked.and(stopped)
}

fn repeat(args: &Ledger, seed: u64) -> String {
    let length =
        if args.short { "--short".to_owned() } else { format!("--seconds {}", args.seconds) };
    let through = match args.through {
        Through::Aibridged => "aibridged",
        Through::Coderd => "coderd",
    };
    format!(
        "cargo xtask chaos ledger {length} --rate {} --through {through} --seed {seed}",
        args.rate
    )
}

fn work(
    args: &Ledger,
    seed: u64,
    length: Duration,
    faults: &[Fault],
    bin: &Path,
    plant: &mut Plant,
    interrupt: &Interrupt,
) -> Result<()> {
    let psql = Psql::new(bin, &plant.database_url)?;
    let people = People::make(&plant.control(), &psql, &plant.provider_url)?;
    if args.through == Through::Aibridged {
        plant.start_daemon(people.tokens.first().context("no token")?, interrupt)?;
    }
    let marker = random_word(16)?;
    let aim = Aim {
        seed,
        rate: args.rate,
        length,
        to: plant.gateway(),
        prefix: PREFIX,
        tokens: people.tokens.clone(),
        marker: marker.clone(),
    };
    serves(plant, &aim, interrupt)?;
    let load = load::start(aim, interrupt.clone())?;
    conduct(plant, faults, interrupt, || !load.is_finished())?;
    let exchanges = load.join().map_err(|_| anyhow::anyhow!("the load broke off"))??;
    interrupt.check()?;
    plant.ready(interrupt)?;
    let back = Instant::now();
    let proof = settled(plant, &psql, &exchanges, &people.owners, interrupt)?;
    report::show(&exchanges, &proof, back.elapsed());
    let mut wrong = proof.faults;
    wrong.extend(
        Some(plant.lost()?)
            .filter(|lost| *lost > 0)
            .map(|lost| format!("{lost} facts are counted as lost")),
    );
    let aside = plant.put_aside()?;
    wrong.extend((aside > 0).then(|| format!("{aside} facts were put aside as not storable")));
    if let Some((content, said)) = plant.verify()? {
        println!("aibridged ledger verify");
        said.lines().for_each(|line| println!("  {line}"));
        wrong.extend((!content).then(|| "aibridged ledger verify is not content".to_owned()));
    }
    wrong.extend(report::too_few(&exchanges, faults));
    let mut secrets = plant.secrets()?;
    secrets
        .extend(people.tokens.iter().filter_map(|token| Some(token.split_once('-')?.1.to_owned())));
    wrong.extend(report::leaks(plant.dir(), &secrets, &marker)?);
    report::verdict(plant.dir(), &wrong)
}

/// Waits until the gateway knows the providers.
fn serves(plant: &mut Plant, aim: &Aim, interrupt: &Interrupt) -> Result<()> {
    let deadline = Instant::now() + SERVE_LIMIT;
    for provider in ["anthropic", "openai"] {
        while let Err(said) = aim.lists_models(provider) {
            interrupt.check()?;
            plant.look()?;
            if Instant::now() > deadline {
                bail!("the gateway does not list the models of {provider}: {said}");
            }
            sleep(SETTLE_STEP);
        }
    }
    Ok(())
}

/// Lets everything go wrong in its time, and back again, until the load is over and all is repaired.
fn conduct(
    plant: &mut Plant,
    faults: &[Fault],
    interrupt: &Interrupt,
    busy: impl Fn() -> bool,
) -> Result<()> {
    let began = Instant::now();
    let mut due: Vec<(Duration, bool, Fault)> = faults
        .iter()
        .flat_map(|fault| [(fault.at, true, *fault), (fault.at + fault.lasts, false, *fault)])
        .collect();
    due.sort_by_key(|(at, begins, _)| (*at, *begins));
    let mut due = due.into_iter().peekable();
    while due.peek().is_some() || busy() {
        interrupt.check()?;
        while let Some((at, begins, fault)) = due.next_if(|(at, ..)| *at <= began.elapsed()) {
            if begins {
                println!(
                    "{:>7.1} s  {}, for {:.1} s",
                    at.as_secs_f32(),
                    fault.target,
                    fault.lasts.as_secs_f32()
                );
                plant.begin(fault.target)?;
            } else {
                plant.end(fault.target)?;
            }
        }
        plant.look()?;
        let next = due.peek().map(|(at, ..)| began + *at);
        plant::pause(next.unwrap_or_else(|| Instant::now() + Duration::from_secs(1)));
    }
    Ok(())
}

/// Waits until everything is recorded as it must be, or gives the verdict at the limit.
fn settled(
    plant: &mut Plant,
    psql: &Psql,
    exchanges: &[Exchange],
    owners: &[String],
    interrupt: &Interrupt,
) -> Result<Proof> {
    let deadline = Instant::now() + SETTLE_LIMIT;
    let mut before = None;
    loop {
        interrupt.check()?;
        plant.look()?;
        let counts = psql.counts()?;
        let late = Instant::now() > deadline;
        // A full comparison is only worth it when nothing moves any more.
        let drained = plant.waiting()? == Some(0) && counts.1 == 0 && before == Some(counts);
        if late || drained {
            let mut proof = proof::prove(exchanges, &plant.served()?, &psql.rows()?, owners);
            if late {
                proof
                    .faults
                    .extend((!drained).then(|| format!("not drained after {SETTLE_LIMIT:?}")));
            }
            if late || proof.faults.is_empty() {
                return Ok(proof);
            }
        }
        before = Some(counts);
        sleep(SETTLE_STEP);
    }
}

/// Copies of the programs: a build that goes on meanwhile must not change what is tested.
fn programs(dir: &Path, built: &[PathBuf]) -> Result<Programs> {
    let own = |from: &PathBuf| -> Result<PathBuf> {
        let to = dir.join(from.file_name().context("a program without a name")?);
        if fs::hard_link(from, &to).is_err() {
            fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        Ok(to)
    };
    match built {
        [provider, coderd, daemon @ ..] => Ok(Programs {
            provider: own(provider)?,
            coderd: own(coderd)?,
            daemon: daemon.first().map(own).transpose()?,
        }),
        _ => bail!("nothing was built"),
    }
}

fn random_seed() -> Result<u64> {
    // Short enough to be typed.
    Ok(random_word(6)?.bytes().fold(0, |seed, byte| seed * 100 + u64::from(byte % 100)))
}

/// Who asks.
struct People {
    tokens: Vec<String>,
    /// The ids of the users, one for each token.
    owners: Vec<String>,
}

impl People {
    /// Makes the first user, more like it, their tokens, and the providers.
    fn make(control: &Control, psql: &Psql, provider: &str) -> Result<Self> {
        let password = random_word(24)?;
        let names: Vec<String> = (1..=USERS).map(|n| format!("chaos-{n}")).collect();
        let mut people = Self { tokens: Vec::new(), owners: Vec::new() };
        for (at, name) in names.iter().enumerate() {
            let email = format!("{name}@localhost.localdomain");
            let admin = Admin { email: &email, username: name, password: &password };
            if at == 0 {
                control.create_first_user(&admin)?;
            } else {
                psql.run(&format!(
                    "INSERT INTO users SELECT (jsonb_populate_record(u, jsonb_build_object('id', \
                     gen_random_uuid(), 'username', '{name}', 'email', '{email}'))).* FROM users u \
                     WHERE username = 'chaos-1'"
                ))?;
            }
            for turn in 1..=TOKENS_EACH {
                let token = control.make_token(&admin, &format!("chaos-{turn}"))?;
                let me = control.with_token(&token).get("/api/v2/users/me")?;
                let me = me.expect("asking who we are", &[200])?;
                let id = me.get("id").and_then(Value::as_str).context("a user without an id")?;
                people.owners.push(id.to_owned());
                people.tokens.push(token);
            }
        }
        let first = people.tokens.first().context("no token")?;
        let signed = control.with_token(first);
        signed.put_provider("anthropic", provider, DEMO_KEY)?;
        signed.put_provider("openai", &format!("{provider}/v1"), DEMO_KEY)?;
        Ok(people)
    }
}
