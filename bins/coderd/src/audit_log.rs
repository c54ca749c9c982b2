//! `coderd audit …`: whether the audit log is whole, and a copy of it.

#![expect(clippy::doc_markdown, reason = "clap shows the comments of options as they are")]

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, IsTerminal as _, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use audit::chain::{Line, Report, Verifier};
use clap::{Args, Subcommand};
use config::{Environment, Options};
use indicatif::{ProgressBar, ProgressStyle};
use pgcluster::Cluster;
use stdx::Secret;
use store::audit_chain::{Checkpoint, Reader};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::database;

/// Exit code: something is wrong with the log.
const BROKEN: u8 = 1;
/// Exit code: it could not be found out.
pub(crate) const UNDECIDED: u8 = 2;

/// Rows that are read at once.
const PAGE: i64 = 500;
/// Longest line of a file, in bytes.
const LINE_MAX: u64 = 64 << 20;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Checks that no row was changed, removed, inserted or moved. Ends with 0 if the log is whole, with 1 if not, and
    /// with 2 if that could not be found out.
    Verify {
        #[command(flatten)]
        database: Database,
        /// Checks an exported log instead of a database
        #[arg(long, value_name = "PATH", conflicts_with = "postgres_url")]
        file: Option<PathBuf>,
        /// Trusts checkpoints of this key only: 64 hexadecimal digits, as the server logged it. May be repeated
        #[arg(long, value_name = "KEY", value_parser = public_key)]
        public_key: Vec<Vec<u8>>,
        /// Also checks a hash that was noted elsewhere, such as that of a checkpoint in the server's log. May be
        /// repeated
        #[arg(long, value_name = "SEQUENCE:HASH", value_parser = noted)]
        expect: Vec<(i64, Vec<u8>)>,
    },
    /// Writes the log as lines of JSON, with what is needed to check them.
    Export {
        #[command(flatten)]
        database: Database,
        /// Writes to a file, which must not exist, unless the export is resumed with --after
        #[arg(long, value_name = "PATH")]
        output: Option<PathBuf>,
        /// Goes on behind this row
        #[arg(long, value_name = "SEQUENCE", conflicts_with = "from", value_parser = clap::value_parser!(i64).range(0..))]
        after: Option<i64>,
        /// Begins with the first row of this time or later (RFC 3339)
        #[arg(long, value_name = "TIME", value_parser = instant)]
        from: Option<OffsetDateTime>,
        /// Ends with the last row before this time (RFC 3339)
        #[arg(long, value_name = "TIME", value_parser = instant)]
        to: Option<OffsetDateTime>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Database {
    /// The database; the built-in one if there is none [env: CODER_PG_CONNECTION_URL]
    #[arg(long, value_name = "URL")]
    postgres_url: Option<String>,
}

fn public_key(text: &str) -> Result<Vec<u8>, String> {
    crypt::unhex(&text.to_lowercase())
        .filter(|key| key.len() == crypt::signing::PUBLIC_KEY_BYTES)
        .ok_or_else(|| "a public key has 64 hexadecimal digits".to_owned())
}

fn noted(text: &str) -> Result<(i64, Vec<u8>), String> {
    let parsed = text.split_once(':').and_then(|(sequence, hash)| {
        let hash = crypt::unhex(&hash.to_lowercase())?;
        (hash.len() == store::audit_chain::HASH_BYTES).then_some((sequence.parse().ok()?, hash))
    });
    parsed.ok_or_else(|| {
        "give the number of a row, a colon, and 64 hexadecimal digits of its hash".to_owned()
    })
}

fn instant(text: &str) -> Result<OffsetDateTime, String> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "give a time such as 2026-01-31T00:00:00Z".to_owned())
}

/// Runs one of the commands.
pub(crate) async fn run(
    command: &Command,
    options: impl AsyncFnOnce() -> Result<Options>,
    environment: &Environment,
) -> Result<ExitCode> {
    if let Command::Verify { file: Some(path), public_key, expect, .. } = command {
        return verify_file(path, verifier(public_key, expect));
    }
    let (Command::Verify { database, .. } | Command::Export { database, .. }) = command;
    let (url, started) = address(database, options, environment).await?;
    let outcome = match command {
        Command::Verify { public_key, expect, .. } => {
            verify_database(&url, verifier(public_key, expect)).await
        }
        Command::Export { output, after, from, to, .. } => {
            export(&url, output.as_deref(), *after, *from, *to).await
        }
    };
    if let Some(cluster) = started {
        cluster.stop().await;
    }
    outcome
}

async fn address(
    database: &Database,
    options: impl AsyncFnOnce() -> Result<Options>,
    environment: &Environment,
) -> Result<(Secret<String>, Option<Cluster>)> {
    let set = environment.get("CODER_PG_CONNECTION_URL").map(ToString::to_string);
    match database.postgres_url.clone().or(set).filter(|url| !url.is_empty()) {
        Some(url) => Ok((Secret::new(url), None)),
        None => database::of_its_own(&options().await?, environment).await,
    }
}

fn verifier(pinned: &[Vec<u8>], expected: &[(i64, Vec<u8>)]) -> Verifier {
    Verifier::new(pinned.to_vec(), expected.iter().cloned().collect::<HashMap<_, _>>())
}

async fn verify_database(url: &Secret<String>, mut verifier: Verifier) -> Result<ExitCode> {
    let mut reader = Reader::open(url).await.map_err(|error| said(&error))?;
    let head = reader.head().await.map_err(|error| said(&error))?;
    if !head.adopted {
        bail!(
            "rows from before the chain have no places in it yet: start a server on this database first"
        );
    }
    let bar = bar(u64::try_from(head.sequence).unwrap_or(0));
    let mut fault = walk(&mut reader, 0, None, &mut |line| {
        let fault = verifier.line(line).err();
        bar.set_position(u64::try_from(verifier.last()).unwrap_or(0));
        Ok(fault)
    })
    .await?;
    if fault.is_none()
        && let Some(id) = reader.stray().await.map_err(|error| said(&error))?
    {
        // What the chain itself tells goes first.
        fault = verifier.clone().finish().err().or_else(|| verifier.stray(id).err());
    }
    bar.finish_and_clear();
    Ok(tell(fault.map_or_else(|| verifier.finish(), Err).map_err(|fault| fault.to_string())))
}

fn verify_file(path: &Path, mut verifier: Verifier) -> Result<ExitCode> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let bar = bar(file.metadata().map_or(0, |about| about.len()));
    let mut file = BufReader::new(file);
    let (mut text, mut number, mut lines) = (String::new(), 0_u64, 0_u64);
    loop {
        text.clear();
        number += 1;
        let read = (&mut file).take(LINE_MAX).read_line(&mut text);
        let read = match read {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Ok(tell(Err(format!("line {number} was changed: it is not text"))));
            }
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        bar.inc(read as u64);
        if text.trim().is_empty() {
            continue;
        }
        lines += 1;
        let outcome = match Line::read(&text) {
            Ok(line) => verifier.line(line).map_err(|fault| format!("line {number}: {fault}")),
            Err(audit::chain::LineError::Version(version)) => {
                bail!("version {version} of the file is not known: run a newer program")
            }
            Err(error) => {
                Err(format!("line {number}, behind row {}, was changed: {error}", verifier.last()))
            }
        };
        if let Err(fault) = outcome {
            return Ok(tell(Err(fault)));
        }
    }
    bar.finish_and_clear();
    if lines == 0 {
        bail!("{} is empty: there is nothing to check", path.display());
    }
    Ok(tell(verifier.finish().map_err(|fault| fault.to_string())))
}

fn tell(outcome: Result<Report, String>) -> ExitCode {
    match outcome {
        Ok(Report { rows, checkpoints, after, last, covered, ended }) => {
            println!("The audit log is whole: {rows} rows, {checkpoints} checkpoints.");
            if after > 0 {
                println!("It begins behind row {after}; what was before is not part of it.");
            }
            if last > covered {
                println!("Rows {} to {last} are covered by no checkpoint yet.", covered + 1);
            }
            if !ended {
                println!("It does not say that row {last} is the last one.");
            }
            ExitCode::SUCCESS
        }
        Err(fault) => {
            println!("The audit log is NOT whole: {fault}.");
            ExitCode::from(BROKEN)
        }
    }
}

async fn export(
    url: &Secret<String>,
    output: Option<&Path>,
    after: Option<i64>,
    from: Option<OffsetDateTime>,
    to: Option<OffsetDateTime>,
) -> Result<ExitCode> {
    let mut reader = Reader::open(url).await.map_err(|error| said(&error))?;
    let first = match from {
        Some(time) => reader.last_before(time).await.map_err(|error| said(&error))?,
        None => after.unwrap_or(0),
    };
    let last = match to {
        Some(time) => Some(reader.last_before(time).await.map_err(|error| said(&error))?),
        None => None,
    };
    let mut out: Box<dyn Write + Send> = match output {
        None => Box::new(std::io::stdout()),
        Some(path) => {
            let mut how = OpenOptions::new();
            let opened = if after.is_some_and(|after| after > 0) {
                how.append(true).create(true).open(path)
            } else {
                how.write(true).create_new(true).open(path)
            };
            Box::new(opened.with_context(|| format!("open {}", path.display()))?)
        }
    };
    let mut out = BufWriter::new(&mut out);
    let mut written = first;
    let outcome = walk(&mut reader, first, last, &mut |line| {
        writeln!(out, "{}", line.write()?)?;
        if let Line::Row(row) = &line {
            written = row.0.sequence;
        }
        Ok(None::<()>)
    })
    .await;
    let outcome = outcome.and_then(|_| Ok(out.flush()?));
    outcome.with_context(|| {
        format!("stopped; go on with --after {written} once the last line is whole")
    })?;
    eprintln!("exported rows {} to {written}", first + 1);
    Ok(ExitCode::SUCCESS)
}

/// Goes through the log in the order of an export, until `visit` returns something.
async fn walk<T>(
    reader: &mut Reader,
    after: i64,
    until: Option<i64>,
    visit: &mut (dyn FnMut(Line) -> Result<Option<T>> + Send),
) -> Result<Option<T>> {
    macro_rules! emit {
        ($line:expr) => {
            if let Some(found) = visit($line)? {
                return Ok(Some(found));
            }
        };
    }
    let head = reader.head().await.map_err(|error| said(&error))?;
    emit!(Line::Log { after });
    for key in reader.public_keys().await.map_err(|error| said(&error))? {
        emit!(Line::Key { id: key.id, public_key: key.bytes });
    }
    if let Some(start) = reader.start().await.map_err(|error| said(&error))?
        && start.sequence >= after
    {
        emit!(Line::Checkpoint(start));
    }
    let last = until.unwrap_or(i64::MAX);
    let mut checkpoints = Checkpoints { after, ..Checkpoints::default() };
    let mut at = after;
    while at < last {
        let rows = reader.rows(at, PAGE).await.map_err(|error| said(&error))?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            at = row.0.sequence;
            if at > last {
                break;
            }
            emit!(Line::Row(Box::new(row)));
            while let Some(checkpoint) = checkpoints.until(reader, at).await? {
                emit!(Line::Checkpoint(checkpoint));
            }
        }
    }
    // Of rows that are not there.
    while let Some(checkpoint) = checkpoints.until(reader, last).await? {
        emit!(Line::Checkpoint(checkpoint));
    }
    if until.is_none() {
        emit!(Line::End { sequence: head.sequence, hash: head.hash });
    }
    Ok(None)
}

/// Checkpoints in order, a page at a time.
#[derive(Default)]
struct Checkpoints {
    page: VecDeque<Checkpoint>,
    after: i64,
    done: bool,
}

impl Checkpoints {
    /// The next, if it is of this row or of one before.
    async fn until(&mut self, reader: &mut Reader, sequence: i64) -> Result<Option<Checkpoint>> {
        if self.page.is_empty() && !self.done {
            let page = reader.checkpoints(self.after, PAGE).await.map_err(|error| said(&error))?;
            self.done = page.is_empty();
            self.after = page.last().map_or(self.after, |last| last.sequence);
            self.page.extend(page);
        }
        Ok(self.page.pop_front_if(|checkpoint| checkpoint.sequence <= sequence))
    }
}

fn said(error: &store::audit_chain::ReadError) -> anyhow::Error {
    anyhow!("{}", stdx::chain(error))
}

/// On a terminal only.
fn bar(len: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(len);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent}%, {eta} left") {
        bar.set_style(style);
    }
    bar
}
