use serde_json::json;
use stdx::ids::{AuditId, OrganizationId, RequestId, UserId};
use store::Pk;
use time::macros::datetime;
use uuid::Uuid;

use super::*;

fn row(kind: &str, action: &str, status_code: i32) -> AuditLog {
    AuditLog {
        id: Pk(AuditId::new(Uuid::from_u128(1))),
        time: datetime!(2026-01-02 03:04:05.000006 UTC),
        user_id: Pk(UserId::nil()),
        organization_id: Pk(OrganizationId::nil()),
        ip: None,
        user_agent: None,
        resource_type: kind.to_owned(),
        resource_id: Uuid::from_u128(7),
        resource_target: "a name".to_owned(),
        resource_icon: String::new(),
        action: action.to_owned(),
        diff: json!({}),
        status_code,
        additional_fields: json!({}),
        request_id: Pk(RequestId::new(Uuid::from_u128(2))),
    }
}

fn shown(log: AuditLog) -> sdk::AuditLog {
    to_wire(log, None, &Around::default()).unwrap()
}

#[test]
fn a_row_of_an_unknown_verb_is_corrupt() {
    let refused = to_wire(row("user", "dance", 200), None, &Around::default());
    assert!(format!("{refused:?}").contains("audit_logs has an impossible action"), "{refused:?}");
}

#[test]
fn descriptions_follow_the_grammar() {
    for (kind, action, status, expected) in [
        ("user", "create", 201, "{user} created user {target}"),
        ("user", "write", 200, "{user} updated user {target}"),
        ("user", "delete", 404, "{user} unsuccessfully attempted to delete user {target}"),
        ("user", "write", 303, "{user} was redirected while attempting to write user {target}"),
        ("user", "request_password_reset", 204, "password reset requested for {target}"),
        ("ai_provider", "create", 201, "{user} created ai provider {target}"),
        ("ai_provider_key", "delete", 204, "{user} deleted ai provider key {target}"),
        ("api_key", "create", 201, "{user} created token {target}"),
        ("api_key", "login", 201, "{user} logged in"),
        ("api_key", "login", 401, "{user} unsuccessfully attempted to login"),
        ("api_key", "logout", 200, "{user} logged out"),
        ("api_key", "register", 201, "{user} registered"),
        ("git_ssh_key", "write", 200, "{user} updated the git ssh key"),
        ("convert_login", "create", 201, "{user} created login type conversion to {target}"),
        ("workspace_build", "start", 200, "{user} started workspace {target}"),
        ("idp_sync_settings_group", "write", 200, "{user} updated settings {target}"),
    ] {
        assert_eq!(shown(row(kind, action, status)).description, expected);
    }
}

#[test]
fn links_lead_where_pages_are() {
    let id = Uuid::from_u128(7);
    for (kind, expected) in [
        ("user", "/users?filter=a+name".to_owned()),
        ("template", "/templates/a+name".to_owned()),
        ("oauth2_provider_app", format!("/deployment/oauth2-provider/apps/{id}")),
        ("workspace", String::new()),
        ("ai_provider", String::new()),
    ] {
        assert_eq!(shown(row(kind, "write", 200)).resource_link, expected, "{kind}");
    }
    let fields = json!({ "workspace_owner": "ann", "workspace_name": "dev", "build_number": "3" });
    for (kind, expected) in
        [("workspace", "/@ann/a+name"), ("workspace_build", "/@ann/dev/builds/3")]
    {
        let log = AuditLog { additional_fields: fields.clone(), ..row(kind, "start", 200) };
        assert_eq!(shown(log).resource_link, expected);
    }
}

#[test]
fn what_is_deleted_has_no_link() {
    let around = Around { deleted: [Uuid::from_u128(7)].into(), ..Around::default() };
    let log = to_wire(row("user", "delete", 200), None, &around).unwrap();
    assert!(log.is_deleted && log.resource_link.is_empty());
}

#[test]
fn absent_things_have_the_shape_that_clients_expect() {
    let log = AuditLog {
        diff: json!({
            "name": { "old": "", "new": "x", "secret": false },
            "settings": { "old": "", "new": "", "secret": true },
            "note": { "new": null },
        }),
        additional_fields: json!(null),
        ip: Some("203.0.113.7".parse::<std::net::IpAddr>().unwrap().into()),
        ..row("ai_provider", "write", 200)
    };
    let shown = serde_json::to_value(shown(log)).unwrap();
    assert_eq!(
        shown["diff"],
        json!({
            "name": { "old": "", "new": "x", "secret": false },
            "settings": { "old": "", "new": "", "secret": true },
            "note": { "new": null, "secret": false },
        })
    );
    assert_eq!(shown["additional_fields"], json!({}));
    assert_eq!(shown["user"], json!(null));
    assert_eq!(shown["ip"], "203.0.113.7");
    assert_eq!(shown["user_agent"], "");
    assert_eq!(shown["time"], "2026-01-02T03:04:05.000006Z");
    assert!(shown.get("organization").is_none());
}
