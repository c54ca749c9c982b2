//! A disk that fails.

use std::sync::atomic::AtomicUsize;

use super::*;

/// Counts syncs.
#[derive(Default)]
struct Syncs(AtomicUsize);

impl Observer for Syncs {
    fn synced(&self, _: Duration, failed: bool) {
        self.0.fetch_add(if failed { 1_000 } else { 1 }, Ordering::SeqCst);
    }
    fn tick(&self) {}
}

fn strict(dir: &Path) -> (Spool<Vec<u8>>, Arc<Syncs>) {
    let spool = open_with(dir, PLAN, SyncPolicy::Strict);
    let syncs = Arc::new(Syncs::default());
    spool.start(Arc::clone(&syncs) as Arc<dyn Observer>).unwrap();
    (spool, syncs)
}

async fn durable(taken: Taken) -> bool {
    taken.synced.expect("the policy is strict").await
}

#[tokio::test]
async fn many_who_wait_share_a_sync() {
    let dir = scratch();
    let (spool, syncs) = strict(dir.path());
    let mut waiting = Vec::new();
    for number in 0..60 {
        waiting.push(durable(append(&spool, &text(number, 10)).unwrap()));
    }
    assert!(futures_util::future::join_all(waiting).await.into_iter().all(|durable| durable));
    let syncs = syncs.0.load(Ordering::SeqCst);
    assert!(syncs < 30, "{syncs}");
}

#[tokio::test]
async fn what_nobody_waits_for_is_synced_soon() {
    let dir = scratch();
    let (spool, _) = strict(dir.path());
    let taken = append(&spool, b"one").unwrap();
    let end = spool.core().state().last;
    eventually(|| spool.core().horizon() >= end);
    assert!(durable(taken).await);
}

#[tokio::test]
async fn a_sync_that_fails_is_told_and_never_repeated_on_that_file() {
    let dir = scratch();
    let (spool, _) = strict(dir.path());
    assert!(durable(append(&spool, b"before").unwrap()).await);
    let bad = {
        let state = spool.core().state();
        let slot = Arc::clone(&state.active.as_ref().unwrap().segment.slot);
        slot.sync_fails.store(true, Ordering::Relaxed);
        slot
    };
    let lost = append(&spool, b"lost").unwrap();
    let late = append(&spool, b"late");
    assert!(!durable(lost).await);
    if let Ok(late) = late {
        assert!(!durable(late).await, "in the same file");
    }
    // A fresh file has to prove itself first; then all goes on in another one.
    let mut next = append(&spool, b"after");
    eventually(|| {
        if next.is_err() {
            next = append(&spool, b"after");
        }
        next.is_ok()
    });
    assert!(durable(next.ok().unwrap()).await);
    assert_eq!(spool.core().figures().health, Health::Writable);
    let used = Arc::clone(&spool.core().state().active.as_ref().unwrap().segment.slot);
    assert!(!Arc::ptr_eq(&bad, &used));

    // What was appended is shipped all the same, as far as it can be read, and then the file is given up.
    let seen = unread(&spool);
    assert_eq!(seen.first().unwrap(), b"before");
    assert_eq!(seen.last().unwrap(), b"after");
    let mut reader = Reader::new(Arc::clone(spool.core()));
    while let Some(item) = reader.next_on_disk().unwrap() {
        spool.core().acknowledge(item.end);
    }
    spool.core().tidy();
    let file = format!("segment-{:04}.spool", bad.index);
    assert!(!dir.path().join(file).exists());
}

#[tokio::test]
async fn those_who_wait_are_told_when_the_spool_is_closed() {
    let dir = scratch();
    let (spool, _) = strict(dir.path());
    let taken = append(&spool, b"last").unwrap();
    let closing = tokio::task::spawn_blocking(move || {
        spool.close();
        spool
    });
    assert!(durable(taken).await);
    let spool = closing.await.unwrap();
    assert_eq!(append(&spool, b"too late").err(), Some(Refusal::Closed));
}

#[test]
fn a_file_that_the_disk_does_not_read_is_named_and_nothing_is_changed() {
    let dir = scratch();
    let spool = open(dir.path());
    append(&spool, b"before").unwrap();
    drop(spool);
    // Reading a directory fails as reading from a bad disk does.
    let bad = dir.path().join("segment-0009.spool");
    std::fs::create_dir(&bad).unwrap();
    let error = Spool::<Vec<u8>>::open(dir.path(), PLAN, SyncPolicy::Os).err().unwrap();
    assert!(matches!(error, OpenError::File { .. }), "{error:?}");
    assert!(error.to_string().contains("segment-0009.spool"), "{error}");
    assert!(bad.is_dir());
    assert!(Outside::open(dir.path()).is_err());
    std::fs::remove_dir(&bad).unwrap();
    assert_eq!(unread(&open(dir.path())), [b"before"]);
}

#[tokio::test]
async fn names_of_files_from_before_are_synced_with_the_first_record() {
    let dir = scratch();
    let nested = dir.path().join("made").join("here");
    drop(open(&nested));
    let spool = open_with(&nested, PLAN, SyncPolicy::Strict);
    assert!(spool.core().state().names_unsynced);
    let taken = append(&spool, b"one").unwrap();
    spool.start(Arc::new(Syncs::default())).unwrap();
    assert!(durable(taken).await);
    assert!(!spool.core().state().names_unsynced);
}

#[test]
fn what_holds_no_records_is_put_aside_whole_and_never_over_another() {
    let dir = scratch();
    for number in 0..3_u8 {
        std::fs::write(dir.path().join("segment-0000.spool"), [b'x', number].repeat(2_000))
            .unwrap();
        drop(open(dir.path()));
    }
    for number in 0..3_u8 {
        let aside = std::fs::read(dir.path().join(format!("file-0000-{number}.damaged"))).unwrap();
        assert_eq!(aside, [b'x', number].repeat(2_000));
    }
}

#[test]
fn a_cursor_that_is_ahead_of_the_records_hides_none_of_those_to_come() {
    let dir = scratch();
    let spool = open(dir.path());
    append(&spool, b"shipped, but not on the disk when the power went").unwrap();
    let behind = crashed(dir.path());
    let mut reader = Reader::new(Arc::clone(spool.core()));
    append(&spool, b"the same").unwrap();
    while let Some(item) = reader.next_on_disk().unwrap() {
        spool.core().acknowledge(item.end);
    }
    drop(spool);
    std::fs::copy(dir.path().join("cursor"), behind.path().join("cursor")).unwrap();
    let spool = open(behind.path());
    assert_eq!(unread(&spool), Vec::<Vec<u8>>::new());
    append(&spool, b"new").unwrap();
    drop(spool);
    assert_eq!(unread(&open(behind.path())), [b"new"]);
}
