//! A disk that does not give back what was written, for now or for ever.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;

use super::bytes::{LENGTHS, segment, texts, written};
use super::*;
use crate::spool::window::faults::Bad;

#[test]
fn what_the_disk_does_not_read_is_no_damage_and_is_read_when_it_does() {
    let dir = scratch();
    let places = written(dir.path(), &LENGTHS);
    // Begun anew each time: in the memory of the reader, and found by recovery.
    for recovered in [false, true] {
        for (bad, (start, end)) in places.iter().enumerate() {
            let spool = open(dir.path());
            let mut reader = Reader::new(Arc::clone(spool.core()));
            let fault = Bad::range(&segment(dir.path()), *start as u64..*end as u64);
            let spool = if recovered {
                drop((reader, spool));
                let spool = open(dir.path());
                reader = Reader::new(Arc::clone(spool.core()));
                spool
            } else {
                spool
            };
            let mut seen = 0;
            // A page is the least that a disk reads, and all records lie in one.
            let failed = loop {
                match reader.next_on_disk() {
                    Ok(item) => seen += usize::from(item.is_some()),
                    Err(error) => break error,
                }
            };
            assert_eq!((failed.raw_os_error(), seen), (Some(5), 0), "record {bad}");
            assert!(reader.next_on_disk().is_err(), "and again");
            drop(fault);
            let mut texts_read = Vec::new();
            while let Some(item) = reader.next_on_disk().unwrap() {
                assert_eq!(item.lost_facts, 0);
                if let Unread::Payload(text) = item.content {
                    texts_read.push(text);
                }
            }
            assert_eq!(texts_read, texts(&LENGTHS), "record {bad}, recovered: {recovered}");
            assert_eq!(spool.core().counts.damaged_bytes.load(Ordering::Relaxed), 0);
            let aside = fs::read_dir(dir.path()).unwrap().filter(|entry| {
                entry.as_ref().unwrap().path().extension().is_some_and(|ext| ext == "damaged")
            });
            assert_eq!(aside.count(), 0);
        }
    }
}

#[test]
fn damage_before_what_the_disk_does_not_read_is_damage() {
    let dir = scratch();
    let spool = open(dir.path());
    let all: Vec<_> = (0..12).map(|number| text(number, 500)).collect();
    for text in &all {
        append(&spool, text).unwrap();
    }
    assert!(spool.core().state().waiting.is_empty(), "one segment");
    let file = OpenOptions::new().write(true).open(segment(dir.path())).unwrap();
    // The second record lies in the first page; the second page is not read.
    file.write_all_at(&[0xEE; 10], 900).unwrap();
    let fault = Bad::range(&segment(dir.path()), 4096..8192);
    let mut reader = Reader::new(Arc::clone(spool.core()));
    let mut seen = Vec::new();
    let failed = loop {
        match reader.next_on_disk() {
            Ok(item) => seen.extend(item.map(|item| item.content)),
            Err(error) => break error,
        }
    };
    assert_eq!(failed.raw_os_error(), Some(5));
    let payloads = |seen: Vec<Unread<Vec<u8>>>| -> Vec<Vec<u8>> {
        seen.into_iter()
            .filter_map(|content| match content {
                Unread::Payload(text) => Some(text),
                _ => None,
            })
            .collect()
    };
    let first = payloads(seen);
    assert_eq!(first[0], all[0]);
    assert_eq!(first[1..], all[2..=first.len()], "only one is damaged");
    let damaged = || spool.core().counts.damaged_bytes.load(Ordering::Relaxed);
    assert_eq!(damaged(), 544);
    drop(fault);
    let mut seen = Vec::new();
    while let Some(item) = reader.next_on_disk().unwrap() {
        seen.push(item.content);
    }
    assert_eq!([first.clone(), payloads(seen)].concat().len(), 11);
    assert_eq!(damaged(), 544);
}

#[test]
fn two_files_that_say_the_same_and_cannot_be_read_are_left_alone() {
    let dir = scratch();
    written(dir.path(), &LENGTHS);
    let other = dir.path().join("segment-0005.spool");
    fs::copy(segment(dir.path()), &other).unwrap();
    let names = || {
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let before = names();
    // The preface is read, the records are not.
    let fault = Bad::range(&other, 4096..8192);
    let error = Spool::<Vec<u8>>::open(dir.path(), PLAN, SyncPolicy::Os).err().unwrap();
    assert!(matches!(error, OpenError::Directory { .. }), "{error:?}");
    assert_eq!(names(), before);
    drop(fault);
    assert_eq!(unread(&open(dir.path())), texts(&LENGTHS));
}
