//! Processes that are killed while they append.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use aibridge::facts::Fact;
use ledger::{SyncPolicy, read_all};

use crate::stage::*;

/// Lines that are awaited before a process is killed.
const LINES: usize = 300;

/// Interceptions that the child of a round has in flight at once.
const LANES: u128 = 8;

/// Runs in a process of its own, started by the test below: appends, and tells of what is durable.
#[test]
#[ignore = "does nothing by itself: it is the process that another test kills"]
fn child() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let Some((round, terms)) = line.trim_end().split_once(' ') else { return };
    let Some((sync, dir)) = terms.split_once(' ') else { return };
    let sync = if sync == "strict" { SyncPolicy::Strict } else { SyncPolicy::Os };
    let terms = Terms { sync, max_bytes: 64 << 20, ..Terms::of(&PathBuf::from(dir)) };
    let first = round.parse::<u128>().unwrap() << 40;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(async {
        let stage = Arc::new(terms.open());
        for lane in 0..LANES {
            let recorder = Arc::clone(&stage);
            stage.lifecycle.spawn("lane", async move {
                for number in 1.. {
                    let number = first | lane << 32 | number;
                    recorder.record(vec![start(number)]).await;
                    say(&format!("started {number}"));
                    recorder.record(rest(number)).await;
                    say(&format!("ended {number}"));
                }
            });
        }
        std::future::pending::<()>().await;
    });
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

fn spawn(round: u32, sync: &str, dir: &std::path::Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{round} {sync} {}", dir.display()).unwrap();
    child
}

/// Which interceptions were said to have started and ended.
type Told = HashMap<u128, bool>;

fn note(told: &mut Told, line: &str) -> bool {
    let Some((word, number)) = line.split_once(' ') else { return false };
    let Ok(number) = number.parse() else { return false };
    match word {
        "started" => told.insert(number, false),
        "ended" => told.insert(number, true),
        _ => return false,
    };
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_to_be_durable_survives_kill_9_again_and_again() {
    for sync in ["os", "strict"] {
        let dir = tempfile::tempdir().unwrap();
        let mut told = Told::new();
        for round in 1..=4 {
            let mut child = spawn(round, sync, dir.path());
            let mut out = BufReader::new(child.stdout.take().unwrap());
            let mut lines = 0;
            while lines < LINES {
                let mut line = String::new();
                assert!(out.read_line(&mut line).unwrap() > 0, "the child ended by itself");
                lines += usize::from(note(&mut told, line.trim_end()));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let mut rest = String::new();
            out.read_to_string(&mut rest).unwrap();
            for line in rest.lines() {
                note(&mut told, line);
            }
        }
        assert!(told.len() > LINES, "{}", told.len());

        let on_disk: Vec<Fact> =
            read_all(dir.path()).unwrap().flat_map(|record| record.facts).collect();
        let stage = Terms { max_bytes: 64 << 20, ..Terms::of(dir.path()) }.open();
        let place = Place::new(Mood::Willing);
        stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
        within(stage.ledger.drained()).await;
        let facts = place.facts();
        assert_eq!(facts[..on_disk.len()], on_disk, "what is on disk is what is shipped");
        for (number, ended) in &told {
            let of = |fact: &&Fact| fact.interception() == id(*number);
            let of: Vec<_> = facts.iter().filter(of).cloned().collect();
            assert_eq!(of[0], start(*number));
            if *ended {
                assert_eq!(of[1..], rest(*number), "said to have ended");
            } else {
                assert!(matches!(of.last(), Some(Fact::End(_))), "ended by now");
            }
        }
        let ends = facts.iter().filter(|fact| matches!(fact, Fact::End(_))).count();
        let starts = facts.iter().filter(|fact| matches!(fact, Fact::Start(_))).count();
        assert_eq!(ends, starts, "none is left open, none ended twice");
        stage.stop().await;
    }
}
