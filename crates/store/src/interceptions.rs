//! What the AI gateway recorded, and reading it back.

mod ingest;
mod list;
mod rows;
mod sessions;
mod token_details;

pub use ingest::{EnsurePartitions, IngestFacts};
pub use list::{
    CountInterceptions, Filter, ListClients, ListInterceptions, ListModels, ListProviderNames, Page,
};
pub use rows::{End, Facts, Interception, Prompt, Start, Thought, Tokens, Tool};
pub use sessions::{CountSessions, GetSession, ListSessions, ListThreads, Session, SessionCursor};
pub use token_details::SumTokenDetails;

use rbac::{Object, Resource};

/// Any interception, as rules speak of it.
const ANY: Object<'static> = Object::new(Resource::Interception);

crate::queries![
    IngestFacts,
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
];
