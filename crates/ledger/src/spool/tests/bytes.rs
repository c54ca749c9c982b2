//! Every byte of a small spool lost or changed.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

pub(super) const PREFACE: usize = preface::PREFACE_BYTES as usize;

/// A spool of one segment with records of these lengths. Returns where each begins and ends, padding aside.
pub(super) fn written(dir: &Path, lengths: &[usize]) -> Vec<(usize, usize)> {
    let spool = open(dir);
    let mut places = Vec::new();
    for (number, bytes) in lengths.iter().enumerate() {
        let text = text(number, *bytes);
        append(&spool, &text).unwrap();
        let end = spool.core().state().last.offset() as usize;
        let start = end - (32 + text.len()).next_multiple_of(8);
        places.push((start, start + 32 + text.len()));
    }
    assert!(spool.core().state().waiting.is_empty(), "one segment");
    places
}

pub(super) fn segment(dir: &Path) -> PathBuf {
    dir.join("segment-0000.spool")
}

pub(super) fn texts(lengths: &[usize]) -> Vec<Vec<u8>> {
    lengths.iter().enumerate().map(|(number, bytes)| text(number, *bytes)).collect()
}

pub(super) const LENGTHS: [usize; 6] = [3, 0, 40, 17, 8, 100];

#[test]
fn a_segment_cut_anywhere_gives_back_exactly_its_whole_records() {
    let dir = scratch();
    let places = written(dir.path(), &LENGTHS);
    let all = texts(&LENGTHS);
    let end = places.last().unwrap().1 + 16;
    for cut in (0..end).rev() {
        let file = OpenOptions::new().write(true).open(segment(dir.path())).unwrap();
        file.set_len(cut as u64).unwrap();
        let whole = places.iter().take_while(|(_, end)| *end <= cut).count();
        // Opening may remove what is of no use, so it works on a copy.
        let copy = crashed(dir.path());
        let spool = open(copy.path());
        assert_eq!(unread(&spool), all[..whole], "cut at {cut}");
        append(&spool, b"goes on").unwrap();
        drop(spool);
        let spool = open(copy.path());
        let want = [&all[..whole], &[b"goes on".to_vec()]].concat();
        assert_eq!(unread(&spool), want, "cut at {cut}, then appended");
    }
}

#[test]
fn a_write_cut_short_anywhere_leaves_zeros_and_the_records_before() {
    let dir = scratch();
    let places = written(dir.path(), &LENGTHS);
    let all = texts(&LENGTHS);
    let before = fs::read(segment(dir.path())).unwrap();
    let (start, end) = *places.last().unwrap();
    for cut in start..end {
        let mut bytes = before.clone();
        bytes[cut..].fill(0);
        fs::write(segment(dir.path()), &bytes).unwrap();
        let copy = crashed(dir.path());
        let (spool, findings) = Spool::open(copy.path(), PLAN, SyncPolicy::Os).unwrap();
        assert_eq!(unread(&spool), all[..5], "cut at {cut}");
        assert_eq!(findings.torn, cut > start, "cut at {cut}");
    }
}

#[test]
fn a_changed_byte_costs_no_record_but_its_own() {
    let dir = scratch();
    let places = written(dir.path(), &LENGTHS);
    let all = texts(&LENGTHS);
    let end = places.last().unwrap().1;
    for at in 0..end + 8 {
        let copy = crashed(dir.path());
        let file = OpenOptions::new().read(true).write(true).open(segment(copy.path())).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at as u64).unwrap();
        file.write_all_at(&[byte[0] ^ 0x55], at as u64).unwrap();
        let hit = places.iter().position(|(start, end)| (*start..*end).contains(&at));
        let mut want = all.clone();
        if let Some(hit) = hit {
            want.remove(hit);
        }
        let spool = open(copy.path());
        assert_eq!(unread(&spool), want, "byte {at}");
        // The last record looks like a write that was cut short; the others are damage.
        let damaged = spool.core().counts.damaged_bytes.load(Ordering::Relaxed);
        let aside = copy.path().join("segment-0000000001.damaged").exists();
        let checkpoint = (PREFACE..places[0].0).contains(&at);
        let seen = checkpoint || hit.is_some_and(|hit| hit + 1 < places.len());
        assert_eq!((damaged > 0, aside), (seen, seen), "byte {at}");
        append(&spool, b"goes on").unwrap();
        want.push(b"goes on".to_vec());
        drop(spool);
        assert_eq!(unread(&open(copy.path())), want, "byte {at}, then appended");
    }
}

#[test]
fn damage_in_a_full_segment_costs_no_other_and_is_counted() {
    let dir = scratch();
    let spool = open(dir.path());
    let all: Vec<_> = (0..40).map(|number| text(number, 500)).collect();
    for text in &all {
        append(&spool, text).unwrap();
    }
    drop(spool);
    // A page in the middle of the second segment, the header of the third.
    let file = |index: u32| {
        let path = dir.path().join(format!("segment-{index:04}.spool"));
        OpenOptions::new().write(true).open(path).unwrap()
    };
    file(1).write_all_at(&[0xEE; 300], 3_000).unwrap();
    file(2).write_all_at(&[0; PREFACE], 0).unwrap();
    let spool = open(dir.path());
    let mut reader = Reader::new(Arc::clone(spool.core()));
    let (mut seen, mut lost) = (Vec::new(), 0);
    let mut end = Cursor::default();
    while let Some(item) = reader.next_on_disk().unwrap() {
        lost += item.lost_facts;
        end = item.end;
        if let Unread::Payload(text) = item.content {
            seen.push(text);
        }
    }
    assert!(seen.iter().all(|text| all.contains(text)));
    assert_eq!(seen.len() as u64 + lost, 40);
    assert!((1..=2).contains(&lost), "{lost}");
    spool.core().acknowledge(end);
    assert_eq!(spool.core().figures().waiting_facts, 0);
    assert_eq!(spool.core().figures().waiting_bytes, 0);
}

#[test]
fn a_file_that_is_gone_is_counted_and_the_rest_is_read() {
    let dir = scratch();
    let spool = open(dir.path());
    for number in 0..80 {
        append(&spool, &text(number, 500)).unwrap();
    }
    drop(spool);
    fs::remove_file(dir.path().join("segment-0000.spool")).unwrap();
    fs::remove_file(dir.path().join("segment-0002.spool")).unwrap();
    let (spool, findings) = Spool::<Vec<u8>>::open(dir.path(), PLAN, SyncPolicy::Os).unwrap();
    let mut lost = findings.missing_facts;
    let mut reader = Reader::new(Arc::clone(spool.core()));
    let mut seen = 0;
    while let Some(item) = reader.next_on_disk().unwrap() {
        lost += item.lost_facts;
        seen += usize::from(matches!(item.content, Unread::Payload(_)));
    }
    assert!(seen > 40, "{seen}");
    assert_eq!(seen as u64 + lost, 80);
}

#[test]
fn another_format_is_refused_and_left_alone() {
    let dir = scratch();
    written(dir.path(), &[5]);
    let mut bytes = fs::read(segment(dir.path())).unwrap();
    bytes[8] = 9;
    let crc = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    fs::write(segment(dir.path()), &bytes).unwrap();
    let error = Spool::<()>::open(dir.path(), PLAN, SyncPolicy::Os).err().unwrap();
    assert!(matches!(error, OpenError::Format { version: 9, .. }), "{error}");
    assert_eq!(fs::read(segment(dir.path())).unwrap(), bytes);
}

/// Bytes that look like headers everywhere.
fn nasty() -> impl Strategy<Value = Vec<u8>> {
    let header = (any::<u32>(), 60_u32..9_000, 0_u8..4).prop_map(|(crc, offset, kind)| {
        let kind = if kind == 0 { record::Kind::Checkpoint } else { record::Kind::Facts };
        record::Header {
            kind,
            payload_bytes: crc % 20_000,
            facts: 3,
            opens: 1,
            closes: u16::try_from(crc % 5).unwrap(),
            at_micros: i64::MIN,
            payload_crc: crc,
        }
        .encode(1, offset / 8 * 8)
        .to_vec()
    });
    let part = prop_oneof![
        3 => proptest::collection::vec(any::<u8>(), 0..100),
        1 => Just(vec![0; 64]),
        1 => Just(preface::Preface::encode(1).to_vec()),
        1 => Just(preface::Preface::encode(u32::MAX).to_vec()),
        4 => header,
    ];
    proptest::collection::vec(part, 0..60).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic_or_stop_it_from_taking_more(
        first in nasty(),
        second in nasty(),
        cursor in proptest::collection::vec(any::<u8>(), 0..5000),
        splice in 0..8_000_usize,
    ) {
        let dir = scratch();
        written(dir.path(), &LENGTHS);
        let mut bytes = fs::read(segment(dir.path())).unwrap();
        let splice = splice.min(bytes.len());
        for (to, from) in bytes[splice..].iter_mut().zip(&first) {
            *to = *from;
        }
        fs::write(segment(dir.path()), &bytes).unwrap();
        fs::write(dir.path().join("segment-0007.spool"), &second).unwrap();
        if cursor.len() % 3 == 0 {
            fs::write(dir.path().join("cursor"), &cursor).unwrap();
        }
        let spool = open(dir.path());
        let before = unread(&spool);
        let taken = append(&spool, b"goes on");
        if taken.is_ok() {
            let mut want = before;
            want.push(b"goes on".to_vec());
            prop_assert_eq!(unread(&spool), want.clone());
            drop(spool);
            prop_assert_eq!(unread(&open(dir.path())), want);
        }
    }
}
