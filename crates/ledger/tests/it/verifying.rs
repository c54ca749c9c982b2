use std::convert::Infallible;
use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::sync::Arc;

use aibridge::facts::Fact;
use ledger::{Checked, FactName, Kinds, Report, TokenSums, read_all, verify};

use crate::stage::*;

/// Says what a place of record would say that holds these facts.
fn compared(
    stored: Vec<Fact>,
) -> impl FnMut(Vec<Fact>) -> std::future::Ready<Result<Checked, Infallible>> {
    move |asked| {
        let mut checked = Checked::default();
        for (index, fact) in asked.iter().enumerate() {
            let name = FactName::of(fact);
            match stored.iter().find(|stored| FactName::of(stored) == name) {
                None => checked.missing.push(index),
                Some(found) if found != fact => checked.different.push(index),
                Some(_) => {}
            }
        }
        std::future::ready(Ok(checked))
    }
}

#[tokio::test]
async fn a_spool_is_proved_against_what_was_stored_while_it_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Terms::of(dir.path()).open();
    let place = Place::new(Mood::Willing);
    stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
    for number in 1..=1_500 {
        stage.record(vec![start(number)]).await;
        stage.record(rest(number)).await;
    }
    within(stage.ledger.drained()).await;
    assert_eq!(place.facts().len(), 6_000);
    place.set(Mood::Away(None));
    stage.record(vec![start(2_000)]).await;

    let report = verify(dir.path().to_owned(), compared(place.facts())).await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.acknowledged + report.waiting, 6_001);
    assert_eq!(report.waiting, 1);
    let kinds =
        Kinds { starts: 1_501, ends: 1_500, prompts: 1_500, tokens: 1_500, ..Kinds::default() };
    assert_eq!(report.kinds, kinds);
    assert_eq!(report.tokens, TokenSums { input: 15_000, output: 7_500, ..TokenSums::default() });

    let mut stored = place.facts();
    let gone = stored.remove(5_990);
    let report = verify(dir.path().to_owned(), compared(stored)).await.unwrap();
    assert_eq!((&report.missing[..], report.missing_count), (&[FactName::of(&gone)][..], 1));
    assert_eq!(report.different, []);
    stage.stop().await;
}

#[tokio::test]
async fn refused_facts_are_accounted_for_and_changed_ones_named() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Terms::of(dir.path()).open();
    let place = Place::new(Mood::Picky);
    stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
    stage.record(vec![start(1)]).await;
    stage.record(rest(1)).await;
    within(stage.ledger.drained()).await;
    stage.stop().await;
    let stored = vec![start(1), tokens(1, 6), end(1)];
    let report = verify(dir.path().to_owned(), compared(stored)).await.unwrap();
    assert_eq!((report.refused, report.missing_count), (1, 0));
    assert_eq!(report.different, [FactName::of(&tokens(1, 5))]);
    assert!(!report.is_sound());
    for file in ["refused.jsonl", "cursor", "lock", "segment-0000.spool"] {
        let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn what_was_shipped_stays_readable_and_damage_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/spool");
    assert_eq!(verify(path.clone(), compared(vec![])).await.ok(), None, "there is none yet");
    let stage = Terms { max_bytes: 4 << 20, ..Terms::of(&path) }.open();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let place = Place::new(Mood::Willing);
    stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
    for number in 1..=400 {
        stage.record(vec![start(number)]).await;
        stage.record(vec![prompt(number, &"x".repeat(2_000)), end(number)]).await;
    }
    within(stage.ledger.drained()).await;
    stage.stop().await;
    let kept = read_all(&path).unwrap().count();
    assert!(kept > 100, "{kept}");

    let file = OpenOptions::new().write(true).open(path.join("segment-0002.spool")).unwrap();
    file.write_all_at(&[0xEE; 10], 30_000).unwrap();
    let report = verify(path, compared(place.facts())).await.unwrap();
    assert!(report.damaged_bytes > 0);
    assert!(!report.is_sound());
    assert_eq!(report.missing_count, 0);
    assert_eq!(report.acknowledged, kept_facts(&report));
}

fn kept_facts(report: &Report) -> u64 {
    report.kinds.starts + report.kinds.prompts + report.kinds.ends
}
