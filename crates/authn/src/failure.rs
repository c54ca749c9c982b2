use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::subject::SubjectError;

/// What a signed-out caller is told.
pub const SIGNED_OUT: &str =
    "You are signed out or your session has expired. Please sign in again to continue.";
/// What a caller is told when we failed.
pub const INTERNAL: &str =
    "An internal error occurred. Please try again or contact the system administrator.";

/// Why there is no authenticated caller.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The request carries no token.
    #[error("no session token was given")]
    Absent,
    /// The token has not the form of one.
    #[error("Invalid API key format: {0}")]
    Malformed(String),
    /// No such key.
    #[error("API key is invalid.")]
    Unknown,
    /// The key exists, its secret is another.
    #[error("API key secret is invalid.")]
    WrongSecret,
    /// The key had its time.
    #[error("API key expired at \"{}\".", rfc3339(*.0))]
    Expired(OffsetDateTime),
    /// The user may not use keys.
    #[error("User is not active (status = \"{0}\"). Contact an admin to reactivate your account.")]
    Inactive(String),
    /// We could not find out. Never a statement about the credential.
    #[error("the credential could not be checked")]
    Store(#[source] store::Error),
    /// We could not find out: the roles make no subject.
    #[error("the roles of the user could not be read")]
    Subject(#[source] SubjectError),
}

impl Failure {
    /// Whether this is about the credential (401) and not about us (500).
    #[must_use]
    pub const fn is_about_credential(&self) -> bool {
        !matches!(self, Self::Store(_) | Self::Subject(_))
    }
}

fn rfc3339(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}
