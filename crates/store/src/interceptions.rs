//! What the AI gateway recorded, and reading it back.

/// What an interception is closed with that never ended: type and message of its error. A real end replaces
/// it; nothing else tells the two apart.
macro_rules! swept_type {
    () => {
        "unknown"
    };
}
macro_rules! swept_message {
    () => {
        "no end was recorded"
    };
}
/// Whether the interception `i` was closed for want of an end.
macro_rules! swept {
    () => {
        concat!(
            "(i.error_type = '",
            swept_type!(),
            "' AND i.error_message = '",
            swept_message!(),
            "') IS TRUE"
        )
    };
}

mod columns;
mod compare;
mod ingest;
mod lineage;
mod links;
mod list;
mod names;
mod rows;
mod sessions;
mod summarize;
mod sweep;
mod threads;
mod token_details;

pub use compare::{CompareFacts, Deviation, Deviations};
pub use ingest::{EnsurePartitions, IngestFacts};
pub use lineage::{GetLineageByToolCall, Lineage};
pub use list::{CountInterceptions, Filter, ListInterceptions, Page};
pub use names::{ListClients, ListModels, ListProviderNames};
pub use rows::{End, Facts, Interception, Prompt, Start, Thought, Tokens, Tool};
pub use sessions::{CountSessions, GetSession, ListSessions, Session, SessionCursor};
pub use summarize::{SummarizeForTelemetry, TelemetrySummary};
pub use sweep::SweepOpen;
pub use threads::ListThreads;
pub use token_details::SumTokenDetails;

use rbac::{Object, Resource};

/// Any interception, as rules speak of it.
const ANY: Object<'static> = Object::new(Resource::Interception);

crate::queries![
    IngestFacts,
    CompareFacts,
    SweepOpen,
    EnsurePartitions,
    ListInterceptions,
    CountInterceptions,
    ListModels,
    ListClients,
    ListProviderNames,
    ListSessions,
    CountSessions,
    GetSession,
    ListThreads,
    SumTokenDetails,
    GetLineageByToolCall,
    SummarizeForTelemetry,
];
