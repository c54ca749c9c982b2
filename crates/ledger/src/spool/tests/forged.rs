//! Blocks that got into another file, and numbers that are sound and not true.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::bytes::{LENGTHS, PREFACE, segment, texts, written};
use super::*;

#[test]
fn a_block_that_got_into_another_file_costs_no_more_than_what_it_covers() {
    let dir = scratch();
    let spool = open(dir.path());
    let all: Vec<_> = (0..40).map(|number| text(number, 500)).collect();
    for text in &all {
        append(&spool, text).unwrap();
    }
    drop(spool);
    let file = |dir: &Path, index: u32| dir.join(format!("segment-{index:04}.spool"));
    let files = (0..100).find(|index| !file(dir.path(), *index).exists()).unwrap();
    for (from, to) in (0..files).flat_map(|a| (0..files).map(move |b| (a, b))) {
        let copy = crashed(dir.path());
        let block = fs::read(file(copy.path(), from)).unwrap();
        let held = fs::read(file(copy.path(), to)).unwrap();
        // A file without records has nothing to lose and nothing to say.
        let used = |bytes: &[u8]| bytes.iter().take(PREFACE).any(|byte| *byte != 0);
        if from == to || !used(&block) || !used(&held) {
            continue;
        }
        let covered = OpenOptions::new().write(true).open(file(copy.path(), to)).unwrap();
        covered.write_all_at(&block[..1024], 0).unwrap();
        let seen: Vec<_> = Outside::open(copy.path()).unwrap().collect_texts();
        let spool = open(copy.path());
        let shipped = unread(&spool);
        // The records of the segment that was covered begin with its checkpoint; two of 544 bytes fit in.
        let lost: Vec<_> = all.iter().filter(|text| !shipped.contains(text)).collect();
        assert!((1..=2).contains(&lost.len()), "{from} over {to}: {} lost", lost.len());
        assert_eq!(shipped.len() + lost.len(), all.len(), "{from} over {to}: some came twice");
        assert_eq!(seen, shipped, "{from} over {to}: seen from outside");
    }
}

impl Outside {
    fn collect_texts(mut self) -> Vec<Vec<u8>> {
        let mut damaged = 0;
        std::iter::from_fn(|| self.next_record(&mut damaged)).map(|seen| seen.payload).collect()
    }
}

#[test]
fn what_claims_to_be_long_hides_nothing_behind_it() {
    // Lengths that end behind the records, in the file and not; alone, and more of them than are looked at.
    for (length, headers) in [(8_000, 1), (7_000, 1), (1_000_000, 1), (3_000, 40), (7_000, 40)] {
        let dir = scratch();
        let mut bytes = preface::Preface::encode(1).to_vec();
        for _ in 0..headers {
            let offset = u32::try_from(bytes.len()).unwrap();
            let header = record::Header {
                kind: record::Kind::Facts,
                payload_bytes: length,
                facts: 1,
                opens: 0,
                closes: 0,
                at_micros: 7,
                payload_crc: 4711,
            };
            bytes.extend(header.encode(1, offset));
        }
        let mut record = frame(b"behind", &[], &[]);
        let record = record.place(1, u32::try_from(bytes.len()).unwrap(), 0).to_vec();
        bytes.extend(record);
        bytes.resize(PLAN.segment_bytes as usize, 0);
        fs::write(segment(dir.path()), bytes).unwrap();

        let spool = open(dir.path());
        let before = unread(&spool);
        // Work in vain is bounded: of many some hide it.
        assert!(headers > 1 || before == [b"behind".to_vec()], "{length} x {headers}");
        append(&spool, b"goes on").unwrap();
        let want = [before, vec![b"goes on".to_vec()]].concat();
        assert_eq!(unread(&spool), want, "{length} x {headers}");
        drop(spool);
        assert_eq!(unread(&open(dir.path())), want, "{length} x {headers}, opened again");
    }
}

/// A segment with three records of a fact each and, before the third, a checkpoint that claims so many facts.
fn with_checkpoint_inside(dir: &Path, claimed: u64) {
    let mut bytes = preface::Preface::encode(1).to_vec();
    let mut add = |frame: &mut Frame| {
        let record = frame.place(1, u32::try_from(bytes.len()).unwrap(), 0).to_vec();
        bytes.extend(record);
    };
    add(&mut preface::Checkpoint::default().frame(7));
    add(&mut frame(b"first", &[], &[]));
    add(&mut frame(b"second", &[], &[]));
    let before = preface::Totals { facts: claimed, bytes: 4711 };
    add(&mut preface::Checkpoint { before, ..preface::Checkpoint::default() }.frame(7));
    add(&mut frame(b"third", &[], &[]));
    bytes.resize(PLAN.segment_bytes as usize, 0);
    fs::write(segment(dir), bytes).unwrap();
}

#[test]
fn recovery_counts_as_the_reader_does_whatever_a_checkpoint_inside_a_segment_claims() {
    for (claimed, lost) in [(0, 0), (2, 0), (1_000, 998), (u64::MAX, u64::MAX - 2)] {
        let dir = scratch();
        with_checkpoint_inside(dir.path(), claimed);
        let spool = open(dir.path());
        assert_eq!(spool.core().figures().waiting_facts, claimed.saturating_add(1), "{claimed}");
        append(&spool, b"goes on").unwrap();
        let mut reader = Reader::new(Arc::clone(spool.core()));
        let (mut seen, mut said) = (0, 0);
        // From the disk, then from memory.
        loop {
            let items = match reader.in_memory(1) {
                Ok(items) => items,
                Err(FromDisk) => reader.next_on_disk().unwrap().into_iter().collect(),
            };
            let Some(item) = items.into_iter().next() else { break };
            seen += usize::from(!matches!(item.content, Unread::Nothing));
            said += item.lost_facts;
            spool.core().acknowledge(item.end);
        }
        assert_eq!((seen, said), (4, lost), "{claimed}");
        let figures = spool.core().figures();
        assert_eq!((figures.waiting_facts, figures.waiting_bytes), (0, 0), "{claimed}");
    }
}

#[test]
fn a_cursor_inside_a_record_counts_from_its_beginning() {
    let dir = scratch();
    let places = written(dir.path(), &LENGTHS);
    let all = texts(&LENGTHS);
    let end = |at: usize| places[at].1.next_multiple_of(8);
    for at in PREFACE..=end(LENGTHS.len() - 1) {
        let copy = crashed(dir.path());
        let file =
            OpenOptions::new().read(true).write(true).open(copy.path().join("cursor")).unwrap();
        let done = (0..LENGTHS.len()).filter(|index| end(*index) <= at).count();
        let bytes = done.checked_sub(1).map_or(0, |last| end(last) - places[0].0) as u64;
        let totals = preface::Totals { facts: done as u64, bytes };
        let position = Position::new(1, u32::try_from(at).unwrap());
        let (mut cursor, _) = cursor::CursorFile::load(file).unwrap();
        cursor.save(&Cursor { position, totals }).unwrap();
        let spool = open(copy.path());
        assert_eq!(spool.core().figures().waiting_facts, (LENGTHS.len() - done) as u64, "{at}");
        let mut reader = Reader::new(Arc::clone(spool.core()));
        let mut seen = Vec::new();
        while let Some(item) = reader.next_on_disk().unwrap() {
            spool.core().acknowledge(item.end);
            if let Unread::Payload(text) = item.content {
                seen.push(text);
            }
        }
        assert_eq!(seen, all[done..], "{at}");
        let figures = spool.core().figures();
        assert_eq!((figures.waiting_facts, figures.waiting_bytes), (0, 0), "{at}");
    }
}
