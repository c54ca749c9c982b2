//! Disks that are full or cannot be written. They are small file systems in memory, which only root can
//! mount; without that the tests say that they were skipped.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use aibridge::facts::Fact;
use ledger::{Health, SyncPolicy, read_all};

use crate::stage::*;

/// A file system of its own.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let disk = Self(dir);
        if disk.run(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]) {
            return Some(disk);
        }
        eprintln!("skipped: a file system can only be mounted by root");
        None
    }

    fn remount(&self, options: &str) {
        assert!(self.run(&["-o", &format!("remount,{options}")]));
    }

    fn run(&self, args: &[&str]) -> bool {
        let mount = Command::new("mount").args(args).arg(self.path()).output();
        mount.is_ok_and(|output| output.status.success())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).output();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_starts_keeps_ends_and_is_taken_up_when_there_is_room() {
    for sync in [SyncPolicy::Os, SyncPolicy::Strict] {
        let Some(disk) = Disk::mount("1500k") else { return };
        let terms = Terms { max_bytes: 16 << 20, sync, ..Terms::of(disk.path()) };
        let stage = terms.open();
        let mut open = 0;
        while stage.append(vec![start(open + 1)]).is_ok() {
            open += 1;
            stage.append(vec![prompt(open, &"x".repeat(3_000))]).unwrap();
        }
        assert!(open > 20, "{open}");
        assert_eq!(stage.ledger.status().health, Health::DiskFull);
        for number in 1..=open {
            stage.record(vec![tokens(number, 3), end(number)]).await;
        }
        assert_eq!(stage.ledger.status().open_interceptions, 0);

        disk.remount("size=64m");
        eventually(|| stage.append(vec![start(1_000)]).is_ok()).await;
        assert_eq!(stage.ledger.status().health, Health::Writable);
        stage.record(rest(1_000)).await;
        let place = Place::new(Mood::Willing);
        stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
        within(stage.ledger.drained()).await;
        let usage = place.facts().iter().filter(|fact| matches!(fact, Fact::Tokens(_))).count();
        assert_eq!(usage as u128, open + 1);
        stage.stop().await;
    }
}

#[tokio::test]
async fn a_disk_that_is_full_at_the_start_is_waited_for() {
    let Some(disk) = Disk::mount("64k") else { return };
    let stage = Terms::of(disk.path()).open();
    assert!(stage.append(vec![start(1)]).is_err());
    assert_eq!(stage.ledger.status().health, Health::DiskFull);
    disk.remount("size=16m");
    eventually(|| stage.append(vec![start(1)]).is_ok()).await;
    stage.record(rest(1)).await;
    stage.stop().await;
    assert_eq!(read_all(disk.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn what_a_read_only_directory_holds_is_shipped_and_taking_goes_on_when_it_can_be_written() {
    let Some(disk) = Disk::mount("64m") else { return };
    let terms = Terms::of(disk.path());
    let stage = terms.open();
    stage.record(vec![start(1)]).await;
    stage.record(rest(1)).await;
    stage.stop().await;

    disk.remount("ro");
    let stage = terms.open();
    assert!(stage.append(vec![start(2)]).is_err());
    assert_eq!(stage.ledger.status().health, Health::ReadOnly);
    assert!(terms.try_open().is_err(), "it is locked all the same");
    let place = Place::new(Mood::Willing);
    stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
    within(stage.ledger.drained()).await;
    assert_eq!(place.facts(), [vec![start(1)], rest(1)].concat());

    disk.remount("rw");
    eventually(|| stage.append(vec![start(3)]).is_ok()).await;
    stage.record(rest(3)).await;
    within(stage.ledger.drained()).await;
    stage.stop().await;
    let stage = terms.open();
    assert_eq!(stage.ledger.status().waiting_facts, 0, "the cursor could be saved again");
    stage.stop().await;
}
