//! Random histories, crashes among them, against a plain list.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Append a record of about so many bytes.
    Append(usize),
    /// Open a key with a record.
    Open,
    /// Close the oldest open key.
    Close,
    /// Read and acknowledge so many records.
    Acknowledge(usize),
    /// Go on with what the disk holds at this moment.
    Crash,
    /// End in good order and begin anew.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..1_200_usize).prop_map(Step::Append),
        1 => (9_000..20_000_usize).prop_map(Step::Append),
        2 => Just(Step::Open),
        2 => Just(Step::Close),
        4 => (0..12_usize).prop_map(Step::Acknowledge),
        1 => Just(Step::Crash),
        1 => Just(Step::Restart),
    ]
}

/// A spool, and what it must hold.
struct Twin {
    dir: tempfile::TempDir,
    spool: Spool<Vec<u8>>,
    reader: Reader<Vec<u8>>,
    waiting: std::collections::VecDeque<Vec<u8>>,
    open: Vec<u128>,
    made: usize,
}

impl Twin {
    fn new(dir: tempfile::TempDir) -> Self {
        let spool = open(dir.path());
        let reader = Reader::new(Arc::clone(spool.core()));
        let (waiting, open) = Default::default();
        Self { dir, spool, reader, waiting, open, made: 0 }
    }

    fn append(&mut self, bytes: usize, opens: &[u128], closes: &[u128]) -> bool {
        self.made += 1;
        let text = text(self.made, bytes);
        let mut frame = frame(&text, opens, closes);
        let class = if closes.is_empty() { Class::Ordinary } else { Class::Reserved };
        let taken = self.spool.core().append(&mut frame, class, text.clone()).is_ok();
        if taken {
            self.waiting.push_back(text);
        }
        taken
    }

    /// Reads on, from memory or disk as it comes.
    fn next(&mut self) -> Option<Item<Vec<u8>>> {
        match self.reader.in_memory(1) {
            Ok(mut items) => items.pop(),
            Err(FromDisk) => self.reader.next_on_disk().unwrap(),
        }
    }

    fn acknowledge(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            let Some(item) = self.next() else { break };
            assert_eq!(item.lost_facts, 0);
            let text = match item.content {
                Unread::Value(text) | Unread::Payload(text) => {
                    left -= 1;
                    Some(text)
                }
                Unread::Nothing => None,
            };
            self.spool.core().acknowledge(item.end);
            // A payload comes without its keys, a value never had them.
            if let Some(text) = text {
                assert_eq!(Some(text), self.waiting.pop_front());
            }
        }
    }

    fn go_on_in(self, dir: tempfile::TempDir) -> Self {
        let Self { dir: old, spool, reader, waiting, open: keys, made } = self;
        drop((spool, reader, old));
        Self { waiting, open: keys, made, ..Self::new(dir) }
    }

    fn restart(self) -> Self {
        let Self { dir, spool, reader, waiting, open: keys, made } = self;
        drop((spool, reader));
        Self { waiting, open: keys, made, ..Self::new(dir) }
    }

    fn check(&self) {
        let mut open = self.open.clone();
        open.sort_unstable();
        assert_eq!(self.spool.core().open_keys(), open);
        let figures = self.spool.core().figures();
        assert_eq!(figures.waiting_facts, self.waiting.len() as u64);
        assert!(figures.disk_bytes <= PLAN.segments_bytes, "{figures:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_doubled_or_reordered(steps in proptest::collection::vec(step(), 1..120)) {
        let mut twin = Twin::new(scratch());
        for step in steps {
            match step {
                Step::Append(bytes) => {
                    twin.append(bytes, &[], &[]);
                }
                Step::Open => {
                    let key = 1_000 + twin.made as u128;
                    if twin.append(20, &[key], &[]) {
                        twin.open.push(key);
                    }
                }
                Step::Close if twin.open.is_empty() => {}
                Step::Close => {
                    let key = twin.open.remove(0);
                    // For this room was reserved.
                    prop_assert!(twin.append(100, &[], &[key]));
                }
                Step::Acknowledge(count) => twin.acknowledge(count),
                Step::Crash => {
                    let copy = crashed(twin.dir.path());
                    twin = twin.go_on_in(copy);
                }
                Step::Restart => twin = twin.restart(),
            }
            twin.check();
        }
        twin.acknowledge(usize::MAX);
        twin.check();
        prop_assert!(twin.waiting.is_empty());
    }
}

#[test]
fn a_spool_that_is_kept_empty_uses_its_files_again_for_ever() {
    let mut twin = Twin::new(scratch());
    for _ in 0..2_000 {
        assert!(twin.append(700, &[], &[]));
        twin.acknowledge(1);
    }
    let figures = twin.spool.core().figures();
    assert!(figures.disk_bytes <= 6 * 8 * 1024, "{figures:?}");
    twin = twin.restart();
    assert!(twin.append(700, &[], &[]));
    twin.check();
    assert!(twin.spool.core().state().next_number > 100);
}
