//! What is wrong with a configuration, all of it, in words that lead to the cure.

use std::fmt;

/// One thing that keeps a program from starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The option's name; empty if the problem belongs to no option.
    pub option: String,
    /// Where the value came from: a flag, a variable, a place in a file. May be empty.
    pub source: String,
    /// The refused text. Never set for secrets.
    pub text: Option<String>,
    /// The rule that was broken.
    pub reason: String,
    /// What to do about it. May be empty when the reason says it.
    pub fix: String,
}

impl Problem {
    /// A problem that belongs to no single value.
    pub(crate) fn general(reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            option: String::new(),
            source: String::new(),
            text: None,
            reason: reason.into(),
            fix: fix.into(),
        }
    }

    pub(crate) fn at(
        source: impl Into<String>,
        reason: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { source: source.into(), ..Self::general(reason, fix) }
    }
}

/// Longest part of a refused text that is repeated.
const TEXT_BYTES_MAX: usize = 120;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.option.is_empty() {
            write!(f, "{}: ", self.option)?;
        }
        if !self.source.is_empty() {
            f.write_str(&self.source)?;
            if let Some(text) = &self.text {
                write!(f, " = {:?}", stdx::cut(text, TEXT_BYTES_MAX))?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.reason)?;
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        Ok(())
    }
}

/// Everything that keeps a program from starting, in the order of the option table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Report {
    /// The problems; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [one] => write!(f, "the configuration has a problem: {one}"),
            many => {
                write!(f, "the configuration has {} problems:", many.len())?;
                for (index, problem) in many.iter().enumerate() {
                    write!(f, "\n  {}. {problem}", index + 1)?;
                }
                Ok(())
            }
        }
    }
}
