//! Files that are removed, and a machine that crashes right after.

use std::fs;

use super::*;
use crate::spool::faults::Bad;

/// Ships everything that is waiting.
fn acknowledge_all(spool: &Spool<Vec<u8>>) {
    let mut reader = Reader::new(Arc::clone(spool.core()));
    while let Some(item) = reader.next_on_disk().unwrap() {
        spool.core().acknowledge(item.end);
    }
}

/// What a spool would count as lost that is opened after the machine has crashed: all files are as they are,
/// the cursor is as it was synced.
fn lost_with(dir: &Path, cursor: &[u8]) -> u64 {
    let copy = crashed(dir);
    fs::write(copy.path().join("cursor"), cursor).unwrap();
    let (spool, findings) = Spool::<Vec<u8>>::open(copy.path(), PLAN, SyncPolicy::Os).unwrap();
    let mut reader = Reader::new(Arc::clone(spool.core()));
    let mut lost = findings.missing_facts;
    while let Some(item) = reader.next_on_disk().unwrap() {
        lost += item.lost_facts;
    }
    let damaged = spool.core().counts.damaged_bytes.load(Ordering::Relaxed);
    assert_eq!(damaged, 0);
    lost
}

/// How a file comes to be of no use.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// More were used in a burst than are kept.
    Surplus,
    /// It is of another size.
    Large,
    /// A record of another size needs its room.
    RoomForLarge,
    /// The disk failed while it was written.
    Spoiled,
    /// The disk failed, and room is needed to find out whether it is well.
    Proof,
    /// The process before has shipped it.
    Left,
}

#[test]
fn no_file_goes_before_the_cursor_that_passed_it_is_durable() {
    use Way::*;
    for way in [Surplus, Large, RoomForLarge, Spoiled, Proof, Left] {
        let dir = scratch();
        let mut spool = open(dir.path());
        append(&spool, &text(0, 100)).unwrap();
        acknowledge_all(&spool);
        spool.core().state().sync_cursor().unwrap();
        let synced = fs::read(dir.path().join("cursor")).unwrap();
        let fault = Bad::sync(&dir.path().join("cursor"));
        let large = matches!(way, Large | Left);
        for number in 1..=60 {
            let taken = append(&spool, &text(number, if large { 9_000 } else { 1_000 }));
            // Room that only a durable cursor frees is none.
            assert!(taken.is_ok() || (large && number > 3), "{way:?}: {number}");
            if large {
                acknowledge_all(&spool);
            }
        }
        if matches!(way, Spoiled) {
            spool.core().state().abandon_active();
        }
        acknowledge_all(&spool);
        match way {
            Surplus | Large | Spoiled => {}
            RoomForLarge => drop(append(&spool, &text(99, 40_000))),
            Proof => {
                let files = spool.core().figures();
                assert!(files.kept_segments > 0, "{files:?}");
                spool.core().state().abandon_active();
                drop(spool.core().prepare());
            }
            Left => {
                drop(spool);
                spool = open(dir.path());
            }
        }
        for _ in 0..20 {
            spool.core().tidy();
        }
        assert_eq!(lost_with(dir.path(), &synced), 0, "{way:?}");

        let before = spool.core().figures().disk_bytes;
        drop(fault);
        for _ in 0..20 {
            spool.core().tidy();
        }
        assert!(spool.core().state().spent.is_empty(), "{way:?}");
        let synced = fs::read(dir.path().join("cursor")).unwrap();
        assert_eq!(lost_with(dir.path(), &synced), 0, "{way:?}");
        let after = spool.core().figures().disk_bytes;
        assert!(after < before || matches!(way, Proof), "{way:?}: {after} of {before}");
        let files = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap());
        let files = files.filter(|file| file.path().extension().is_some_and(|ext| ext == "spool"));
        let bytes: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
        assert_eq!(bytes, after, "{way:?}");
    }
}
