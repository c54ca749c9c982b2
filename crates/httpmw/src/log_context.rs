use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::MatchedPath;
use http::Extensions;

/// What the request's log line shall tell beyond what the server sees. A request extension; clones share
/// their content, so whoever learns something tells it here.
#[derive(Clone, Debug, Default)]
pub struct LogContext(Arc<Mutex<Facts>>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) subject_id: Option<String>,
    pub(crate) subject_name: Option<String>,
    pub(crate) subject_type: Option<&'static str>,
    pub(crate) subject_email: Option<String>,
    pub(crate) api_key_id: Option<String>,
    pub(crate) route: Option<MatchedPath>,
    pub(crate) body_bytes_max: Option<u64>,
    pub(crate) hides_response: bool,
}

impl LogContext {
    /// The context of a request, made on first use.
    pub fn of(extensions: &mut Extensions) -> Self {
        extensions.get_or_insert_default::<Self>().clone()
    }

    /// Who asks. System actors have a name only; pass an empty id.
    pub fn set_subject(&self, id: &impl Display, name: &str) {
        let (id, name) = (id.to_string(), name.to_owned());
        let mut facts = self.lock();
        facts.subject_id = Some(id).filter(|id| !id.is_empty());
        facts.subject_name = Some(name).filter(|name| !name.is_empty());
    }

    /// What kind of actor asks, and the address of a person; empty if there is none.
    pub fn set_subject_kind(&self, kind: &'static str, email: &str) {
        let email = Some(email.to_owned()).filter(|email| !email.is_empty());
        let mut facts = self.lock();
        facts.subject_type = Some(kind);
        facts.subject_email = email;
    }

    /// Id of the API key in use. It is no secret: operators must see which key floods them.
    pub fn set_api_key(&self, id: &impl Display) {
        let id = id.to_string();
        self.lock().api_key_id = Some(id);
    }

    /// Keeps the beginning of a failed response out of the log. For answers that are not ours, such as a
    /// provider's.
    pub fn hide_response(&self) {
        self.lock().hides_response = true;
    }

    pub(crate) fn set_route(&self, route: MatchedPath) {
        self.lock().route = Some(route);
    }

    pub(crate) fn set_body_limit(&self, bytes_max: u64) {
        self.lock().body_bytes_max = Some(bytes_max);
    }

    pub(crate) fn facts(&self) -> Facts {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
