//! Reading a spool that another process writes to.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::AtomicBool;

use super::bytes::{LENGTHS, segment, texts, written};
use super::*;

/// What is still to be seen, and the bytes that count as damaged.
fn rest(mut outside: Outside) -> (Vec<Vec<u8>>, u64) {
    let mut damaged = 0;
    let mut seen = Vec::new();
    while let Some(record) = outside.next_record(&mut damaged) {
        seen.push(record.payload);
    }
    (seen, damaged)
}

/// Ships everything.
fn acknowledge_all(spool: &Spool<Vec<u8>>) {
    let mut reader = Reader::new(Arc::clone(spool.core()));
    while let Some(item) = reader.next_on_disk().unwrap() {
        spool.core().acknowledge(item.end);
    }
}

#[test]
fn a_file_that_is_used_again_meanwhile_just_ends() {
    let dir = scratch();
    let spool = open(dir.path());
    for number in 0..40 {
        append(&spool, &text(number, 500)).unwrap();
    }
    acknowledge_all(&spool);
    let outside = Outside::open(dir.path()).unwrap();
    let (before, _) = rest(Outside::open(dir.path()).unwrap());
    // All files that there may be, and then those that were read.
    for number in 40..400 {
        append(&spool, &text(number, 500)).unwrap();
        acknowledge_all(&spool);
    }
    let (seen, damaged) = rest(outside);
    assert_eq!(damaged, 0);
    assert!(seen.len() < before.len(), "{} of {}: none was used again", seen.len(), before.len());
}

#[test]
fn a_file_that_is_removed_meanwhile_is_read_to_its_end() {
    let dir = scratch();
    written(dir.path(), &LENGTHS);
    let outside = Outside::open(dir.path()).unwrap();
    fs::remove_file(segment(dir.path())).unwrap();
    assert_eq!(rest(outside), (texts(&LENGTHS), 0));
}

#[test]
fn a_record_that_was_read_before_it_was_whole_is_read_again() {
    let dir = scratch();
    let places = written(dir.path(), &LENGTHS);
    let (start, end) = places[3];
    let whole = fs::read(segment(dir.path())).unwrap();
    let file = OpenOptions::new().write(true).open(segment(dir.path())).unwrap();
    for (whole_again, want, lost) in [
        (true, texts(&LENGTHS), 0),
        (false, [&texts(&LENGTHS)[..3], &texts(&LENGTHS)[4..]].concat(), 32 + 24),
    ] {
        // The record behind it is there: as if the first page had been read before both were written.
        file.write_all_at(&vec![0; end - start], start as u64).unwrap();
        let mut outside = Outside::open(dir.path()).unwrap();
        let mut damaged = 0;
        let first = outside.next_record(&mut damaged).unwrap();
        assert_eq!((first.payload, damaged), (texts(&LENGTHS)[0].clone(), 0));
        if whole_again {
            file.write_all_at(&whole[start..end], start as u64).unwrap();
        }
        assert_eq!(rest(outside), (want[1..].to_vec(), lost), "whole again: {whole_again}");
    }
}

#[test]
fn damage_that_stays_is_told_in_full_and_in_used_segments() {
    let dir = scratch();
    let spool = open(dir.path());
    for number in 0..40 {
        append(&spool, &text(number, 500)).unwrap();
    }
    drop(spool);
    let file = |index: u32| {
        let path = dir.path().join(format!("segment-{index:04}.spool"));
        OpenOptions::new().read(true).write(true).open(path).unwrap()
    };
    let (all, damaged) = rest(Outside::open(dir.path()).unwrap());
    assert_eq!((all.len(), damaged), (40, 0));
    // In the middle of a full segment, at the end of another, and what identifies a third.
    let outside = Outside::open(dir.path()).unwrap();
    file(0).write_all_at(&[0xEE; 300], 3_000).unwrap();
    zero_last_record(&file(1));
    let (seen, damaged) = rest(outside);
    assert_eq!((seen.len(), damaged), (38, 2 * 544), "two records of 32 + 507 bytes, padded");
    file(2).write_all_at(&[0; bytes::PREFACE], 0).unwrap();
    file(2).write_all_at(&[0xEE; 10], 3_000).unwrap();
    let (seen, damaged) = rest(Outside::open(dir.path()).unwrap());
    assert_eq!((seen.len(), damaged), (37, 3 * 544));
}

/// Overwrites the beginning of the last record of a full segment.
fn zero_last_record(file: &File) {
    let mut scan = scan::Scan::new(None, 8 * 1024);
    let mut last = 0;
    while let Some(scan::Found::Record { offset, .. }) = scan.next(file, 8 * 1024, false) {
        last = offset;
    }
    file.write_all_at(&[0; 40], last.into()).unwrap();
}

#[test]
fn a_spool_in_use_shows_no_damage() {
    let dir = scratch();
    let spool = open(dir.path());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                append(&spool, &text(number, number * 37 % 900)).unwrap();
                if number % 5 == 0 {
                    acknowledge_all(&spool);
                }
            }
        });
        let appends = || spool.core().counts.appends.load(Ordering::Relaxed);
        for look in 0..400 {
            let outside = Outside::open(dir.path()).unwrap();
            let until = appends() + look % 100;
            eventually(|| appends() >= until);
            let (_, damaged) = rest(outside);
            if damaged > 0 {
                stop.store(true, Ordering::Relaxed);
            }
            assert_eq!(damaged, 0);
        }
        stop.store(true, Ordering::Relaxed);
    });
}
