use std::collections::BTreeMap;

use sdk::{AuditDiffField, MinimalOrganization};
use serde_json::{Map, Value};
use store::Error;
use store::audit_logs::AuditLog;
use store::users::User;
use url::form_urlencoded::byte_serialize;

use super::Around;
use super::describe::describe;
use super::kinds::VERBS;
use crate::error::ApiResult;
use crate::users;

/// A row as the wire has it.
pub(super) fn to_wire(
    log: AuditLog,
    user: Option<User>,
    around: &Around,
) -> ApiResult<sdk::AuditLog> {
    let verb = VERBS.iter().find(|verb| verb.name == log.action).ok_or_else(|| Error::Corrupt {
        table: "audit_logs",
        column: "action",
        row: log.id.0.to_string(),
    })?;
    let is_deleted = around.deleted.contains(&log.resource_id);
    let organization = around.organizations.iter().find(|found| found.id == log.organization_id);
    Ok(sdk::AuditLog {
        id: log.id.0.uuid(),
        request_id: log.request_id.0.uuid(),
        time: log.time.into(),
        ip: log.ip.map(|network| network.addr().to_string()).unwrap_or_default(),
        action: verb.action,
        description: describe(&log, verb),
        resource_link: if is_deleted { String::new() } else { link(&log) },
        is_deleted,
        user_agent: log.user_agent.unwrap_or_default(),
        resource_type: log.resource_type,
        resource_id: log.resource_id,
        resource_target: log.resource_target,
        resource_icon: log.resource_icon,
        diff: diff(log.diff),
        status_code: log.status_code,
        additional_fields: match log.additional_fields {
            fields @ Value::Object(_) => fields,
            _ => Value::Object(Map::new()),
        },
        organization_id: log.organization_id.0.uuid(),
        organization: organization.map(|found| MinimalOrganization {
            id: found.id.0.uuid(),
            name: found.name.clone(),
            display_name: found.display_name.clone(),
            icon: found.icon.clone(),
        }),
        user: user.map(|user| users::to_wire(user, Vec::new())),
    })
}

fn diff(stored: Value) -> BTreeMap<String, AuditDiffField> {
    let Value::Object(fields) = stored else { return BTreeMap::new() };
    fields
        .into_iter()
        .map(|(name, mut field)| {
            let mut take = |side| field.get_mut(side).map(Value::take);
            let (old, new) = (take("old"), take("new"));
            let secret = field.get("secret").and_then(Value::as_bool).unwrap_or(false);
            (name, AuditDiffField { old, new, secret })
        })
        .collect()
}

/// Where the admin pages show the thing; empty where they have no place for it.
fn link(log: &AuditLog) -> String {
    let target: String = byte_serialize(log.resource_target.as_bytes()).collect();
    let id = log.resource_id;
    let field = |name: &str| {
        let text = log.additional_fields.get(name).and_then(Value::as_str)?;
        Some(byte_serialize(text.as_bytes()).collect::<String>()).filter(|text| !text.is_empty())
    };
    match log.resource_type.as_str() {
        "template" => format!("/templates/{target}"),
        "user" => format!("/users?filter={target}"),
        "oauth2_provider_app" => format!("/deployment/oauth2-provider/apps/{id}"),
        "chat" => format!("/agents/{id}"),
        "workspace" => {
            field("workspace_owner").map_or_else(String::new, |owner| format!("/@{owner}/{target}"))
        }
        "workspace_build" => {
            match (field("workspace_owner"), field("workspace_name"), field("build_number")) {
                (Some(owner), Some(name), Some(number)) => {
                    format!("/@{owner}/{name}/builds/{number}")
                }
                _ => String::new(),
            }
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
