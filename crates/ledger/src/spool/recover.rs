//! What a directory holds, found out at the start without trusting any byte of it.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;

use crate::settings::OpenError;
use crate::spool::claims::{Claims, Role, Unfit, role};
use crate::spool::cursor::{Cursor, CursorFile};
use crate::spool::folder::{Folder, Slot};
use crate::spool::health::Health;
use crate::spool::keys::Keys;
use crate::spool::plan::Plan;
use crate::spool::position::Position;
use crate::spool::preface::{Checkpoint, PREFACE_BYTES, Totals};
use crate::spool::record::{Kind, keys};
use crate::spool::scan::{Found, Scan, Tail};
use crate::spool::segment::Segment;
use crate::spool::state::{Active, State};
use crate::spool::tail;

/// What recovery came upon that should not be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Bytes behind the last record that are no whole record: an append that was cut short.
    pub(crate) torn: bool,
    /// Facts that were in segments that are gone.
    pub(crate) missing_facts: u64,
}

/// The checkpoint of a segment, if it can be read.
pub(crate) fn checkpoint(file: &File, number: u32, bytes: u32) -> Option<Checkpoint> {
    let mut scan = Scan::new(Some(number), bytes);
    match scan.next(file, bytes, false)? {
        Found::Record { header, offset: PREFACE_BYTES, end, .. } => (header.kind
            == Kind::Checkpoint)
            .then(|| Checkpoint::decode(scan.payload(file, &header, end)))
            .flatten(),
        _ => None,
    }
}

/// The beginning of the record that `offset` lies in; `offset` itself between two. Half a record was never
/// acknowledged, so a cursor that says so says too much.
fn boundary(slot: &Slot, number: u32, offset: u32) -> u32 {
    let mut scan = Scan::new(Some(number), slot.bytes);
    while scan.offset() < offset
        && let Some(found) = scan.next(&slot.file, slot.bytes, false)
    {
        if let Found::Record { offset: start, end, .. } = found
            && start < offset
            && offset < end
        {
            return start;
        }
    }
    offset
}

/// What a walk over a whole segment finds.
struct Survey {
    end: u32,
    /// When it was begun.
    before: Totals,
    /// Behind its last record.
    after: Totals,
    torn: bool,
    /// Whether all of it could be read.
    whole: bool,
}

/// Walks over a segment and follows the keys it opens and closes. `known` is what was appended before
/// `offset`.
fn survey(slot: &Slot, number: u32, (offset, known): (u32, Totals), open: &mut Keys) -> Survey {
    let mut scan = Scan::new(Some(number), slot.bytes);
    let (mut before, mut after) = (known, known);
    let mut ends = PREFACE_BYTES;
    while let Some(found) = scan.next(&slot.file, slot.bytes, false) {
        let Found::Record { header, end, .. } = found else {
            ends = scan.offset();
            continue;
        };
        ends = end;
        if header.kind == Kind::Checkpoint {
            if let Some(checkpoint) = Checkpoint::decode(scan.payload(&slot.file, &header, end)) {
                open.clear();
                open.extend(checkpoint.open);
                // As the reader will count.
                if end > offset {
                    after = checkpoint.before;
                }
            }
            continue;
        }
        if end > offset {
            after.add(header.facts, header.record_bytes());
        } else {
            before.facts = before.facts.saturating_sub(header.facts.into());
            before.bytes = before.bytes.saturating_sub(header.record_bytes().into());
        }
        let payload = scan.payload(&slot.file, &header, end);
        let (opens, closes) = keys(&header, payload);
        open.extend(opens);
        for key in closes {
            open.remove(&key);
        }
    }
    let torn = scan.tail(&slot.file, slot.bytes) == Tail::Torn;
    let unreadable = scan.take_error(slot.bytes);
    let whole = unreadable.is_none();
    if let Some(error) = unreadable {
        tracing::error!(error = %error, segment = number, "a part of the spool cannot be read");
        // Records may follow that can be read later; nothing must be written over them.
        ends = slot.bytes;
    }
    Survey { end: ends.min(slot.bytes), before, after, torn, whole }
}

struct Files {
    numbered: Vec<(u32, Arc<Slot>)>,
    blank: VecDeque<Arc<Slot>>,
    next_index: u32,
    disk_bytes: u64,
}

/// Finds out what each file is; removes what is of no use.
fn sort_files(folder: &Folder, plan: &Plan) -> Result<Files, OpenError> {
    let unusable = |source| OpenError::Directory { dir: folder.path().to_owned(), source };
    let mut files =
        Files { numbered: Vec::new(), blank: VecDeque::new(), next_index: 0, disk_bytes: 0 };
    let mut found = Vec::new();
    for slot in folder.slots().map_err(unusable)? {
        let role = role(&slot.file, slot.bytes).map_err(|unfit| match unfit {
            Unfit::Format(version) => OpenError::Format { dir: folder.path().to_owned(), version },
            Unfit::Read(source) => OpenError::File { file: folder.segment(slot.index), source },
        })?;
        found.push((role, slot));
    }
    let mut claims = Claims::new(|slot: &Slot| (&slot.file, slot.bytes));
    let mut unreadable = Vec::new();
    for (role, slot) in found {
        files.next_index = files.next_index.max(slot.index.saturating_add(1));
        files.disk_bytes += u64::from(slot.bytes);
        match role {
            Role::Numbered(number) => {
                unreadable.extend(claims.add(number, slot).map_err(unusable)?);
            }
            Role::Blank if slot.bytes == plan.segment_bytes && !slot.read_only => {
                files.blank.push_back(Arc::new(slot));
            }
            Role::Blank => files.disk_bytes -= remove(folder, &slot),
            Role::Junk => unreadable.push(slot),
        }
    }
    for slot in unreadable {
        tracing::error!(file = slot.index, "a file of the spool cannot be read and is put aside");
        match folder.put_aside(&slot, plan.aside_bytes) {
            Ok(()) => files.disk_bytes -= u64::from(slot.bytes),
            Err(error) => tracing::warn!(error = %error, "cannot put a file of the spool aside"),
        }
    }
    files.numbered = claims.into_sorted().map(|(number, slot)| (number, Arc::new(slot))).collect();
    Ok(files)
}

fn remove(folder: &Folder, slot: &Slot) -> u64 {
    match folder.remove(slot.index) {
        Ok(()) => u64::from(slot.bytes),
        Err(_) => 0,
    }
}

/// Keeps a copy of what is damaged, for people to look at.
pub(crate) fn set_aside(folder: &Folder, plan: &Plan, slot: &Slot, number: u32) {
    if let Err(error) = folder.set_aside(slot, number, plan.aside_bytes) {
        tracing::warn!(error = %error, "cannot copy a damaged segment of the spool");
    }
}

/// Brings a spool back to where it was.
pub(crate) fn recover<T>(
    folder: &Arc<Folder>,
    plan: Plan,
) -> Result<(State<T>, Findings), OpenError> {
    let files = sort_files(folder, &plan)?;
    let unusable = |source| OpenError::Directory { dir: folder.path().to_owned(), source };
    let cursor_file = folder.cursor().map_err(unusable)?;
    let (cursor_file, mut cursor) = CursorFile::load(cursor_file).map_err(unusable)?;
    let mut findings = Findings::default();

    let acked = cursor.position.segment();
    let (old, live): (Vec<_>, Vec<_>) =
        files.numbered.into_iter().partition(|(number, _)| *number < acked);
    if let Some((number, slot)) = live.first()
        && *number == acked
    {
        let offset = boundary(slot, *number, cursor.position.offset());
        cursor.position = Position::new(*number, offset);
    }
    let Chain { mut segments, open, totals, torn } = chain(&live, &cursor);
    findings.torn = torn;
    let last = segments.back().map_or(cursor.position, |segment| segment.end_position());

    if let Some(first) = segments.front()
        && cursor.position.segment() < first.number
    {
        let start = Position::new(first.number, PREFACE_BYTES);
        // Without a cursor everything is shipped again, which is no loss.
        if !cursor_file.is_new() {
            findings.missing_facts = first.before.facts.saturating_sub(cursor.totals.facts);
        }
        cursor = Cursor { position: start, totals: first.before };
    }
    if cursor.position >= last {
        // Or what is appended now would count as acknowledged already.
        cursor = Cursor { position: last, totals };
    }
    let next_number = segments
        .back()
        .map(|segment| segment.number)
        .max(old.last().map(|(number, _)| *number))
        .max(Some(acked))
        .unwrap_or(0)
        .saturating_add(1);
    let active = segments.pop_back().and_then(|segment| resume(segment, &mut segments));
    let reusable = |slot: &Slot| slot.bytes == plan.segment_bytes && !slot.read_only;
    let (kept, spent): (Vec<_>, Vec<_>) = old.into_iter().partition(|(_, slot)| reusable(slot));
    let mut state = State {
        plan,
        folder: Arc::clone(folder),
        active,
        waiting: segments,
        kept: kept.into(),
        spent: spent.into(),
        blank: files.blank,
        next_number,
        next_index: files.next_index,
        disk_bytes: files.disk_bytes,
        totals,
        last,
        open,
        unsynced: Vec::new(),
        // The process before may have made files and ended before it synced their names.
        names_unsynced: true,
        tail: tail::Tail::default(),
        cursor,
        cursor_file,
        cursor_synced: Position::default(),
        disk: None,
        poisoned: false,
        full: false,
        closed: false,
        told: Health::Writable,
    };
    state.release();
    Ok((state, findings))
}

struct Chain {
    segments: VecDeque<Arc<Segment>>,
    open: Keys,
    totals: Totals,
    torn: bool,
}

/// The segments that are not acknowledged, each with its end and with what came before it.
fn chain(live: &[(u32, Arc<Slot>)], cursor: &Cursor) -> Chain {
    let checkpoints: Vec<_> =
        live.iter().map(|(number, slot)| checkpoint(&slot.file, *number, slot.bytes)).collect();
    // The open keys are those of the last checkpoint and what followed.
    let base = checkpoints.iter().rposition(Option::is_some).unwrap_or(0);
    let mut out = Chain {
        segments: VecDeque::new(),
        open: Keys::default(),
        totals: cursor.totals,
        torn: false,
    };
    for (at, (number, slot)) in live.iter().enumerate() {
        let own = checkpoints.get(at).and_then(Option::as_ref).map(|checkpoint| checkpoint.before);
        let told = checkpoints.get(at + 1).and_then(Option::as_ref).filter(|next| {
            next.previous.segment() == *number && next.previous.offset() <= slot.bytes
        });
        let (before, end, whole) = if let Some(next) = told
            && at < base
        {
            let before = own.unwrap_or(out.totals);
            out.totals = next.before;
            (before, next.previous.offset(), true)
        } else {
            // Without a checkpoint the cursor knows best, or else the segment before.
            let known = match own {
                Some(before) => (PREFACE_BYTES, before),
                None if cursor.position.segment() == *number => {
                    (cursor.position.offset(), cursor.totals)
                }
                None => (PREFACE_BYTES, out.totals),
            };
            let survey = survey(slot, *number, known, &mut out.open);
            out.torn = survey.torn;
            out.totals = survey.after;
            (survey.before, survey.end, survey.whole)
        };
        let segment = Segment::new(Arc::clone(slot), *number, before, end, 0);
        let segment = if whole { segment } else { segment.of_unknown_end() };
        out.segments.push_back(Arc::new(segment));
    }
    out
}

/// Makes the last segment durable and goes on in it, if that can be done.
fn resume(last: Arc<Segment>, others: &mut VecDeque<Arc<Segment>>) -> Option<Active> {
    let end = last.end();
    let mut sound = !last.slot.read_only;
    for segment in others.iter().rev().take(1).chain([&last]) {
        if !segment.slot.read_only && segment.sync(segment.end()).is_err() {
            sound = false;
        }
    }
    // One without even a checkpoint was never begun.
    if sound && end > PREFACE_BYTES && end < last.slot.bytes {
        // What lies behind the end is not known to be zeros.
        return Some(Active { segment: last, offset: end, padded_to: end });
    }
    others.push_back(last);
    None
}
