//! The file that says up to where everything is acknowledged. It has two slots, at 0 and at 4096, written in
//! turn; the sound one with the higher count of saves is valid. None: nothing is acknowledged. All numbers are
//! little-endian.
//!
//! | bytes of a slot | what |
//! | --- | --- |
//! | 0..8 | `AIGWCUR` and a line feed |
//! | 8..16 | saves so far, this one included; an odd one is in the second slot |
//! | 16..24 | position: offset in the segment, and its number in the upper half |
//! | 24..32 | facts before it, since the beginning of the spool |
//! | 32..40 | bytes of their records |
//! | 40..60 | zeros |
//! | 60..64 | CRC-32 of bytes 0..60 |

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use crate::spool::bytes::{put, u32_at, u64_at};
use crate::spool::position::Position;
use crate::spool::preface::Totals;
use crate::spool::window::read_full;

const MAGIC: &[u8; 8] = b"AIGWCUR\n";
const SLOT_BYTES: usize = 64;
/// The two slots lie in sectors of their own: a write that is cut short harms one of them.
const SLOT_STRIDE: u64 = 4096;

/// Up to where everything is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) position: Position,
    /// What lies before it.
    pub(crate) totals: Totals,
}

/// The file that keeps a [`Cursor`]. What it says may be older than the truth, never newer.
#[derive(Debug)]
pub(crate) struct CursorFile {
    file: Arc<File>,
    saves: u64,
    /// Whether the last one failed.
    behind: bool,
}

impl CursorFile {
    /// What the file says; the beginning when it says nothing.
    pub(crate) fn load(file: File) -> io::Result<(Self, Cursor)> {
        let mut newest = (0, Cursor::default());
        for slot in 0..2 {
            let mut bytes = [0; SLOT_BYTES];
            read_full(&file, &mut bytes, slot * SLOT_STRIDE)?;
            if let Some((saves, cursor)) = decode(&bytes)
                && saves > newest.0
            {
                newest = (saves, cursor);
            }
        }
        let (saves, cursor) = newest;
        Ok((Self { file: Arc::new(file), saves, behind: false }, cursor))
    }

    /// Whether nothing was ever saved, or all of it is lost.
    pub(crate) const fn is_new(&self) -> bool {
        self.saves == 0
    }

    /// Overwrites the older slot. Survives the process at once, the machine after [`sync`].
    pub(crate) fn save(&mut self, cursor: &Cursor) -> io::Result<()> {
        let saves = self.saves.saturating_add(1);
        self.behind = true;
        self.file.write_all_at(&encode(saves, cursor), saves % 2 * SLOT_STRIDE)?;
        self.saves = saves;
        self.behind = false;
        Ok(())
    }

    /// Whether the file says less than was last to be saved.
    pub(crate) const fn is_behind(&self) -> bool {
        self.behind
    }

    /// Goes on in a file that was opened anew.
    pub(crate) fn replace(&mut self, file: File) {
        self.file = Arc::new(file);
    }

    /// What has to be [synced](sync) for the last [`Self::save`] to survive the machine.
    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }
}

/// Makes what was saved survive the machine.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    #[cfg(test)]
    crate::spool::faults::check_sync(file)?;
    file.sync_data()
}

fn encode(saves: u64, cursor: &Cursor) -> [u8; SLOT_BYTES] {
    let mut out = [0; SLOT_BYTES];
    put(&mut out, 0, MAGIC);
    put(&mut out, 8, &saves.to_le_bytes());
    put(&mut out, 16, &cursor.position.bits().to_le_bytes());
    put(&mut out, 24, &cursor.totals.facts.to_le_bytes());
    put(&mut out, 32, &cursor.totals.bytes.to_le_bytes());
    let crc = crc32fast::hash(out.get(..60).unwrap_or_default());
    put(&mut out, 60, &crc.to_le_bytes());
    out
}

fn decode(bytes: &[u8; SLOT_BYTES]) -> Option<(u64, Cursor)> {
    let covered = bytes.get(..60).unwrap_or_default();
    (bytes.starts_with(MAGIC) && u32_at(bytes, 60) == crc32fast::hash(covered)).then(|| {
        let totals = Totals { facts: u64_at(bytes, 24), bytes: u64_at(bytes, 32) };
        (u64_at(bytes, 8), Cursor { position: Position::from_bits(u64_at(bytes, 16)), totals })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(offset: u32) -> Cursor {
        let totals = Totals { facts: offset.into(), bytes: 8 };
        Cursor { position: Position::new(2, offset), totals }
    }

    #[test]
    fn the_newest_sound_slot_counts() {
        let file = tempfile::tempfile().unwrap();
        let load = || CursorFile::load(file.try_clone().unwrap()).unwrap();
        assert_eq!(load().1, Cursor::default());
        for offset in [64, 128, 192] {
            load().0.save(&cursor(offset)).unwrap();
            assert_eq!(load().1, cursor(offset));
        }
        // The third save stands in the second slot; damage to it leaves the second save.
        file.write_all_at(&[0xFF], SLOT_STRIDE + 20).unwrap();
        assert_eq!(load().1, cursor(128));
        file.write_all_at(&[0xFF], 20).unwrap();
        assert_eq!(load().1, Cursor::default());
    }

    #[test]
    fn a_save_that_was_cut_short_anywhere_leaves_the_one_before() {
        let file = tempfile::tempfile().unwrap();
        let (mut saved, _) = CursorFile::load(file.try_clone().unwrap()).unwrap();
        saved.save(&cursor(64)).unwrap();
        let next = encode(2, &cursor(128));
        for cut in 0..SLOT_BYTES {
            file.write_all_at(&[0; SLOT_BYTES], 0).unwrap();
            file.write_all_at(&next[..cut], 0).unwrap();
            let (_, seen) = CursorFile::load(file.try_clone().unwrap()).unwrap();
            assert_eq!(seen, cursor(64), "cut at {cut}");
        }
    }
}
