//! Rules for fields of requests, collected so that a caller learns of all broken ones at once.

use sdk::Validation;

use crate::error::{ApiError, ApiResult};

/// Broken rules of one request.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<Validation>);

impl Rules {
    /// Notes a broken rule.
    pub(crate) fn broken(&mut self, field: &str, detail: impl Into<String>) {
        self.0.push(Validation { field: field.to_owned(), detail: detail.into() });
    }

    /// Notes the outcome of a check.
    pub(crate) fn check(&mut self, field: &str, outcome: Result<(), String>) {
        if let Err(detail) = outcome {
            self.broken(field, detail);
        }
    }

    /// An error if any rule was broken.
    pub(crate) fn finish(self) -> ApiResult<()> {
        if self.0.is_empty() { Ok(()) } else { Err(ApiError::invalid(self.0)) }
    }
}

/// Names of users and organizations: 1 to 32 letters and digits with single inner hyphens.
pub(crate) fn name(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("must be >= 1 character".to_owned());
    }
    if text.len() > 32 {
        return Err("must be <= 32 characters".to_owned());
    }
    let shaped = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && text.split('-').all(|part| !part.is_empty());
    if !shaped {
        return Err("must be alphanumeric with hyphens".to_owned());
    }
    if text == "new" || text == "create" {
        return Err(format!("cannot use \"{text}\" as a name"));
    }
    Ok(())
}

/// A person's name: at most 128 characters, no white space around it.
pub(crate) fn real_name(text: &str) -> Result<(), String> {
    if text.chars().count() > 128 {
        return Err("must be <= 128 characters".to_owned());
    }
    if text.trim() != text {
        return Err("must not have leading or trailing white space".to_owned());
    }
    Ok(())
}

/// An address that mail could be sent to. Deliverability is for a mail to find out.
pub(crate) fn email(text: &str) -> Result<(), String> {
    let shaped = text.len() <= 254
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        && text.rsplit_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && local.len() <= 64
                && !domain.is_empty()
                && !domain.starts_with('.')
                && !domain.ends_with('.')
                && !domain.contains("..")
        });
    if shaped {
        Ok(())
    } else {
        Err(format!("Validation failed for tag \"email\" with value: \"{text}\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, fine) in [
            ("alice", true),
            ("a-b", true),
            ("A1", true),
            ("", false),
            ("-a", false),
            ("a--b", false),
            ("a_b", false),
            ("new", false),
            ("create", false),
            ("ä", false),
            (&"a".repeat(33), false),
        ] {
            assert_eq!(name(text).is_ok(), fine, "{text}");
        }
    }

    #[test]
    fn emails() {
        for (text, fine) in [
            ("a@b.c", true),
            ("a+b@localhost", true),
            ("a", false),
            ("@b.c", false),
            ("a@", false),
            ("a b@c.d", false),
            ("a@b..c", false),
        ] {
            assert_eq!(email(text).is_ok(), fine, "{text}");
        }
    }
}
