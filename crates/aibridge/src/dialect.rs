//! How each wire API words an error, so that a client's own code understands it.

use serde::{Deserialize, Serialize};

/// A wire API's way of putting errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Dialect {
    /// `{"type":"error","error":{"type","message"}}` (Anthropic Messages).
    Anthropic,
    /// `{"error":{"message","type","code","param"}}` (OpenAI Chat Completions).
    OpenAiChat,
    /// The same body as Chat Completions; in a stream `{"type":"error","code","message","param"}`.
    OpenAiResponses,
}
