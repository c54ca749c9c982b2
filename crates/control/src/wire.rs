//! What is said. Unknown fields are ignored by both ends, so that a minor version can add some.
//!
//! Failures of the protocol itself are statuses: 400 not understood, 401 the gateway key is unknown or
//! deleted, 409 another major version, 429 and 503 with `Retry-After`. Their body is API v2's
//! `{message, detail}`. What is said about a user's token is in the body of a 200, never a status.

use aibridge::facts::Fact;
use serde::{Deserialize, Serialize, Serializer};
use stdx::Secret;
use stdx::ids::{ProviderId, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

/// `POST resolve`: whose token is this?
#[derive(Debug, Serialize, Deserialize)]
pub struct ResolveRequest {
    /// As the client sent it.
    #[serde(serialize_with = "expose")]
    pub token: Secret<String>,
}

/// Answer of `POST resolve`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Resolved {
    /// The token may use the gateway.
    Identity(Identity),
    /// It may not. Clients get one constant text for all of `Credential`.
    Refused {
        /// Whether the token itself is bad, or just does not extend to the gateway.
        reason: RefusedReason,
    },
}

/// See [`Resolved::Refused`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedReason {
    /// Unknown, malformed, expired or revoked, or its user may not sign in.
    Credential,
    /// Good, but its scopes or its user's roles do not include the gateway.
    Scope,
}

/// Who a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Owner of the token.
    pub user_id: UserId,
    /// For logs and actor headers.
    pub username: String,
    /// Public half of the token.
    pub api_key_id: String,
    /// After this the token must not be accepted, whoever is away.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// How long the answer may be used before it is asked for again.
    pub cache_seconds: u32,
}

/// `GET providers?after=VERSION&wait_seconds=N` answers when the set differs from `after`, with 204 when
/// it has not within `wait_seconds` (0 to 60).
#[derive(Debug, Serialize, Deserialize)]
pub struct Providers {
    /// Names this state of the set; opaque.
    pub version: String,
    /// All live rows, disabled ones among them.
    pub providers: Vec<Provider>,
}

/// One provider, ready to be served.
#[derive(Debug, Serialize, Deserialize)]
pub struct Provider {
    /// Row.
    pub id: ProviderId,
    /// Type by its name in API v2, e.g. `anthropic`.
    #[serde(rename = "type")]
    pub kind: String,
    /// First segment of its paths.
    pub name: String,
    /// A disabled provider is known and refuses.
    pub enabled: bool,
    /// Where requests go.
    pub base_url: String,
    /// Its keys in order of use, or why they cannot be read.
    pub keys: Keys,
}

/// Keys of a provider in the clear.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keys {
    /// May be empty.
    Open(#[serde(serialize_with = "expose_all")] Vec<Secret<String>>),
    /// The row cannot be served, and why.
    Error(String),
}

/// `POST records`: facts in the order in which they were recorded.
#[derive(Debug, Serialize, Deserialize)]
pub struct Records {
    /// Repeated with the batch.
    pub batch_id: Uuid,
    /// At most [`RECORDS_MAX`].
    pub facts: Vec<Fact>,
}

/// Most facts of one `POST records`.
pub const RECORDS_MAX: usize = 5_000;
/// Largest body of one `POST records` in bytes.
pub const RECORDS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Answer of `POST records`: every fact is in one of the lists, or nothing was stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Identifiers of facts that are stored, now or before: of the interception for a start, of the fact
    /// for all others.
    pub accepted: Vec<Uuid>,
    /// Facts that can never be stored.
    pub refused: Vec<Refused>,
}

/// See [`Accepted::refused`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Place in [`Records::facts`].
    pub index: usize,
    /// For people; never holds what the fact says.
    pub reason: String,
}

/// `POST verify`: are these facts stored as they were recorded? Answers with [`Verified`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Verify {
    /// At most [`RECORDS_MAX`].
    pub facts: Vec<Fact>,
}

/// Answer of `POST verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Places in [`Verify::facts`] of which there is no row.
    pub missing: Vec<usize>,
    /// Places of which there is a row that says something else.
    pub different: Vec<usize>,
}

/// `POST heartbeat`: the daemon lives, and asks whom to forget. Answers at once when there is something to
/// forget, otherwise after `wait_seconds` (0 to 60).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Names the process; made at its start.
    pub replica: Uuid,
    /// Version of the daemon.
    pub build: String,
    /// What waits to be sent.
    pub spool: SpoolDepth,
    /// Where the last answer ended; absent at first.
    pub after: Option<Mark>,
    /// How long to wait for news.
    pub wait_seconds: u32,
}

/// What a daemon's spool holds that coderd has not acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolDepth {
    /// Facts.
    pub records: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Age of the oldest in seconds.
    pub oldest_seconds: u64,
    /// Facts lost since the process began: refused for good, or let pass while the spool was full.
    pub lost: u64,
}

/// A place in the sequence of revocations. Opaque to daemons; all `coderd` processes that listened long enough
/// understand each other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// From where is counted.
    pub epoch: Uuid,
    /// How many came since.
    pub seq: u64,
}

/// Answer of `POST heartbeat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocations {
    /// To be sent with the next heartbeat.
    pub mark: Mark,
    /// What happened after the mark was lost, or there was none: forget every identity.
    pub all: bool,
    /// Whom to forget, when not all.
    pub revoked: Vec<Revoked>,
}

/// One thing to forget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revoked {
    /// Every identity with this API key.
    ApiKey(String),
    /// Every identity of this user.
    User(UserId),
}

/// The wire is where these secrets are meant to go.
fn expose<S: Serializer>(secret: &Secret<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose())
}

fn expose_all<S: Serializer>(secrets: &[Secret<String>], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(secrets.iter().map(Secret::expose))
}
