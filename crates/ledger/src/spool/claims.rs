//! Which file is which segment.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use crate::spool::preface::{PREFACE_BYTES, Preface};
use crate::spool::scan::{Found, Scan};
use crate::spool::window::read_full;

/// Numbers that a file is tried under before it is given up.
const TRIES_MAX: usize = 4;

/// A file and what it is.
pub(crate) enum Role {
    /// Holds, or held, the segment of this number.
    Numbered(u32),
    /// Was never used.
    Blank,
    /// Holds nothing that can be read, but is not empty.
    Junk,
}

/// Why a file has no role.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// It is of another format.
    Format(u32),
    /// The disk failed, so that nothing is known of what it holds.
    Read(io::Error),
}

/// What `file` is, by its beginning or else by its records.
///
/// # Errors
/// See [`Unfit`].
pub(crate) fn role(file: &File, bytes: u32) -> Result<Role, Unfit> {
    let mut head = [0; PREFACE_BYTES as usize];
    let read = read_full(file, &mut head, 0).map_err(Unfit::Read)?;
    let preface = Preface::decode(head.get(..read).unwrap_or_default());
    match preface {
        Preface::Numbered(number) => return Ok(Role::Numbered(number)),
        Preface::Foreign(version) => return Err(Unfit::Format(version)),
        Preface::Blank | Preface::Unreadable => {}
    }
    Ok(match newest(file, bytes, None).map_err(Unfit::Read)? {
        Some(number) => Role::Numbered(number),
        None if preface == Preface::Blank => Role::Blank,
        None => Role::Junk,
    })
}

/// The highest number of a record in a file, but for one. Records of an earlier use have a lower number.
fn newest(file: &File, bytes: u32, except: Option<u32>) -> io::Result<Option<u32>> {
    let mut scan = Scan::new(None, bytes);
    let mut newest = None;
    while let Some(found) = scan.next(file, bytes, false) {
        if let Found::Record { number, .. } = found
            && Some(number) != except
        {
            newest = newest.max(Some(number));
        }
    }
    scan.take_error(u32::MAX).map_or(Ok(newest), Err)
}

/// Where the last record of a segment ends in a file.
fn reach(file: &File, bytes: u32, number: u32) -> io::Result<u32> {
    let mut scan = Scan::new(Some(number), bytes);
    let mut reach = 0;
    while let Some(found) = scan.next(file, bytes, false) {
        if let Found::Record { end, .. } = found {
            reach = end;
        }
    }
    scan.take_error(u32::MAX).map_or(Ok(reach), Err)
}

/// Files by the numbers of their segments. No two have the same.
pub(crate) struct Claims<T> {
    by_number: BTreeMap<u32, T>,
    look: fn(&T) -> (&File, u32),
}

impl<T> Claims<T> {
    /// None yet. `look` tells the file and its length.
    pub(crate) const fn new(look: fn(&T) -> (&File, u32)) -> Self {
        Self { by_number: BTreeMap::new(), look }
    }

    /// Adds a file that says it is the segment of this number. When another says so too, a block of one of
    /// them has got into the other: the one whose records go further is believed, and the other is what its
    /// own records say. Gives back a file that is of no number.
    ///
    /// # Errors
    /// One of two files that say the same cannot be read, so nothing is known of it.
    pub(crate) fn add(&mut self, mut number: u32, mut file: T) -> io::Result<Option<T>> {
        for _ in 0..TRIES_MAX {
            let Some(rival) = self.by_number.remove(&number) else {
                self.by_number.insert(number, file);
                return Ok(None);
            };
            let reach = |which: &T| {
                let (file, bytes) = (self.look)(which);
                reach(file, bytes, number)
            };
            let (winner, loser) =
                if reach(&file)? > reach(&rival)? { (file, rival) } else { (rival, file) };
            self.by_number.insert(number, winner);
            file = loser;
            let (inner, bytes) = (self.look)(&file);
            let Some(other) = newest(inner, bytes, Some(number))? else { return Ok(Some(file)) };
            number = other;
        }
        Ok(Some(file))
    }

    /// All of them, in order.
    pub(crate) fn into_sorted(self) -> impl Iterator<Item = (u32, T)> {
        self.by_number.into_iter()
    }
}
