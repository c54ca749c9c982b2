//! Spools as a ledger has left them, written once and kept in memory.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::OnceLock;

use aibridge::facts::{CredentialKind, End, Fact, Metadata, Prompt, Start, Tokens};
use ledger::read_all;
use stdx::ids::{FactId, InterceptionId, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::place::{File, Place};

/// The interception that is recorded after recovery.
pub(super) const NEW: u128 = 1 << 64;

/// Bytes at the beginning of a segment's file; its number is in there.
const PREFACE_BYTES: usize = 64;

/// Of an ordinary segment of the smallest spool.
pub(super) const SEGMENT_BYTES: usize = 64 * 1024;

/// One record as it was written.
pub(super) struct Record {
    pub(super) facts: Vec<Fact>,
    /// Which file it is in.
    pub(super) file: usize,
    /// Where it lies in that file, with whatever precedes it there.
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) acknowledged: bool,
}

/// A spool's files and what is in them.
pub(super) struct Scene {
    pub(super) files: Vec<File>,
    pub(super) records: Vec<Record>,
    /// Interceptions without end.
    pub(super) open: Vec<InterceptionId>,
}

impl Scene {
    /// One of a few, by number.
    pub(super) fn of(number: usize) -> &'static Self {
        static SCENES: OnceLock<Vec<Scene>> = OnceLock::new();
        let scenes = SCENES.get_or_init(|| {
            vec![
                Self::write(0, 6, &[10, 300]),
                Self::write(5, 10, &[2_000, 9_000, 20_000]),
                // Files are used again.
                Self::write(120, 8, &[30_000, 100, 12_000]),
                // Some fill a segment of their own.
                Self::write(1, 5, &[100, 100_000, 70_000]),
            ]
        });
        let at = number % scenes.len();
        let Some(scene) = scenes.get(at) else { unreachable!("there are {}", scenes.len()) };
        scene
    }

    /// With so many interceptions shipped, and so many not, of which the last two are open; their prompts
    /// have these lengths in turn.
    fn write(shipped: u128, waiting: u128, lengths: &[usize]) -> Self {
        let place = Place::new(&[]);
        let count = shipped + waiting;
        let batches = |numbers: RangeInclusive<u128>| {
            let mut batches = Vec::new();
            for (number, length) in numbers.zip(lengths.iter().cycle()) {
                let mut facts = interception(number, *length);
                let mut rest = facts.split_off(1);
                batches.push(facts);
                if number + 2 > count {
                    continue;
                }
                if number % 3 == 0 {
                    let end = rest.split_off(1);
                    batches.push(rest);
                    rest = end;
                }
                batches.push(rest);
            }
            batches
        };
        if shipped > 0 {
            place.fill(batches(1..=shipped), true);
        }
        place.fill(batches(shipped + 1..=count), false);
        let files = in_order(place.files());
        let numbers: Vec<Option<u32>> = files.iter().map(number).collect();
        let Ok(read) = read_all(place.path()) else { unreachable!("written just now") };
        let mut records: Vec<Record> = Vec::new();
        for record in read {
            let number = Some(record.position.segment());
            let Some(file) = numbers.iter().position(|have| *have == number) else { continue };
            let before = records.last().filter(|last| last.file == file).map_or(0, |last| last.to);
            records.push(Record {
                facts: record.facts,
                file,
                from: before,
                to: record.position.offset() as usize,
                acknowledged: record.acknowledged,
            });
        }
        let open = (count - 1..=count).map(id).collect();
        Self { files, records, open }
    }
}

/// The number of a segment in its file.
fn number(file: &File) -> Option<u32> {
    let preface = file.bytes.get(..PREFACE_BYTES)?;
    let number = preface.get(12..)?.first_chunk().copied().map(u32::from_le_bytes)?;
    Some(number).filter(|number| *number > 0)
}

/// The files under names that do not depend on when a thread made which of them, and one that was never used.
fn in_order(files: Vec<File>) -> Vec<File> {
    let (mut segments, mut ordered): (Vec<File>, Vec<File>) =
        files.into_iter().partition(|file| file.name.starts_with("segment-"));
    segments.retain(|file| number(file).is_some());
    segments.sort_by_key(number);
    segments.push(File { name: String::new(), bytes: vec![0; SEGMENT_BYTES] });
    for (index, file) in segments.into_iter().enumerate() {
        ordered.push(File { name: format!("segment-{index:04}.spool"), ..file });
    }
    ordered
}

fn id(number: u128) -> InterceptionId {
    InterceptionId::new(Uuid::from_u128(number))
}

/// All facts of one interception.
pub(super) fn interception(number: u128, length: usize) -> Vec<Fact> {
    let fact_id = |place: u128| FactId::new(Uuid::from_u128(number << 8 | place | 1 << 100));
    let (at, interception) = (OffsetDateTime::UNIX_EPOCH, id(number));
    let start = Start {
        id: interception,
        initiator: UserId::nil(),
        api_key_id: "alice0001".to_owned(),
        provider: "anthropic".to_owned(),
        provider_name: "anthropic-eu".to_owned(),
        model: "claude".to_owned(),
        client: "Claude Code".to_owned(),
        client_session_id: None,
        correlating_tool_call_id: None,
        credential_kind: CredentialKind::Centralized,
        credential_hint: String::new(),
        started_at: at,
        metadata: Metadata::new(),
    };
    let prompt = Prompt {
        id: fact_id(1),
        interception,
        response_id: "msg_1".to_owned(),
        prompt: "p".repeat(length),
        created_at: at,
        metadata: Metadata::new(),
    };
    let tokens = Tokens {
        id: fact_id(2),
        interception,
        response_id: "msg_1".to_owned(),
        input: 10,
        output: 5,
        cache_read: 0,
        cache_write: 0,
        extra: BTreeMap::new(),
        created_at: at,
        metadata: Metadata::new(),
    };
    let end = End {
        id: fact_id(3),
        interception,
        ended_at: at,
        credential_hint: String::new(),
        error_type: None,
        error_message: None,
    };
    vec![Fact::Start(start), Fact::Prompt(prompt), Fact::Tokens(tokens), Fact::End(end)]
}
