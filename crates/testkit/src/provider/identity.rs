//! Ids in the formats that the vendors use.

use std::fmt::Write as _;

use stdx::SharedRng;

/// Makes ids.
#[derive(Clone, Debug)]
pub(super) struct Ids(pub(super) SharedRng);

impl Ids {
    /// An id of Anthropic: `msg_01…`, `toolu_01…`, with 22 letters and digits after the version.
    pub(super) fn anthropic(&self, prefix: &str) -> String {
        format!("{prefix}_01{}", self.0.alphanumeric(22))
    }

    /// An id of Chat Completions: `chatcmpl-…`.
    pub(super) fn completion(&self) -> String {
        format!("chatcmpl-{}", self.0.alphanumeric(29))
    }

    /// An id of a function call of either OpenAI API: `call_…`.
    pub(super) fn call(&self) -> String {
        format!("call_{}", self.0.alphanumeric(24))
    }

    /// An id of the Responses API: `resp_…`, `msg_…`, `rs_…`, `fc_…`, with 48 hexadecimal digits.
    pub(super) fn response(&self, prefix: &str) -> String {
        format!("{prefix}_{}", self.hex(24))
    }

    /// The id of an HTTP request.
    pub(super) fn request(&self) -> String {
        format!("req_{}", self.hex(16))
    }

    /// `bytes` random bytes in hexadecimal.
    pub(super) fn hex(&self, bytes: usize) -> String {
        let mut raw = vec![0; bytes];
        self.0.fill(&mut raw);
        raw.iter().fold(String::with_capacity(bytes * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}
