//! What happens to the files of a spool: bits flip, blocks are lost or end up elsewhere, files are cut, gone or
//! there twice. Nothing here makes a checksum right.

use std::collections::{BTreeMap, BTreeSet};

use super::place::File;
use super::scene::Record;

/// Edits of one input.
const EDITS_MAX: usize = 24;
/// Of one file.
const FILE_BYTES_MAX: usize = 192 * 1024;

/// The files of a spool after some edits, eight bytes each: what to do, which file, near which record (0: counted
/// from the beginning of the file), an offset (2), a length (2) and a value. Numbers are little-endian and taken
/// modulo what there is.
///
/// What to do: 0 flip bits of the value, 1 zeros, 2 copy bytes from the file and place that the length names,
/// 3 cut the file, 4 remove it, 5 a second file like it, 6 swap names with the file that the value names, 7 more
/// zeros at its end.
pub(super) struct Damage {
    pub(super) files: Vec<File>,
    /// Records that may be lost.
    pub(super) touched: BTreeSet<usize>,
    /// What waits may take more room than before.
    pub(super) crowds: bool,
    /// What was acknowledged may look as if it was not.
    pub(super) misleads: bool,
    edits: usize,
}

impl Damage {
    pub(super) fn of(files: &[File], records: &[Record], edits: &[u8]) -> Self {
        let mut work = Work {
            files: files.iter().cloned().map(Some).collect(),
            records,
            touched: BTreeSet::new(),
            edited: BTreeSet::new(),
            copies: BTreeMap::new(),
            strangers: BTreeSet::new(),
            grown: false,
        };
        let (edits, _) = edits.as_chunks::<8>();
        for edit in edits.iter().take(EDITS_MAX) {
            work.edit(*edit);
        }
        let is_cursor = |at: &usize| files.get(*at).is_some_and(|file| file.name == "cursor");
        let doubles = !work.copies.is_empty();
        let misleads = work.edited.iter().any(is_cursor);
        let crowds = work.grown || doubles || misleads;
        // Of two files alike either may be believed.
        for file in work.copies.values().filter(|file| work.edited.contains(file)) {
            let inside = records.iter().enumerate().filter(|(_, record)| record.file == *file);
            work.touched.extend(inside.map(|(at, _)| at));
        }
        // With more edits that block may be all that is left of its own file, and is believed.
        for file in work.strangers.iter().filter(|_| edits.len() > 1) {
            let inside = records.iter().enumerate().filter(|(_, record)| record.file == *file);
            work.touched.extend(inside.map(|(at, _)| at));
        }
        let copies = work.copies.iter().map(|(index, file)| (*index, files.get(*file)));
        let copies = copies.filter_map(|(index, file)| {
            Some(File { name: format!("segment-{index:04}.spool"), bytes: file?.bytes.clone() })
        });
        let files = work.files.into_iter().flatten().chain(copies.collect::<Vec<_>>()).collect();
        Self { files, touched: work.touched, crowds, misleads, edits: edits.len() }
    }

    pub(super) fn is_none(&self) -> bool {
        self.edits == 0
    }
}

struct Work<'a> {
    files: Vec<Option<File>>,
    records: &'a [Record],
    touched: BTreeSet<usize>,
    edited: BTreeSet<usize>,
    /// Files of which there is a copy as it was at first, by the number in the copy's name.
    copies: BTreeMap<usize, usize>,
    /// Files into which a block of another file got, at the same place: it looks like their own.
    strangers: BTreeSet<usize>,
    grown: bool,
}

impl Work<'_> {
    fn edit(&mut self, edit: [u8; 8]) {
        let [what, file, near, offset_low, offset_high, length_low, length_high, value] = edit;
        let offset = usize::from(u16::from_le_bytes([offset_low, offset_high]));
        let length = usize::from(u16::from_le_bytes([length_low, length_high]));
        let near = usize::from(near)
            .checked_sub(1)
            .and_then(|at| self.records.get(at % self.records.len().max(1)));
        let (file, at) = match near {
            // From a bit behind the record to far before it.
            Some(record) => (record.file, (record.to + 64).saturating_sub(offset)),
            None => (usize::from(file) % self.files.len().max(1), offset),
        };
        match what % 8 {
            0 => self.change(file, at, 1, |byte| *byte ^= value),
            1 => self.change(file, at, length, |byte| *byte = 0),
            2 => {
                let other = usize::from(value) % self.files.len().max(1);
                let source = self.files.get(other).and_then(Option::as_ref);
                let source = source.map(|file| file.bytes.get(length..).unwrap_or_default());
                let source = source.unwrap_or_default().iter().copied().take(4096);
                let mut source = source.collect::<Vec<u8>>().into_iter();
                let count = source.len();
                if at == length && other != file {
                    self.strangers.insert(file);
                }
                self.change(file, at, count, |byte| *byte = source.next().unwrap_or(*byte));
            }
            3 => self.cut(file, at),
            4 => self.cut(file, 0),
            5 => {
                let is_segment = |file: &File| file.name.starts_with("segment-");
                if self.files.get(file).and_then(Option::as_ref).is_some_and(is_segment) {
                    self.copies.insert(1_000 + self.copies.len(), file);
                }
            }
            6 => self.swap(file, usize::from(value) % self.files.len().max(1)),
            _ => {
                if let Some(Some(file)) = self.files.get_mut(file) {
                    let more = (file.bytes.len() + length).min(FILE_BYTES_MAX);
                    file.bytes.resize(more.max(file.bytes.len()), 0);
                }
                self.edited.insert(file);
                self.grown = true;
            }
        }
    }

    fn change(&mut self, file: usize, at: usize, count: usize, mut how: impl FnMut(&mut u8)) {
        let Some(Some(found)) = self.files.get_mut(file) else { return };
        found.bytes.iter_mut().skip(at).take(count).for_each(&mut how);
        self.touch(file, at, at + count);
    }

    /// All that lies behind `at` is gone; with nothing left the file is, too.
    fn cut(&mut self, file: usize, at: usize) {
        let Some(found) = self.files.get_mut(file) else { return };
        match found {
            Some(found) if at > 0 => found.bytes.truncate(at),
            gone => *gone = None,
        }
        self.touch(file, at, usize::MAX);
    }

    fn swap(&mut self, file: usize, other: usize) {
        let name = |at: usize| Some(self.files.get(at)?.as_ref()?.name.clone());
        let (Some(one), Some(two)) = (name(file), name(other)) else { return };
        // The cursor is not told from a segment by what is in it.
        if !one.starts_with("segment-") || !two.starts_with("segment-") {
            return;
        }
        for (at, name) in [(file, two), (other, one)] {
            if let Some(Some(file)) = self.files.get_mut(at) {
                file.name = name;
            }
        }
    }

    fn touch(&mut self, file: usize, from: usize, to: usize) {
        self.edited.insert(file);
        for (at, record) in self.records.iter().enumerate() {
            if record.file == file && record.from < to && from < record.to {
                self.touched.insert(at);
            }
        }
    }
}
