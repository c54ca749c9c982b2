//! From a credential to a subject: the only maker of user subjects.
//!
//! [`Authn::validate`] turns a token into an [`Authenticated`] caller or a typed [`Failure`]: absent, bad, or
//! unknown because *we* failed; only the second is ever a 401. [`Authn::resolve`] is the same with a cache of
//! some seconds that notices void, for the gateway's hot path. [`Authn::check_password`] is the one place
//! where passwords are compared. [`IssuedKey`] makes new sessions and tokens.
//!
//! It knows neither routes nor statuses of theirs, and holds no secret longer than a call.

mod credential;
mod failure;
mod issue;
mod password;
mod resolve;
mod roles;
mod subject;
mod validate;

pub use credential::{COOKIE, GOVERNANCE_HEADER, SESSION_HEADER, is_ambient, session_token};
pub use failure::{Failure, INTERNAL, SIGNED_OUT};
pub use issue::{Grant, IssuedKey};
pub use password::{LoginFailure, Passwords};
pub use resolve::Resolver;
pub use subject::SubjectError;
pub use validate::{Authenticated, Authn, SessionRules};
