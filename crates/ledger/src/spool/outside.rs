//! Reads a spool without being the one who writes it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;

use crate::spool::claims::{Claims, Role, Unfit, role};
use crate::spool::cursor::{Cursor, CursorFile};
use crate::spool::folder::{CURSOR, segment_files};
use crate::spool::position::Position;
use crate::spool::record::Kind;
use crate::spool::recover::checkpoint;
use crate::spool::scan::{Found, Scan};

/// A record seen from outside.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) position: Position,
    pub(crate) at_micros: i64,
    pub(crate) acknowledged: bool,
    /// Without the keys.
    pub(crate) payload: Vec<u8>,
}

/// The segments of a directory as they were when it was opened. A file that is used again meanwhile holds
/// no more records of its old number, so it just ends.
#[derive(Debug)]
pub(crate) struct Outside {
    cursor: Cursor,
    files: VecDeque<Part>,
    scan: Option<Scan>,
}

#[derive(Debug)]
struct Part {
    number: u32,
    file: File,
    /// Where its records end, if that is known.
    end: Option<u32>,
    bytes: u32,
}

impl Outside {
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        // First, so that what counts as acknowledged is not more than what is in the files.
        let cursor = match File::open(dir.join(CURSOR)) {
            Ok(file) => CursorFile::load(file)?.1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Cursor::default(),
            Err(error) => return Err(error),
        };
        let mut claims = Claims::new(|(file, bytes): &(File, u32)| (file, *bytes));
        for (_, path) in segment_files(dir)? {
            let file = match File::open(path) {
                Ok(file) => file,
                // Removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let bytes = u32::try_from(file.metadata()?.len()).unwrap_or(u32::MAX);
            match role(&file, bytes) {
                Ok(Role::Numbered(number)) => {
                    claims.add(number, (file, bytes));
                }
                Ok(Role::Blank | Role::Junk) => {}
                Err(Unfit::Read(error)) => return Err(error),
                Err(Unfit::Format(version)) => {
                    let text = format!("the spool is in format {version}, which is not known here");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
            }
        }
        let part = |(number, (file, bytes))| Part { number, file, end: None, bytes };
        let mut parts: Vec<Part> = claims.into_sorted().map(part).collect();
        let previous: Vec<_> = parts
            .iter()
            .filter_map(|part| checkpoint(&part.file, part.number, part.bytes))
            .map(|checkpoint| checkpoint.previous)
            .collect();
        for part in &mut parts {
            let end = previous.iter().find(|end| end.segment() == part.number);
            part.end = end.map(|end| end.offset()).filter(|end| *end <= part.bytes);
        }
        Ok(Self { cursor, files: parts.into(), scan: None })
    }

    /// The next record of facts; adds to `damaged` what should have been one on the way.
    pub(crate) fn next_record(&mut self, damaged: &mut u64) -> Option<Seen> {
        loop {
            let part = self.files.front()?;
            let scan = self.scan.get_or_insert_with(|| Scan::new(Some(part.number), part.bytes));
            let limit = part.end.unwrap_or(part.bytes);
            match scan.next(&part.file, limit, part.end.is_some()) {
                None => {
                    self.scan = None;
                    self.files.pop_front();
                }
                Some(Found::Damage { bytes, .. }) => *damaged += u64::from(bytes),
                Some(Found::Record { header, end, .. }) if header.kind == Kind::Facts => {
                    let payload = scan.payload(&part.file, &header, end);
                    let payload =
                        payload.get(header.key_bytes().unwrap_or(0)..).unwrap_or_default();
                    let position = Position::new(part.number, end);
                    return Some(Seen {
                        position,
                        at_micros: header.at_micros,
                        acknowledged: position <= self.cursor.position,
                        payload: payload.to_vec(),
                    });
                }
                Some(Found::Record { .. }) => {}
            }
        }
    }
}
