//! Reads a spool without being the one who writes it.
//!
//! Nothing holds the writer up meanwhile: a page may be read before a record is written to it and the next
//! page after, and a file may be removed, or used again for another segment. So what looks like damage is
//! looked at once more, and is none if the file has another preface by then.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;

use crate::spool::claims::{Claims, Role, Unfit, role};
use crate::spool::cursor::{Cursor, CursorFile};
use crate::spool::folder::{CURSOR, segment_files};
use crate::spool::position::Position;
use crate::spool::preface::PREFACE_BYTES;
use crate::spool::record::Kind;
use crate::spool::recover::checkpoint;
use crate::spool::scan::{Found, Scan};
use crate::spool::window::read_full;

/// A record seen from outside.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) position: Position,
    pub(crate) at_micros: i64,
    pub(crate) acknowledged: bool,
    /// Without the keys.
    pub(crate) payload: Vec<u8>,
}

/// The segments of a directory as they were when it was opened. A file that is used again meanwhile just
/// ends: what it held is acknowledged.
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
    /// What its first bytes were when the number was found out.
    preface: [u8; PREFACE_BYTES as usize],
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
        let mut claims = Claims::new(|part: &Part| (&part.file, part.bytes));
        for (_, path) in segment_files(dir)? {
            let file = match File::open(path) {
                Ok(file) => file,
                // Removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let bytes = u32::try_from(file.metadata()?.len()).unwrap_or(u32::MAX);
            let preface = first_bytes(&file)?;
            match role(&file, bytes) {
                Ok(Role::Numbered(number)) => {
                    claims.add(number, Part { number, file, preface, end: None, bytes })?;
                }
                Ok(Role::Blank | Role::Junk) => {}
                Err(Unfit::Read(error)) => return Err(error),
                Err(Unfit::Format(version)) => {
                    let text = format!("the spool is in format {version}, which is not known here");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
            }
        }
        let numbered = |(number, part)| Part { number, ..part };
        let mut parts: Vec<Part> = claims.into_sorted().map(numbered).collect();
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
            match part.step(scan) {
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

impl Part {
    /// The next record or what is really damage, if there is more.
    fn step(&self, scan: &mut Scan) -> Option<Found> {
        let limit = self.end.unwrap_or(self.bytes);
        let mark = scan.mark();
        let found = scan.next(&self.file, limit, self.end.is_some());
        let Some(Found::Damage { .. }) = found else { return found };
        // What comes behind it is there, so what comes before was written by now.
        scan.look_again(mark);
        let again = scan.next(&self.file, limit, self.end.is_some());
        if let Some(Found::Damage { .. }) = again
            && first_bytes(&self.file).is_ok_and(|bytes| bytes != self.preface)
        {
            return None;
        }
        again
    }
}

/// The first bytes of a file, zeros behind its end.
fn first_bytes(file: &File) -> io::Result<[u8; PREFACE_BYTES as usize]> {
    let mut bytes = [0; PREFACE_BYTES as usize];
    read_full(file, &mut bytes, 0)?;
    Ok(bytes)
}
