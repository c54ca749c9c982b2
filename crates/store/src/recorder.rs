//! What was decided for one request, for whoever looks for the cause of a refusal.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use rbac::{Action, Object};

/// Most bytes of decisions that are kept. Every character is ASCII.
const BYTES_MAX: usize = 2_000;

/// Notes decisions in the order in which they are taken, up to 2,000 characters; what comes then is dropped.
///
/// It is for development: the ids in it may be of objects that the caller cannot see.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<String>);

impl Recorder {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn note(&self, action: Action, object: &Object<'_>, allowed: bool) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() > BYTES_MAX {
            return;
        }
        if !noted.is_empty() {
            noted.push_str("; ");
        }
        // Writing to a string does not fail.
        let _ = describe(&mut noted, object);
        let _ = write!(noted, "{}.{action}={allowed}", object.resource());
    }

    /// The decisions, separated by `; `: `organization:<id>::`, `owner:<id>::` and `id:<id>::` as far as they are
    /// known, then `<type>.<action>=true` or `=false`. `nil` if there were none; ends in `<truncated>` if there
    /// were more.
    #[must_use]
    pub fn text(&self) -> String {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match noted.len() {
            0 => "nil".to_owned(),
            1..=BYTES_MAX => noted.clone(),
            _ => format!("{}<truncated>", stdx::cut(&noted, BYTES_MAX)),
        }
    }
}

fn describe(out: &mut String, object: &Object<'_>) -> std::fmt::Result {
    if object.is_any_org() {
        out.push_str("organization:any::");
    } else if let Some(org) = object.organization() {
        write!(out, "organization:{org}::")?;
    }
    if let Some(owner) = object.owner_id() {
        write!(out, "owner:{owner}::")?;
    }
    if let Some(id) = object.object_id() {
        write!(out, "id:{id}::")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rbac::Resource;
    use stdx::ids::{OrganizationId, UserId};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn decisions_are_told_in_order_with_what_is_known() {
        let recorder = Recorder::new();
        assert_eq!(recorder.text(), "nil");
        let workspace = Object::new(Resource::Workspace);
        let (id, org) = (Uuid::from_u128(3), OrganizationId::new(Uuid::from_u128(1)));
        recorder.note(Action::Read, &workspace, true);
        recorder.note(
            Action::Ssh,
            &workspace.in_org(org).owner(UserId::new(Uuid::from_u128(2))).id(id),
            false,
        );
        recorder.note(Action::Create, &workspace.any_org(), false);
        assert_eq!(
            recorder.text(),
            "workspace.read=true; organization:00000000-0000-0000-0000-000000000001::\
             owner:00000000-0000-0000-0000-000000000002::\
             id:00000000-0000-0000-0000-000000000003::workspace.ssh=false; \
             organization:any::workspace.create=false"
        );
    }

    #[test]
    fn what_does_not_fit_is_cut_and_not_kept() {
        let recorder = Recorder::new();
        for _ in 0..10_000 {
            recorder.note(Action::Read, &Object::new(Resource::Workspace), true);
        }
        let text = recorder.text();
        assert_eq!(text.len(), BYTES_MAX + "<truncated>".len());
        assert!(text.ends_with("<truncated>"));
        assert!(recorder.0.lock().unwrap().capacity() < 2 * BYTES_MAX + 100);
    }
}
