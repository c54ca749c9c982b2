//! Roles that people write, who holds them, and whose workspaces may be shared.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{Session, TestApp};

const ROLES: &str = "/organizations/default/members/roles";
const SHARING: &str = "/organizations/default/settings/workspace-sharing";

async fn send(session: &Session, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let response = session.request(method, path).json(body).send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

fn allow(resource_type: &str, action: &str) -> Value {
    json!({ "negate": false, "resource_type": resource_type, "action": action })
}

fn role(name: &str, permissions: &[Value]) -> Value {
    json!({ "name": name, "display_name": "Keeper", "organization_permissions": permissions })
}

async fn user_id(app: &TestApp, name: &str) -> String {
    let rows =
        app.db.sql(&format!("SELECT id FROM users WHERE username = '{name}'")).await.unwrap();
    rows[0][0].clone().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_roles_is_for_those_it_is_for() {
    let (app, owner) = TestApp::new().await;
    app.user("bob", &[]).await;
    let made = send(&owner, Method::POST, ROLES, &role("keeper", &[])).await;
    assert_eq!(made.0, 200, "{made:?}");
    let elsewhere = "/organizations/99999999-0000-4000-8000-000000000001";
    for (who, session, statuses) in [
        ("anonymous", app.anonymous(), [401, 401, 401, 401, 401, 401, 401, 401, 401]),
        ("member", app.user("mia", &[]).await, [200, 404, 404, 403, 403, 200, 400, 200, 403]),
        (
            "auditor",
            app.user("audrey", &["auditor"]).await,
            [200, 404, 404, 403, 403, 200, 403, 200, 403],
        ),
        ("owner", owner.clone(), [200, 200, 200, 204, 200, 200, 200, 200, 200]),
    ] {
        let seen = [
            send(&session, Method::GET, ROLES, &Value::Null).await,
            send(&session, Method::POST, ROLES, &role("second", &[])).await,
            send(&session, Method::PUT, ROLES, &role("keeper", &[])).await,
            send(&session, Method::DELETE, &format!("{ROLES}/keeper"), &Value::Null).await,
            send(
                &session,
                Method::PUT,
                "/organizations/default/members/bob/roles",
                &json!({ "roles": ["organization-auditor"] }),
            )
            .await,
            send(&session, Method::GET, "/users/roles", &Value::Null).await,
            send(&session, Method::PUT, "/users/bob/roles", &json!({ "roles": ["auditor"] })).await,
            send(&session, Method::GET, SHARING, &Value::Null).await,
            send(
                &session,
                Method::PATCH,
                SHARING,
                &json!({ "shareable_workspace_owners": "everyone" }),
            )
            .await,
        ];
        let found = seen.each_ref().map(|(status, _)| *status);
        assert_eq!(found, statuses, "{who}: {seen:#?}");
        if who != "anonymous" {
            let (status, _) =
                send(&session, Method::GET, &format!("{elsewhere}/members/roles"), &Value::Null)
                    .await;
            assert_eq!(status, 404, "{who}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_must_not_be_is_refused_in_words() {
    let (_app, owner) = TestApp::new().await;
    let wide = |field: &str| {
        let mut body = role("keeper", &[]);
        body[field] = json!([allow("group", "read")]);
        body
    };
    let negative = json!({ "negate": true, "resource_type": "group", "action": "read" });
    for (body, message, detail) in [
        (
            role("owner", &[]),
            "Reserved role name",
            "\"owner\" is a reserved role name, and not allowed to be used",
        ),
        (
            role("organization-member", &[]),
            "Reserved role name",
            "\"organization-member\" is a reserved role name",
        ),
        (
            role("agents-access", &[]),
            "Reserved role name",
            "\"agents-access\" is a reserved role name",
        ),
        (role("a b", &[]), "Invalid role name", "1 to 32 letters and digits"),
        (role("", &[]), "Invalid role name", "1 to 32 letters and digits"),
        (role(&"x".repeat(33), &[]), "Invalid role name", "1 to 32 letters and digits"),
        (
            wide("site_permissions"),
            "Invalid request, not allowed to assign site wide permissions for an organization role.",
            "organization scoped roles may not contain site wide permissions",
        ),
        (
            wide("user_permissions"),
            "Invalid request, not allowed to assign user permissions for an organization role.",
            "organization scoped roles may not contain user permissions",
        ),
        (
            wide("organization_member_permissions"),
            "Invalid request, not allowed to assign organization member permissions for an organization role.",
            "organization scoped roles may not contain organization member permissions",
        ),
        (
            role("keeper", &[negative]),
            "Failed to update role permissions",
            "invalid permission for action=\"read\" type=\"group\", no negative permissions",
        ),
        (
            role("keeper", &[allow("group", "*")]),
            "Failed to update role permissions",
            "no wildcard symbols",
        ),
        (
            role("keeper", &[allow("*", "read")]),
            "Failed to update role permissions",
            "no wildcard symbols",
        ),
        (
            role("keeper", &[allow("spaceship", "read")]),
            "Failed to update role permissions",
            "invalid role: org=",
        ),
        (
            role("keeper", &[allow("group", "ssh")]),
            "Failed to update role permissions",
            "invalid role: org=",
        ),
    ] {
        let (status, answer) = send(&owner, Method::POST, ROLES, &body).await;
        assert_eq!(
            (status, answer["message"].as_str().unwrap()),
            (400, message),
            "{body} {answer}"
        );
        assert!(answer["detail"].as_str().unwrap().contains(detail), "{body} {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_found_by_name_and_stay_editable() {
    let (_app, owner) = TestApp::new().await;
    let long = json!({ "name": "keeper", "display_name": "x".repeat(65) });
    let (status, answer) = send(&owner, Method::POST, ROLES, &long).await;
    assert_eq!((status, &answer["validations"][0]["field"]), (400, &json!("display_name")));
    assert_eq!(send(&owner, Method::POST, ROLES, &role("keeper", &[])).await.0, 200);
    let (status, answer) = send(&owner, Method::POST, ROLES, &role("KEEPER", &[])).await;
    assert_eq!((status, &answer["validations"][0]["field"]), (409, &json!("name")), "{answer}");
    for method in [Method::PUT, Method::DELETE] {
        let path = if method == Method::PUT { ROLES.to_owned() } else { format!("{ROLES}/absent") };
        let (status, answer) = send(&owner, method, &path, &role("absent", &[])).await;
        let message = "No custom role with the name absent found";
        assert_eq!((status, answer["message"].as_str().unwrap()), (404, message));
    }
    let (status, answer) =
        send(&owner, Method::DELETE, &format!("{ROLES}/organization-member"), &Value::Null).await;
    assert_eq!((status, &answer["message"]), (400, &json!("Reserved role name")));
    // What is unknown now was known when the role was made: it goes, and the rest stays.
    let (status, answer) = send(
        &owner,
        Method::PUT,
        ROLES,
        &role(
            "keeper",
            &[allow("spaceship", "read"), allow("group", "read"), allow("group", "read")],
        ),
    )
    .await;
    assert_eq!(
        (status, &answer["organization_permissions"]),
        (200, &json!([allow("group", "read")]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_grants_more_than_the_credential_may() {
    let (app, owner) = TestApp::new().await;
    let mia = app.user("mia", &[]).await;
    let writer = role("writer", &[allow("assign_org_role", "create")]);
    assert_eq!(send(&owner, Method::POST, ROLES, &writer).await.0, 200);
    let member = "/organizations/default/members/mia/roles";
    let given = send(&owner, Method::PUT, member, &json!({ "roles": ["writer"] })).await;
    assert_eq!(given.0, 200, "{given:?}");
    assert_eq!(send(&mia, Method::POST, ROLES, &role("empty", &[])).await.0, 200);
    let wide = role("keeper", &[allow("organization", "update")]);
    let (status, answer) = send(&mia, Method::POST, ROLES, &wide).await;
    assert_eq!(status, 400, "{answer}");
    assert_eq!(
        answer["detail"],
        "invalid permission for action=\"update\" type=\"organization\", not allowed to grant this permission"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_shown_as_clients_know_them() {
    let (app, owner) = TestApp::new().await;
    let mia = app.user("mia", &[]).await;
    let (_, made) =
        send(&owner, Method::POST, ROLES, &role("keeper", &[allow("group", "read")])).await;
    let organization = made["organization_id"].clone();
    let wanted = json!({
        "name": "keeper", "organization_id": organization, "display_name": "Keeper",
        "site_permissions": [], "user_permissions": [],
        "organization_permissions": [allow("group", "read")], "organization_member_permissions": [],
    });
    assert_eq!(made, wanted);
    let (_, roles) = send(&owner, Method::GET, ROLES, &Value::Null).await;
    let roles = roles.as_array().unwrap();
    let names: Vec<&str> = roles.iter().map(|role| role["name"].as_str().unwrap()).collect();
    assert!(
        names.contains(&"organization-admin") && !names.contains(&"organization-member"),
        "{names:?}"
    );
    let mut last = wanted;
    last["assignable"] = json!(true);
    last["built_in"] = json!(false);
    assert_eq!(roles.last().unwrap(), &last);
    let (_, seen) = send(&mia, Method::GET, ROLES, &Value::Null).await;
    assert!(seen.as_array().unwrap().iter().all(|role| role["assignable"] == json!(false)));
    let (_, site) = send(&owner, Method::GET, "/users/roles", &Value::Null).await;
    let site: Vec<&str> =
        site.as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap()).collect();
    assert_eq!(site, ["owner", "auditor", "template-admin", "user-admin"]);
    let member = "/organizations/default/members/mia/roles";
    let both = json!({ "roles": ["keeper", "organization-auditor", "keeper"] });
    let (status, member) = send(&owner, Method::PUT, member, &both).await;
    assert_eq!(status, 200, "{member}");
    assert_eq!(
        member["roles"],
        json!([
            { "name": "keeper", "display_name": "Keeper", "organization_id": organization },
            { "name": "organization-auditor", "display_name": "Organization Auditor", "organization_id": organization },
        ])
    );
    assert_eq!(member["user_id"], json!(user_id(&app, "mia").await));
    let (status, held) = send(&mia, Method::GET, "/users/me/roles", &Value::Null).await;
    let organization = organization.as_str().unwrap();
    assert_eq!(
        (status, held),
        (
            200,
            json!({ "roles": [], "organization_roles": { organization: ["keeper", "organization-auditor"] } })
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_role_is_felt_at_once_in_every_process() {
    let (app, owner) = TestApp::new().await;
    let twin = app.twin().await;
    let mia = app.user("mia", &[]).await;
    let mia_there = Session::at(&twin.url, &mia);
    let may = async || {
        let body = json!({ "shareable_workspace_owners": "everyone" });
        let here = send(&mia, Method::PATCH, SHARING, &body).await.0;
        assert_eq!(send(&mia_there, Method::PATCH, SHARING, &body).await.0, here);
        here
    };
    assert_eq!(may().await, 403);
    let sharer = role("sharer", &[allow("organization", "update")]);
    assert_eq!(send(&owner, Method::POST, ROLES, &sharer).await.0, 200);
    let give = |roles: &[&str]| json!({ "roles": roles });
    let member = "/organizations/default/members/mia/roles";
    assert_eq!(send(&owner, Method::PUT, member, &give(&["sharer"])).await.0, 200);
    assert_eq!(may().await, 200);
    assert_eq!(send(&owner, Method::PUT, ROLES, &role("sharer", &[])).await.0, 200);
    assert_eq!(may().await, 403);
    assert_eq!(send(&owner, Method::PUT, ROLES, &sharer).await.0, 200);
    assert_eq!(may().await, 200);
    assert_eq!(send(&owner, Method::DELETE, &format!("{ROLES}/sharer"), &Value::Null).await.0, 204);
    assert_eq!(may().await, 403);
    // Another one of the same name is not the one that was given.
    assert_eq!(send(&owner, Method::POST, ROLES, &sharer).await.0, 200);
    assert_eq!(may().await, 403);
    assert_eq!(send(&owner, Method::PUT, "/users/mia/roles", &give(&["owner"])).await.0, 200);
    assert_eq!(may().await, 200);
    assert_eq!(send(&owner, Method::PUT, "/users/mia/roles", &give(&[])).await.0, 200);
    assert_eq!(may().await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_changed_by_others_within_what_they_may_give() {
    let (app, owner) = TestApp::new().await;
    let una = app.user("una", &["user-admin"]).await;
    app.user("bob", &["auditor"]).await;
    for (session, path, roles, status, text) in [
        (&owner, "/users/me/roles", &["owner"][..], 400, "You cannot change your own roles."),
        (&owner, "/users/owner/roles", &[], 400, "You cannot change your own roles."),
        (
            &owner,
            "/organizations/default/members/me/roles",
            &[],
            400,
            "You cannot change your own organization roles.",
        ),
        (&owner, "/users/bob/roles", &["nonsense"], 400, "\"nonsense\" is not a supported role"),
        (&owner, "/users/bob/roles", &["organization-admin"], 400, "organization-admin"),
        (
            &owner,
            "/users/bob/roles",
            &["agents-access"],
            400,
            "\"agents-access\" is not a supported role",
        ),
        (
            &owner,
            "/users/nobody/roles",
            &["auditor"],
            400,
            "\"user\" must be an existing uuid or username.",
        ),
        (&owner, "/organizations/default/members/nobody/roles", &[], 404, "Resource not found"),
        (&owner, "/organizations/default/members/bob/roles", &["owner"], 400, "owner"),
        (
            &owner,
            "/organizations/default/members/bob/roles",
            &["absent"],
            400,
            "is not a supported role",
        ),
        (
            &owner,
            "/organizations/default/members/bob/roles",
            &["organization-service-account"],
            400,
            "not authorized to assign role",
        ),
        (&una, "/users/bob/roles", &["owner", "auditor"], 400, "not authorized to assign role"),
        (&una, "/users/bob/roles", &[], 400, "not authorized to assign role"),
        (
            &una,
            "/organizations/default/members/bob/roles",
            &["organization-admin"],
            400,
            "not authorized to assign role",
        ),
        (
            &una,
            "/organizations/default/members/bob/roles",
            &["organization-workspace-access"],
            200,
            "",
        ),
        (&owner, "/users/bob/roles", &["user-admin", "member"], 200, ""),
    ] {
        let (found, answer) = send(session, Method::PUT, path, &json!({ "roles": roles })).await;
        assert_eq!(found, status, "{path} {roles:?} {answer}");
        let told = format!("{} {}", answer["message"], answer["detail"]).replace('\\', "");
        assert!(told.contains(text), "{path} {roles:?} {answer}");
    }
    let kinds = app
        .db
        .sql("SELECT resource_type || ' ' || action || ' ' || resource_target FROM audit_logs WHERE resource_type IN ('user', 'organization_member') AND action = 'write' ORDER BY time")
        .await
        .unwrap();
    let kinds: Vec<_> = kinds.into_iter().flatten().flatten().collect();
    assert_eq!(kinds, ["organization_member write bob", "user write bob"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing_is_set_in_three_ways_and_recorded() {
    let (app, owner) = TestApp::new().await;
    let wanted = |mode: &str| json!({ "sharing_globally_disabled": false, "sharing_disabled": mode == "none", "shareable_workspace_owners": mode });
    assert_eq!(send(&owner, Method::GET, SHARING, &Value::Null).await, (200, wanted("everyone")));
    for (body, mode) in [
        (json!({ "shareable_workspace_owners": "none" }), "none"),
        (
            json!({ "shareable_workspace_owners": "service_accounts", "sharing_disabled": true }),
            "service_accounts",
        ),
        (json!({ "sharing_disabled": true }), "none"),
        (json!({ "sharing_disabled": false, "shareable_workspace_owners": null }), "everyone"),
    ] {
        assert_eq!(
            send(&owner, Method::PATCH, SHARING, &body).await,
            (200, wanted(mode)),
            "{body}"
        );
        assert_eq!(send(&owner, Method::GET, SHARING, &Value::Null).await, (200, wanted(mode)));
        let denied = "SELECT (org_permissions @> '[{\"negate\": true, \"resource_type\": \"workspace\"}]')::text FROM custom_roles WHERE name = 'organization-member'";
        let rows = app.db.sql(denied).await.unwrap();
        assert_eq!(
            rows[0][0].as_deref(),
            Some(if mode == "none" { "true" } else { "false" }),
            "{mode}"
        );
    }
    let (status, answer) =
        send(&owner, Method::PATCH, SHARING, &json!({ "shareable_workspace_owners": "all" })).await;
    assert_eq!(
        (status, &answer["message"]),
        (400, &json!("Invalid shareable workspace owners value."))
    );
    assert_eq!(answer["validations"][0]["field"], "shareable_workspace_owners");
    let rows = app
        .db
        .sql("SELECT count(*) FROM audit_logs WHERE resource_type = 'organization' AND action = 'write'")
        .await
        .unwrap();
    assert_eq!(rows[0][0].as_deref(), Some("4"));
    let member = app.user("mia", &[]).await;
    assert_eq!(member.get(SHARING).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing_that_is_off_for_all_is_off_whatever_the_organization_says() {
    let app =
        TestApp::start(crypt::Keyring::empty(), |base| base.roles.disable_workspace_sharing = true)
            .await;
    let owner = app.first_user().await;
    let off = json!({ "sharing_globally_disabled": true, "sharing_disabled": true, "shareable_workspace_owners": "none" });
    assert_eq!(send(&owner, Method::GET, SHARING, &Value::Null).await, (200, off.clone()));
    let all = json!({ "shareable_workspace_owners": "everyone" });
    assert_eq!(send(&owner, Method::PATCH, SHARING, &all).await, (200, off));
}
