//! The error of every lookup by wire name in this crate.

/// A text that is no wire name of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {name:?}")]
pub struct UnknownName {
    what: &'static str,
    name: String,
}

impl UnknownName {
    /// Longest excerpt of the offending text that an error repeats, in bytes.
    const SHOWN_MAX: usize = 64;

    pub(crate) fn new(what: &'static str, name: &str) -> Self {
        Self { what, name: stdx::cut(name, Self::SHOWN_MAX).to_owned() }
    }

    /// What was expected: `resource type`, `action`, `subject kind`.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        self.what
    }

    /// The offending text, cut to 64 bytes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}
