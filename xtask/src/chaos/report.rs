//! What a run prints, and what its logs must not hold.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::load::{Exchange, Outcome};
use super::proof::Proof;
use super::schedule::Fault;
use crate::served::Tokens;
use crate::tree::write;

/// More differences than this are in the file only.
const SHOWN_MAX: usize = 40;

/// Prints the counts.
pub(super) fn show(exchanges: &[Exchange], proof: &Proof, drained: Duration) {
    let mut outcomes: BTreeMap<Outcome, usize> = BTreeMap::new();
    let mut statuses: BTreeMap<(u16, String), usize> = BTreeMap::new();
    for exchange in exchanges {
        *outcomes.entry(exchange.outcome).or_default() += 1;
        if exchange.outcome == Outcome::Refused {
            let said: String = exchange.refusal.chars().take(160).collect();
            *statuses.entry((exchange.status, said.trim().to_owned())).or_default() += 1;
        }
    }
    println!("sent         {:>6}", exchanges.len());
    for (outcome, count) in &outcomes {
        let name = match outcome {
            Outcome::Answered => "answered",
            Outcome::Failed => "told failed",
            Outcome::Refused => "refused",
            Outcome::Broken => "broken",
            Outcome::Left => "left",
            Outcome::NoAnswer => "no answer",
            Outcome::NoConnection => "no connection",
            Outcome::Truncated => "cut short",
            Outcome::Silent => "silent",
            Outcome::NotSent => "not sent",
        };
        println!("  {name:<13}{count:>4}");
    }
    for ((status, said), count) in &statuses {
        println!("refused with {status}: {count} times, {said}");
    }
    let errors: usize = proof.errors.values().sum();
    println!("recorded     {:>6}", proof.well + errors);
    println!("  well       {:>6}", proof.well);
    for (error, count) in &proof.errors {
        println!("  {error:<13}{count:>4}");
    }
    for (who, Tokens { input, output, cache_read, cache_write, reasoning }) in
        [("clients", proof.told), ("provider", proof.served), ("records", proof.recorded)]
    {
        println!("tokens by {who:<9} {input}/{output}/{cache_read}/{cache_write}/{reasoning}");
    }
    let mut took: Vec<Duration> = exchanges
        .iter()
        .filter(|exchange| exchange.outcome == Outcome::Answered && !exchange.ask.stream)
        .map(|exchange| exchange.took)
        .collect();
    took.sort();
    let at = |part: usize| took.get(took.len() * part / 1_000).copied().unwrap_or_default();
    println!(
        "blocking answers took p50 {:.1?}, p99 {:.1?}, at most {:.1?}",
        at(500),
        at(990),
        took.last().copied().unwrap_or_default()
    );
    println!("everything was recorded {:.1} s after all parts were back", drained.as_secs_f32());
}

/// Prints what is wrong, whole into a file.
pub(super) fn verdict(dir: &Path, wrong: &[String]) -> Result<()> {
    if wrong.is_empty() {
        println!("every answer is recorded, once, as served");
        return Ok(());
    }
    let file = dir.join("differences.txt");
    write(&file, &format!("{}\n", wrong.join("\n")), 0o600)?;
    let shown = wrong.get(..SHOWN_MAX.min(wrong.len())).unwrap_or_default();
    bail!("{} differences, all of them in {}\n{}", wrong.len(), file.display(), shown.join("\n"))
}

/// A gateway that refuses everything loses nothing, and proves nothing.
pub(super) fn too_few(exchanges: &[Exchange], faults: &[Fault]) -> Option<String> {
    let answered = || exchanges.iter().filter(|exchange| exchange.outcome == Outcome::Answered);
    let last = faults.iter().map(|fault| fault.at).max().unwrap_or_default();
    let middle = answered().filter(|exchange| exchange.at <= last).count();
    let count = answered().count();
    // The load goes on while parts are away, which on a slow machine is most of the time.
    (count * 25 < exchanges.len() || middle * 50 < exchanges.len())
        .then(|| format!("only {count} of {} requests were answered", exchanges.len()))
}

/// Panics, secrets and prompts in the logs.
pub(super) fn leaks(dir: &Path, secrets: &[String], marker: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for path in logs(dir)? {
        let name = path.display();
        let file = fs::File::open(&path).with_context(|| format!("cannot read {name}"))?;
        for (at, line) in BufReader::new(file).split(b'\n').enumerate() {
            let line = line.with_context(|| format!("cannot read {name}"))?;
            let line = String::from_utf8_lossy(&line);
            let what = if line.contains("panicked at") {
                "a panic"
            } else if line.contains(marker) {
                "a prompt"
            } else if secrets.iter().any(|secret| line.contains(secret.as_str())) {
                "a secret"
            } else {
                continue;
            };
            found.push(format!("{what} in {name}, line {}", at + 1));
        }
    }
    Ok(found)
}

/// The logs of all processes, PostgreSQL's own among them.
fn logs(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for dir in [dir.to_path_buf(), dir.join("postgres"), dir.join("postgres/pg/log")] {
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.with_context(|| format!("cannot list {}", dir.display()))?.path();
            let is = |extension: &str| path.extension().is_some_and(|have| have == extension);
            // One that grew long has been renamed to `.log.old`.
            if is("log") || is("old") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::ask::{Ask, Said};
    use super::super::schedule::Target;
    use super::*;

    #[test]
    fn a_run_in_which_hardly_anything_is_answered_proves_nothing() {
        let exchange = |number: u64, outcome: Outcome| Exchange {
            ask: Ask::make(1, number, 1, "m"),
            at: Duration::from_secs(number),
            took: Duration::ZERO,
            outcome,
            status: 200,
            interception: None,
            said: Said::default(),
            refusal: String::new(),
        };
        let run = |answered: std::ops::Range<u64>| -> Vec<Exchange> {
            let outcome =
                |at| if answered.contains(&at) { Outcome::Answered } else { Outcome::Refused };
            (0..100).map(|at| exchange(at, outcome(at))).collect()
        };
        let faults = [Fault {
            at: Duration::from_secs(50),
            target: Target::Coderd,
            lasts: Duration::from_secs(1),
        }];
        for (answered, fine) in
            [(0..100, true), (0..0, false), (0..3, false), (60..100, false), (40..60, true)]
        {
            let run = run(answered.clone());
            assert_eq!(too_few(&run, &faults).is_none(), fine, "{answered:?}");
        }
    }

    #[test]
    fn a_secret_a_prompt_and_a_panic_in_a_log_are_found() {
        let dir = std::env::temp_dir().join(format!("xtask-leaks-{}", std::process::id()));
        fs::create_dir_all(dir.join("postgres/pg/log")).unwrap();
        fs::write(dir.join("a.log"), "fine\nsaid marker1 aloud\n").unwrap();
        fs::write(dir.join("b.log.old"), "key secretpart\n").unwrap();
        fs::write(dir.join("postgres/pg/log/x.log"), "thread 'x' panicked at y\n").unwrap();
        fs::write(dir.join("spool"), "marker1").unwrap();
        let mut found = leaks(&dir, &["secretpart".to_owned()], "marker1").unwrap();
        found.sort();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("a panic in") && found[0].ends_with("x.log, line 1"));
        assert!(found[1].starts_with("a prompt in") && found[1].ends_with("a.log, line 2"));
        assert!(found[2].starts_with("a secret in") && found[2].ends_with("b.log.old, line 1"));
        fs::remove_dir_all(dir).unwrap();
    }
}
