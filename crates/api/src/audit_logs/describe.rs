use http::StatusCode;
use sdk::AuditAction;
use store::audit_logs::AuditLog;

use super::kinds::{Verb, label};

const SEE_OTHER: i32 = StatusCode::SEE_OTHER.as_u16() as i32;
const BAD_REQUEST: i32 = StatusCode::BAD_REQUEST.as_u16() as i32;

/// A row as a sentence, with the placeholders `{user}` and `{target}`.
pub(super) fn describe(log: &AuditLog, verb: &Verb) -> String {
    let resets_password = verb.action == AuditAction::RequestPasswordReset;
    // Anybody who knows an address can ask for that; it need not have been the user.
    let mut text = if resets_password { String::new() } else { "{user} ".to_owned() };
    let attempted = verb.name.replace('_', " ");
    if log.status_code == SEE_OTHER {
        text.push_str("was redirected while attempting to ");
        text.push_str(&attempted);
    } else if log.status_code >= BAD_REQUEST {
        text.push_str("unsuccessfully attempted to ");
        text.push_str(&attempted);
    } else {
        text.push_str(verb.past);
    }
    let kind = log.resource_type.as_str();
    let is_session =
        matches!(verb.action, AuditAction::Login | AuditAction::Logout | AuditAction::Register);
    if kind == "api_key" && is_session {
        return text;
    }
    if kind == "git_ssh_key" {
        text.push_str(" the git ssh key");
        return text;
    }
    text.push(' ');
    if resets_password {
        text.push_str("for");
    } else {
        text.push_str(&label(kind));
    }
    if kind == "convert_login" {
        text.push_str(" to");
    }
    text.push_str(" {target}");
    text
}
