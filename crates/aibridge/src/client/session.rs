//! The session key that a client sends, if it sends one.

use http::HeaderMap;

use super::Client;

/// Longer session keys are cut.
pub const SESSION_ID_BYTES_MAX: usize = 256;

/// The client's own key of the session that a request belongs to.
#[must_use]
pub fn session_id(client: Client, headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let _ = (client, headers, body);
    None
}
