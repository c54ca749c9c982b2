//! Ends of interceptions while the disk fails.

use aibridge::facts::{CredentialKind, End, Fact, Metadata, Start};
use aibridge::ports::RecordError;
use stdx::ManualClock;
use stdx::ids::{FactId, InterceptionId, UserId};
use time::macros::datetime;
use uuid::Uuid;

use super::*;
use crate::metrics::Lost;
use crate::recorder::Intake;
use crate::settings::FullPolicy;

const NOW: time::OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn start(number: u128) -> Fact {
    Fact::Start(Start {
        id: InterceptionId::new(Uuid::from_u128(number)),
        initiator: UserId::nil(),
        api_key_id: String::new(),
        provider: "anthropic".to_owned(),
        provider_name: "anthropic".to_owned(),
        model: "claude".to_owned(),
        client: String::new(),
        client_session_id: None,
        correlating_tool_call_id: None,
        credential_kind: CredentialKind::Centralized,
        credential_hint: String::new(),
        started_at: NOW,
        metadata: Metadata::new(),
    })
}

fn end(number: u128) -> Fact {
    Fact::End(End {
        id: FactId::new(Uuid::from_u128(number | 1 << 100)),
        interception: InterceptionId::new(Uuid::from_u128(number)),
        ended_at: NOW,
        credential_hint: String::new(),
        error_type: None,
        error_message: None,
    })
}

/// Nobody is told and nothing is ticked.
struct Deaf;

impl Observer for Deaf {
    fn synced(&self, _: Duration, _: bool) {}
    fn tick(&self) {}
}

/// A spool with so many open interceptions whose disk fails.
fn failing(dir: &Path, open: u128) -> (Spool<Vec<Fact>>, Intake) {
    let (spool, _) = Spool::open(dir, Plan::new(64 << 20), SyncPolicy::Os).unwrap();
    let intake = Intake::new(Arc::clone(spool.core()), FullPolicy::Refuse, ManualClock::new(NOW));
    for number in 0..open {
        drop(intake.append(vec![start(number)]).unwrap());
    }
    // As after a write that failed.
    spool.core().state().abandon_active();
    (spool, intake)
}

#[test]
fn an_end_that_the_disk_refuses_is_written_when_the_disk_is_well_again() {
    let dir = scratch();
    let (spool, intake) = failing(dir.path(), 3);
    for number in 0..3 {
        assert_eq!(intake.append(vec![end(number)]).unwrap_err(), RecordError::Full);
    }
    intake.write_late();
    assert_eq!(spool.core().open_keys().len(), 3, "the disk still fails");
    spool.start(Arc::new(Deaf)).unwrap();
    eventually(|| spool.core().figures().health == Health::Writable);
    intake.write_late();
    assert_eq!(spool.core().open_keys(), Vec::<u128>::new());
    assert_eq!(spool.core().figures().waiting_facts, 6);
    assert_eq!(intake.losses.all(), 0);
    intake.write_late();
    assert_eq!(spool.core().figures().waiting_facts, 6, "each is written once");
}

#[test]
fn ends_that_cannot_be_kept_are_counted_as_lost() {
    let dir = scratch();
    let (spool, intake) = failing(dir.path(), 1_002);
    for number in 0..1_002 {
        assert_eq!(intake.append(vec![end(number)]).unwrap_err(), RecordError::Full);
    }
    assert_eq!(intake.losses.get(Lost::Unwritten), 2, "more than are kept");
    spool.core().close();
    intake.write_late();
    assert_eq!(intake.losses.get(Lost::Unwritten), 1_002, "the process ends");
    intake.write_late();
    assert_eq!(intake.losses.all(), 1_002);
}
