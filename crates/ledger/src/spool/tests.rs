//! Tests of the spool that need to see or set what its users cannot: sizes, files, failures of the disk.

mod bytes;
mod discards;
mod faults;
mod forged;
mod histories;
mod late;
mod outside;
mod unread;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;

/// Small segments, so that little data fills many.
pub(super) const PLAN: Plan = Plan {
    segment_bytes: 8 * 1024,
    segments_bytes: 12 * 8 * 1024,
    aside_bytes: 2 * 8 * 1024,
    refused_bytes: 4096,
    kept: 2,
    reserve_bytes: 256,
};

pub(super) fn open_with(dir: &Path, plan: Plan, sync: SyncPolicy) -> Spool<Vec<u8>> {
    Spool::open(dir, plan, sync).unwrap().0
}

/// A directory, in memory where there is one: thousands of spools are opened here, each with syncs.
pub(super) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Without threads: nothing happens but what a test does.
pub(super) fn open(dir: &Path) -> Spool<Vec<u8>> {
    open_with(dir, PLAN, SyncPolicy::Os)
}

/// A record that opens and closes keys.
pub(super) fn frame(text: &[u8], opens: &[u128], closes: &[u128]) -> Frame {
    let mut frame = Frame::default();
    frame.opens.extend(opens);
    frame.closes.extend(closes);
    frame.begin().extend_from_slice(text);
    assert!(frame.finish(Kind::Facts, 1, 7));
    frame
}

pub(super) fn append(spool: &Spool<Vec<u8>>, text: &[u8]) -> Result<Taken, Refusal> {
    let mut frame = frame(text, &[], &[]);
    let taken = spool.core().append(&mut frame, Class::Ordinary, text.to_vec());
    taken.map_err(|(refusal, _)| refusal)
}

/// Everything that is not acknowledged, from the disk alone.
pub(super) fn unread(spool: &Spool<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut reader = Reader::new(Arc::clone(spool.core()));
    let mut out = Vec::new();
    while let Some(item) = reader.next_on_disk().unwrap() {
        if let Unread::Payload(text) = item.content {
            out.push(text);
        }
    }
    out
}

/// A text that tells its number and has some length.
pub(super) fn text(number: usize, bytes: usize) -> Vec<u8> {
    let mut text = format!("{number:06} ").into_bytes();
    text.resize(text.len() + bytes, b'a' + u8::try_from(number % 26).unwrap());
    text
}

/// The directory as it is at this moment, as a crash would leave it.
pub(super) fn crashed(dir: &Path) -> tempfile::TempDir {
    let copy = scratch();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// Waits until `done` says so.
pub(super) fn eventually(mut done: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if done() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("it took too long");
}
