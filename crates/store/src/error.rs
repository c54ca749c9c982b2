use diesel::result::{DatabaseErrorKind, Error as DieselError};
use rbac::{Action, Resource};
use uuid::Uuid;

use crate::constraints::Constraint;
use crate::sealed::columns::{SealedColumn, is_key_reference};

/// What went wrong, in terms of what a caller can do about it. Never holds a secret or a row's content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such row.
    #[error("no such row")]
    NotFound,
    /// The subject may not do this.
    #[error("not authorized to {} {}", .0.action.as_str(), .0.resource.as_str())]
    Denied(Denial),
    /// A unique rule was violated.
    #[error("conflicts with an existing row ({0:?})")]
    Conflict(Constraint),
    /// A check was violated.
    #[error("violates a rule of the table ({0:?})")]
    Check(Constraint),
    /// A row that is referred to does not exist, or still is referred to.
    #[error("a referenced row is missing ({0:?})")]
    Missing(Constraint),
    /// A value does not fit its column: too long, out of range, or text that the server cannot hold.
    #[error("a value does not fit its column")]
    Unfit(#[source] Source),
    /// The database cannot be reached, is read-only, or did not answer in time.
    #[error("the database is not available")]
    Unavailable(#[source] Source),
    /// Lost against a concurrent transaction; trying again may succeed.
    #[error("lost against a concurrent transaction")]
    Serialization(#[source] Source),
    /// A row contradicts the code.
    #[error("row {row} of {table} has an impossible {column}")]
    Corrupt {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
        /// Primary key.
        row: String,
    },
    /// A sealed value cannot be sealed or opened.
    #[error("the keyring cannot handle {table}.{column} of row {row}")]
    Keyring {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
        /// Primary key.
        row: Uuid,
        /// Why.
        #[source]
        source: Source,
    },
    /// The key that this program seals with was retired by a rotation.
    #[error(
        "the first encryption key was retired: put the new one first in CODER_EXTERNAL_TOKEN_ENCRYPTION_KEYS and \
         start again"
    )]
    RetiredKey,
    /// Anything else.
    #[error("the database refused a statement")]
    Internal(#[source] Source),
}

/// A cause whose type is of no use to callers.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a subject was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What was to be done.
    pub action: Action,
    /// To what kind of object.
    pub resource: Resource,
    /// Whether the subject may at least read the object. If not, its existence must not show.
    pub readable: bool,
}

impl Error {
    pub(crate) fn seal(at: SealedColumn, row: Uuid, source: crypt::SealError) -> Self {
        Self::Keyring { table: at.table, column: at.column, row, source: Box::new(source) }
    }

    pub(crate) fn open(at: SealedColumn, row: Uuid, source: crypt::OpenError) -> Self {
        Self::Keyring { table: at.table, column: at.column, row, source: Box::new(source) }
    }

    pub(crate) fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable(source.into())
    }

    /// Whether doing the same again may succeed.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Serialization(_))
    }

    /// `NotFound` as `None`, for look-ups where absence is an answer.
    ///
    /// # Errors
    /// Every other error, as it is.
    pub fn optional<T>(result: Result<T, Self>) -> Result<Option<T>, Self> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Self::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        let DieselError::DatabaseError(kind, info) = error else {
            return match error {
                DieselError::NotFound => Self::NotFound,
                DieselError::BrokenTransactionManager => Self::unavailable(error),
                // A parameter that has no form on the wire, such as a time before all calendars.
                DieselError::SerializationError(_) => Self::Unfit(Box::new(error)),
                other => Self::Internal(Box::new(other)),
            };
        };
        let constraint = info.constraint_name().map_or(Constraint::Unknown, Constraint::from_name);
        let message = info.message();
        let class: fn(Source) -> Self = match &kind {
            DatabaseErrorKind::UniqueViolation => return Self::Conflict(constraint),
            DatabaseErrorKind::ForeignKeyViolation if is_key_reference(constraint) => {
                return Self::RetiredKey;
            }
            DatabaseErrorKind::ForeignKeyViolation => return Self::Missing(constraint),
            DatabaseErrorKind::CheckViolation => return Self::Check(constraint),
            DatabaseErrorKind::SerializationFailure => Self::Serialization,
            DatabaseErrorKind::ReadOnlyTransaction
            | DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::UnableToSendCommand => Self::Unavailable,
            // diesel has no kind of its own for these classes (40P01; 53300, 57014, 57P01 to 57P03).
            _ if message.contains("deadlock detected") => Self::Serialization,
            _ if UNFIT.iter().any(|text| message.starts_with(text)) => Self::Unfit,
            _ if tells_unavailable(message) => Self::Unavailable,
            _ => Self::Internal,
        };
        class(Box::new(DieselError::DatabaseError(kind, info)))
    }
}

/// What servers say of values that they cannot hold: 22001; 22003; 22008; 22021 and 22P05, such as a text with
/// U+0000; 54000, such as a text too long for an index. diesel keeps the codes to itself, so this is about texts,
/// which come in English wherever the server lets us ask for it. A text that is not known here is taken for a
/// fault of the server's, which is the safe side: what waits is not lost.
const UNFIT: [&str; 13] = [
    "value too long for type",
    "bigint out of range",
    "integer out of range",
    "numeric field overflow",
    "value overflows numeric format",
    "timestamp out of range",
    "invalid byte sequence for encoding",
    "character with byte sequence",
    "unsupported Unicode escape sequence",
    "index row size",
    "index row requires",
    "string too long to represent as jsonb string",
    "total size of jsonb",
];

/// Whether a text says that there is no server to ask.
pub(crate) fn tells_unavailable(message: &str) -> bool {
    UNAVAILABLE.iter().any(|text| message.contains(text))
}

/// What servers say when they are stopping, starting, full, or out of patience; and what connections say.
const UNAVAILABLE: [&str; 7] = [
    "terminating connection",
    "the database system is",
    "too many clients",
    "too many connections",
    "connection closed",
    "error communicating with the server",
    "canceling statement due to",
];
