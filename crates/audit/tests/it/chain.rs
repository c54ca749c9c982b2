//! Every way to tamper with a chain is found, and the row is named.

use std::collections::HashMap;

use audit::chain::{Fault, Line, Report, Verifier, What};
use crypt::signing::SigningKey;
use proptest::prelude::*;
use serde_json::value::RawValue;
use stdx::SystemRng;
use store::audit_chain::{Checkpoint, Entry, Kind, Link, START};
use time::OffsetDateTime;
use uuid::Uuid;

/// Rows, the last of a checkpoint, and what is behind it.
const ROWS: i64 = 12;
const SIGNED: i64 = 9;

fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn entry(n: i64) -> Entry {
    let n = u128::try_from(n).unwrap();
    Entry {
        id: Uuid::from_u128(100 + n),
        time: OffsetDateTime::UNIX_EPOCH
            + std::time::Duration::from_micros(u64::try_from(n).unwrap()),
        user_id: Uuid::from_u128(200 + n),
        organization_id: Uuid::from_u128(300 + n),
        ip: Some("10.0.0.1/32".parse().unwrap()),
        user_agent: Some("curl".to_owned()),
        resource_type: "user".to_owned(),
        resource_id: Uuid::from_u128(400 + n),
        resource_target: "ann".to_owned(),
        resource_icon: "icon".to_owned(),
        action: "write".to_owned(),
        diff: json(&format!(r#"{{"name": {{"old": "{n}", "new": 1.5, "secret": false}}}}"#)),
        status_code: 200,
        additional_fields: json("{}"),
        request_id: Uuid::from_u128(500 + n),
    }
}

struct Signer {
    id: Uuid,
    key: SigningKey,
}

impl Signer {
    fn new(id: u128) -> Self {
        let key = SigningKey::read(&SigningKey::generate(&SystemRng)).unwrap();
        Self { id: Uuid::from_u128(id), key }
    }

    fn line(&self) -> Line {
        Line::Key { id: self.id, public_key: self.key.public_key() }
    }

    fn sign(&self, kind: Kind, link: &Link) -> Checkpoint {
        let mut made = Checkpoint {
            sequence: link.sequence,
            kind,
            hash: link.hash.clone(),
            time: OffsetDateTime::UNIX_EPOCH,
            signing_key_id: self.id,
            signature: Vec::new(),
        };
        made.signature = self.key.sign(&made.message());
        made
    }
}

/// Gives rows their places anew, as one who may write to the database could.
fn rechain(rows: &mut [(Link, Entry)], mut sequence: i64, start: &[u8]) {
    let mut previous = start.to_vec();
    for (link, entry) in rows {
        sequence += 1;
        let hash = entry.hash(sequence, &previous).unwrap().to_vec();
        *link = Link { sequence, previous_hash: previous, hash: hash.clone() };
        previous = hash;
    }
}

fn rows() -> Vec<(Link, Entry)> {
    let empty = || Link { sequence: 0, previous_hash: Vec::new(), hash: Vec::new() };
    let mut rows: Vec<_> = (1..=ROWS).map(|n| (empty(), entry(n))).collect();
    rechain(&mut rows, 0, &START);
    rows
}

/// As an export has them: what is signed stays as it was, whatever became of the rows.
fn lines(rows: &[(Link, Entry)], signer: &Signer, checkpoint: &Checkpoint) -> Vec<Line> {
    let mut lines = vec![Line::Log { after: 0 }, signer.line()];
    let mut left = Some(checkpoint);
    for row in rows {
        lines.push(Line::Row(Box::new(row.clone())));
        if let Some(made) = left.take_if(|made| made.sequence <= row.0.sequence) {
            lines.push(Line::Checkpoint(made.clone()));
        }
    }
    lines.extend(left.map(|made| Line::Checkpoint(made.clone())));
    lines
}

/// Every line goes through the text of a file.
fn check(mut verifier: Verifier, lines: Vec<Line>) -> Result<Report, Fault> {
    for line in lines {
        verifier.line(Line::read(&line.write().unwrap()).unwrap())?;
    }
    verifier.finish()
}

fn verify(
    rows: &[(Link, Entry)],
    signer: &Signer,
    checkpoint: &Checkpoint,
) -> Result<Report, Fault> {
    check(Verifier::default(), lines(rows, signer, checkpoint))
}

fn whole() -> (Vec<(Link, Entry)>, Signer, Checkpoint) {
    let (rows, signer) = (rows(), Signer::new(1));
    let checkpoint = signer.sign(Kind::At, &rows[usize::try_from(SIGNED - 1).unwrap()].0);
    (rows, signer, checkpoint)
}

fn fault(outcome: Result<Report, Fault>) -> (Option<i64>, What) {
    let fault = outcome.unwrap_err();
    (fault.sequence, fault.what)
}

#[test]
fn a_chain_that_nobody_touched_is_whole() {
    let (rows, signer, checkpoint) = whole();
    let report = verify(&rows, &signer, &checkpoint).unwrap();
    let wanted =
        Report { rows: 12, checkpoints: 1, after: 0, last: ROWS, covered: SIGNED, ended: false };
    assert_eq!(report, wanted);
    assert_eq!(check(Verifier::default(), Vec::new()).unwrap(), Report::default());
}

/// One change of each column.
fn tampered(column: usize, bit: u32, entry: &mut Entry) {
    let flip = |id: &mut Uuid| *id = Uuid::from_u128(id.as_u128() ^ (1 << bit));
    let text = |text: &mut String| {
        let place = bit as usize % (text.len() + 1);
        text.insert(place, 'x');
    };
    match column {
        0 => flip(&mut entry.id),
        1 => entry.time += time::Duration::microseconds(1 << (bit % 40)),
        2 => flip(&mut entry.user_id),
        3 => flip(&mut entry.organization_id),
        4 => {
            entry.ip =
                bit.is_multiple_of(2).then(|| format!("10.0.0.1/{}", bit % 32).parse().unwrap());
        }
        5 => entry.user_agent = bit.is_multiple_of(2).then(String::new),
        6 => text(&mut entry.resource_type),
        7 => flip(&mut entry.resource_id),
        8 => text(&mut entry.resource_target),
        9 => text(&mut entry.resource_icon),
        10 => text(&mut entry.action),
        11 => {
            let other = entry.diff.get().replace("1.5", &format!("1.50{}", 1 + bit));
            entry.diff = json(&other);
        }
        12 => entry.status_code ^= 1 << (bit % 31),
        13 => entry.additional_fields = json(&format!("[{bit}]")),
        _ => flip(&mut entry.request_id),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_changed_column_is_found(row in 0..12_usize, column in 0..15_usize, bit in 0..128_u32) {
        let (mut rows, signer, checkpoint) = whole();
        tampered(column, bit, &mut rows[row].1);
        let sequence = rows[row].0.sequence;
        prop_assert_eq!(fault(verify(&rows, &signer, &checkpoint)), (Some(sequence), What::Changed));
    }

    #[test]
    fn a_changed_link_is_found(row in 0..12_usize, byte in 0..32_usize, bit in 0..8_u32, own in any::<bool>()) {
        let (mut rows, signer, checkpoint) = whole();
        let link = &mut rows[row].0;
        let hash = if own { &mut link.hash } else { &mut link.previous_hash };
        hash[byte] ^= 1 << bit;
        let sequence = link.sequence;
        prop_assert_eq!(fault(verify(&rows, &signer, &checkpoint)), (Some(sequence), What::Changed));
    }

    #[test]
    fn a_row_changed_with_its_hash_is_found(row in 0..9_usize, column in 0..15_usize, bit in 0..128_u32) {
        let (mut rows, signer, checkpoint) = whole();
        let (link, entry) = &mut rows[row];
        tampered(column, bit, entry);
        link.hash = entry.hash(link.sequence, &link.previous_hash).unwrap().to_vec();
        let sequence = link.sequence;
        let wanted = if sequence == SIGNED {
            (Some(sequence), What::Rewritten)
        } else {
            (Some(sequence + 1), What::Replaced)
        };
        prop_assert_eq!(fault(verify(&rows, &signer, &checkpoint)), wanted);
    }

    #[test]
    fn a_log_rewritten_from_a_row_on_is_found_by_its_checkpoint(row in 0..9_usize, bit in 0..128_u32) {
        let (mut rows, signer, checkpoint) = whole();
        tampered(8, bit, &mut rows[row].1);
        rechain(&mut rows, 0, &START);
        prop_assert_eq!(fault(verify(&rows, &signer, &checkpoint)), (Some(SIGNED), What::Rewritten));
    }

    #[test]
    fn a_removed_row_is_found(row in 0..11_usize) {
        let (mut rows, signer, checkpoint) = whole();
        let first = rows.remove(row).0.sequence;
        let wanted = (Some(first), What::Removed { until: first + 1 });
        prop_assert_eq!(fault(verify(&rows, &signer, &checkpoint)), wanted);
    }

    #[test]
    fn a_moved_row_is_found(row in 0..11_usize, by in 1..11_usize) {
        let (mut rows, signer, checkpoint) = whole();
        let to = (row + by).min(rows.len() - 1);
        let moved = rows.remove(row);
        let first = moved.0.sequence;
        rows.insert(to, moved);
        prop_assert_eq!(fault(verify(&rows, &signer, &checkpoint)), (Some(first), What::Reordered));
    }

    #[test]
    fn an_inserted_row_is_found(at in 1..13_usize, from in 0..12_usize) {
        let (mut rows, signer, checkpoint) = whole();
        // A copy of a row with its own number.
        let copy = rows[from.min(at - 1)].clone();
        let sequence = copy.0.sequence;
        rows.insert(at, copy);
        prop_assert_eq!(fault(verify(&rows, &signer, &checkpoint)), (Some(sequence), What::Inserted));
    }

    #[test]
    fn a_forged_row_with_all_behind_it_chained_anew_is_found(at in 0..9_usize) {
        let (mut rows, signer, checkpoint) = whole();
        let forged = (rows[at].0.clone(), entry(99));
        rows.insert(at, forged);
        rechain(&mut rows, 0, &START);
        prop_assert_eq!(fault(verify(&rows, &signer, &checkpoint)), (Some(SIGNED), What::Rewritten));
    }

    #[test]
    fn a_cut_off_end_is_found_as_far_as_it_was_signed(kept in 0..12_usize) {
        let (mut rows, signer, checkpoint) = whole();
        rows.truncate(kept);
        let last = i64::try_from(kept).unwrap();
        let outcome = verify(&rows, &signer, &checkpoint);
        if last < SIGNED {
            prop_assert_eq!(fault(outcome), (Some(SIGNED), What::CutOff { last }));
        } else {
            prop_assert_eq!(outcome.unwrap().last, last);
            // Past the checkpoint it is found by the line that tells the end, or by a hash noted elsewhere.
            let whole = self::rows();
            let end = &whole.last().unwrap().0;
            let mut ended = lines(&rows, &signer, &checkpoint);
            ended.push(Line::End { sequence: end.sequence, hash: end.hash.clone() });
            let cut = (Some(last + 1), What::CutOff { last });
            prop_assert_eq!(fault(check(Verifier::default(), ended)), cut);
            let noted = HashMap::from([(ROWS, end.hash.clone())]);
            let lines = lines(&rows, &signer, &checkpoint);
            let cut = (Some(ROWS), What::CutOff { last });
            prop_assert_eq!(fault(check(Verifier::new(Vec::new(), noted), lines)), cut);
        }
    }

    #[test]
    fn a_changed_signature_is_found(bit in 0..512_usize) {
        let (rows, signer, mut checkpoint) = whole();
        checkpoint.signature[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(fault(verify(&rows, &signer, &checkpoint)), (Some(SIGNED), What::BadSignature));
    }
}

#[test]
fn keys_that_are_not_pinned_or_not_known_are_not_believed() {
    let (mut rows, signer, checkpoint) = whole();
    let pinned = || Verifier::new(vec![signer.key.public_key()], HashMap::new());
    assert!(check(pinned(), lines(&rows, &signer, &checkpoint)).is_ok());
    // Everything is rewritten, and signed with a key of the forger's own.
    rows[2].1.action = "delete".to_owned();
    rechain(&mut rows, 0, &START);
    let forger = Signer::new(2);
    let fake = forger.sign(Kind::At, &rows[8].0);
    assert!(verify(&rows, &forger, &fake).is_ok());
    let unknown = |key: &Signer| (Some(SIGNED), What::UnknownKey { key: key.id });
    assert_eq!(fault(check(pinned(), lines(&rows, &forger, &fake))), unknown(&forger));
    assert_eq!(fault(verify(&rows, &forger, &checkpoint)), unknown(&signer));
    // A hash that was noted elsewhere tells without any key.
    let noted = HashMap::from([(SIGNED, checkpoint.hash.clone())]);
    let outcome = check(Verifier::new(Vec::new(), noted), lines(&rows, &forger, &fake));
    assert_eq!(fault(outcome), (Some(SIGNED), What::Rewritten));
}

#[test]
fn retention_is_told_from_cutting_off() {
    let (mut rows, signer, checkpoint) = whole();
    let removed: Vec<_> = rows.drain(..5).collect();
    let start = signer.sign(Kind::Start, &removed[4].0);
    let with = |start: Option<&Checkpoint>| {
        let mut all = lines(&rows, &signer, &checkpoint);
        all.splice(2..2, start.map(|start| Line::Checkpoint(start.clone())));
        check(Verifier::default(), all)
    };
    let report = with(Some(&start)).unwrap();
    assert_eq!((report.after, report.last, report.rows), (5, ROWS, 7));
    assert_eq!(fault(with(None)), (Some(1), What::Removed { until: 6 }));
    // A checkpoint of another kind does not do, and a start cannot be claimed for a later row.
    let at = signer.sign(Kind::At, &removed[4].0);
    assert_eq!(fault(with(Some(&at))), (Some(5), What::CutOff { last: 0 }));
    let claimed = Checkpoint { sequence: 7, ..start };
    assert_eq!(fault(with(Some(&claimed))), (Some(7), What::BadSignature));
}

#[test]
fn a_part_is_checked_from_where_it_begins_and_parts_go_together() {
    let (rows, signer, checkpoint) = whole();
    let mut parts = lines(&rows[..4], &signer, &checkpoint);
    parts.pop();
    let second = |after| {
        let mut part = vec![Line::Log { after }, signer.line()];
        part.extend(rows[4..].iter().map(|row| Line::Row(Box::new(row.clone()))));
        part
    };
    let report = check(Verifier::default(), second(4)).unwrap();
    assert_eq!((report.after, report.last, report.rows), (4, ROWS, 8));
    assert_eq!(fault(check(Verifier::default(), second(3))), (Some(4), What::Removed { until: 5 }));
    parts.extend(second(4));
    assert_eq!(check(Verifier::default(), parts).unwrap().rows, 12);
}

#[test]
fn other_lines_are_told_apart() {
    for text in
        ["", "{}", "[]", r#"{"line":"row"}"#, r#"{"line":"key","id":"x","public_key":"00"}"#]
    {
        assert!(Line::read(text).is_err(), "{text}");
    }
    let future = Line::read(r#"{"line":"log","version":2,"after":0}"#).unwrap_err().to_string();
    assert!(future.contains("version 2"), "{future}");
    let bad = r#"{"line":"end","sequence":1,"hash":"xyz"}"#;
    assert_eq!(Line::read(bad).unwrap_err().to_string(), "hash has an impossible value");
}
