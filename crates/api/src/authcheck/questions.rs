//! Questions as they arrive, all of their faults told at once.

use rbac::{Action, Object, ObjectError, RawObject};
use sdk::{AuthorizationCheck, AuthorizationRequest, Validation};
use stdx::ids::UserId;
use uuid::Uuid;

use crate::error::{ApiError, ApiResult};

/// Most questions of one request. A page of the dashboard asks some dozens.
const CHECKS_MAX: usize = 100;
/// Most of them that need a row.
const ROWS_MAX: usize = 10;
/// Most bytes of a text of the caller's that a message repeats.
const SHOWN_MAX: usize = 64;

/// May the caller do this to that?
#[derive(Debug)]
pub(super) struct Question {
    pub(super) name: String,
    pub(super) action: Action,
    pub(super) target: Target,
}

/// What a question is about.
#[derive(Debug)]
pub(super) enum Target {
    /// Something that is as described, whether it exists or not.
    Described(Object<'static>),
    /// One thing that is stored.
    Row(Kind, Uuid),
}

/// Of what kind single things can be asked about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Workspace,
    Template,
    User,
    Group,
}

impl Kind {
    fn of(resource_type: &str) -> Option<Self> {
        Some(match resource_type {
            "workspace" => Self::Workspace,
            "template" => Self::Template,
            "user" => Self::User,
            "group" => Self::Group,
            _ => return None,
        })
    }
}

/// Reads the questions of `me`, in the order of their names.
///
/// # Errors
/// 400 that names what is wrong with which question.
pub(super) fn read(req: AuthorizationRequest, me: UserId) -> ApiResult<Vec<Question>> {
    let asked = req.checks.len();
    if asked > CHECKS_MAX {
        let detail = format!("{asked} checks; max allowed is {CHECKS_MAX}");
        return Err(refused(
            format!("At most {CHECKS_MAX} checks can be made at once, not {asked}."),
            vec![Validation { field: "checks".to_owned(), detail }],
        ));
    }
    let rows = req.checks.values().filter(|check| !check.object.resource_id.is_empty()).count();
    if rows > ROWS_MAX {
        return Err(refused(
            format!(
                "Endpoint only supports using \"resource_id\" field {ROWS_MAX} times, used {rows} \
                 times. Remove {} objects with this field set.",
                rows - ROWS_MAX
            ),
            vec![Validation {
                field: "resource_id".to_owned(),
                detail: format!("used {rows} times; max allowed is {ROWS_MAX}"),
            }],
        ));
    }
    let mut questions = Vec::with_capacity(asked);
    let mut faults: Vec<Fault> = Vec::new();
    for (name, check) in req.checks {
        match question(&name, &check, me) {
            Ok((action, target)) => questions.push(Question { name, action, target }),
            Err(fault) => faults.push(fault),
        }
    }
    let Some(first) = faults.first() else { return Ok(questions) };
    let message = first.message.clone();
    let validations = faults
        .into_iter()
        .map(|fault| Validation { field: fault.field.to_owned(), detail: fault.message });
    Err(refused(message, validations.collect()))
}

fn refused(message: String, validations: Vec<Validation>) -> ApiError {
    ApiError::invalid_as(message, validations)
}

struct Fault {
    field: &'static str,
    message: String,
}

fn question(name: &str, check: &AuthorizationCheck, me: UserId) -> Result<(Action, Target), Fault> {
    let name = stdx::cut(name, SHOWN_MAX);
    let fault = |field, why: String| Fault { field, message: why };
    let object = &check.object;
    let own;
    let owner = if object.owner_id == "me" {
        own = me.to_string();
        &own
    } else {
        &object.owner_id
    };
    let described = RawObject {
        resource_type: &object.resource_type,
        id: "",
        owner,
        org: &object.organization_id,
        any_org: object.any_org,
    };
    let described = described.parse().map_err(|error| {
        let (field, why) = match &error {
            ObjectError::NoType => (
                "resource_type",
                format!("Object's \"resource_type\" field must be defined for key \"{name}\"."),
            ),
            ObjectError::Type(_) => ("resource_type", told(&error, name)),
            ObjectError::Id { field: "owner id", .. } => ("owner_id", told(&error, name)),
            ObjectError::Id { .. } => ("organization_id", told(&error, name)),
            ObjectError::BothOrganizations { .. } => ("any_org", told(&error, name)),
        };
        fault(field, why)
    })?;
    let action = check.action.parse().map_err(|error| fault("action", told(&error, name)))?;
    if object.resource_id.is_empty() {
        return Ok((action, Target::Described(described)));
    }
    let kind = Kind::of(&object.resource_type).ok_or_else(|| {
        let kind = described.resource();
        let why = format!("Object type \"{kind}\" does not support \"resource_id\" field.");
        fault("resource_type", why)
    })?;
    let id = Uuid::parse_str(&object.resource_id).map_err(|_| {
        let shown = stdx::cut(&object.resource_id, SHOWN_MAX);
        let why =
            format!("Object's \"resource_id\" must be a UUID for key \"{name}\": \"{shown}\".");
        fault("resource_id", why)
    })?;
    Ok((action, Target::Row(kind, id)))
}

/// A fault in the words of its finder, and where it is.
fn told(error: &impl std::fmt::Display, name: &str) -> String {
    format!("{error}, for key \"{name}\".")
}

#[cfg(test)]
mod tests;
