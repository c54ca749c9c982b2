//! What each route says to those who may not: to nobody, to a member without further roles, and to a key that
//! may nothing of the kind.
//!
//! 401 is said of credentials. 404, or 400 for users, hides what the caller may not read; 403 says that it may be
//! read, or that no single thing is named. Lists show nothing.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{Session, TestApp};

const NOT_FOUND: &str =
    "{\"message\":\"Resource not found or you do not have access to this resource\"}\n";
const NOT_AN_ID: &str = "0d000000-0000-4000-8000-00000000000d";

/// Method, route, body, and the statuses for: no credential; a member, about what is not the member's; a key of the
/// site's owner that may read files and nothing else.
type Row = (&'static str, &'static str, Value, u16, u16, u16);

fn table() -> Vec<Row> {
    let mut rows = general();
    rows.extend(users());
    rows.extend(providers());
    rows.extend(organizations());
    rows.extend(gateway());
    // Last, as it ends the session of the member.
    rows.push(("POST", "/users/logout", Value::Null, 401, 200, 403));
    rows
}

fn general() -> Vec<Row> {
    let none = Value::Null;
    vec![
        ("GET", "/", none.clone(), 200, 200, 200),
        ("GET", "/buildinfo", none.clone(), 200, 200, 200),
        ("GET", "/auth/scopes", none.clone(), 200, 200, 200),
        ("POST", "/authcheck", json!({}), 401, 200, 200),
        ("GET", "/audit", none.clone(), 401, 403, 403),
        ("GET", "/connectionlog", none, 401, 403, 403),
    ]
}

fn users() -> Vec<Row> {
    let none = Value::Null;
    vec![
        ("GET", "/users/authmethods", none.clone(), 200, 200, 200),
        ("GET", "/users/first", none.clone(), 200, 200, 200),
        ("POST", "/users/first", json!({}), 409, 409, 409),
        ("POST", "/users/login", json!({}), 401, 401, 401),
        ("GET", "/users/roles", none.clone(), 401, 200, 403),
        ("GET", "/users", none.clone(), 401, 200, 200),
        ("POST", "/users", json!({}), 401, 403, 403),
        ("GET", "/users/{user}", none.clone(), 401, 400, 400),
        ("DELETE", "/users/{user}", none.clone(), 401, 400, 400),
        ("PUT", "/users/{user}/profile", json!({ "username": "x" }), 401, 400, 400),
        ("PUT", "/users/{user}/password", json!({}), 401, 400, 400),
        ("GET", "/users/{user}/login-type", none.clone(), 401, 400, 400),
        ("GET", "/users/{user}/appearance", none.clone(), 401, 400, 400),
        ("PUT", "/users/{user}/appearance", json!({}), 401, 400, 400),
        ("POST", "/users/{user}/keys", none.clone(), 401, 400, 400),
        ("GET", "/users/{user}/keys/tokens", none.clone(), 401, 400, 400),
        ("POST", "/users/{user}/keys/tokens", json!({}), 401, 400, 400),
        ("GET", "/users/{user}/keys/tokens/tokenconfig", none.clone(), 401, 400, 400),
        ("GET", "/users/{user}/keys/tokens/{keyname}", none.clone(), 401, 400, 400),
        ("GET", "/users/{user}/keys/{keyid}", none.clone(), 401, 400, 400),
        ("DELETE", "/users/{user}/keys/{keyid}", none.clone(), 401, 400, 400),
        ("PUT", "/users/{user}/keys/{keyid}/expire", none.clone(), 401, 400, 400),
        ("GET", "/users/{user}/roles", none.clone(), 401, 400, 400),
        ("PUT", "/users/{user}/roles", json!({ "roles": [] }), 401, 400, 400),
        ("PUT", "/users/{user}/status/activate", none.clone(), 401, 400, 400),
        ("PUT", "/users/{user}/status/suspend", none, 401, 400, 400),
    ]
}

fn providers() -> Vec<Row> {
    let none = Value::Null;
    vec![
        ("GET", "/ai/providers", none.clone(), 401, 403, 403),
        (
            "POST",
            "/ai/providers",
            json!({ "name": "new", "type": "openai", "base_url": "https://api.example.com/v1/" }),
            401,
            403,
            403,
        ),
        ("GET", "/ai/providers/{idOrName}", none.clone(), 401, 403, 403),
        ("PATCH", "/ai/providers/{idOrName}", json!({ "enabled": false }), 401, 403, 403),
        ("DELETE", "/ai/providers/{idOrName}", none, 401, 403, 403),
    ]
}

fn organizations() -> Vec<Row> {
    let none = Value::Null;
    vec![
        ("GET", "/organizations/{organization}/members/roles", none.clone(), 401, 200, 404),
        (
            "POST",
            "/organizations/{organization}/members/roles",
            json!({ "name": "new" }),
            401,
            404,
            404,
        ),
        (
            "PUT",
            "/organizations/{organization}/members/roles",
            json!({ "name": "reader" }),
            401,
            404,
            404,
        ),
        (
            "DELETE",
            "/organizations/{organization}/members/roles/{roleName}",
            none.clone(),
            401,
            403,
            404,
        ),
        (
            "PUT",
            "/organizations/{organization}/members/{user}/roles",
            json!({ "roles": [] }),
            401,
            404,
            404,
        ),
        (
            "GET",
            "/organizations/{organization}/settings/workspace-sharing",
            none.clone(),
            401,
            200,
            403,
        ),
        (
            "PATCH",
            "/organizations/{organization}/settings/workspace-sharing",
            json!({ "shareable_workspace_owners": "none" }),
            401,
            403,
            403,
        ),
    ]
}

fn gateway() -> Vec<Row> {
    let none = Value::Null;
    let mut rows = Vec::new();
    for (prefix, names) in [
        ("/aibridge", ["/aibridge/keys", "/aibridge/coderd-keys"]),
        ("/ai-gateway", ["/ai-gateway/keys", "/ai-gateway/coderd-keys"]),
    ] {
        let routes = ["interceptions", "sessions", "models", "clients", "providers"];
        rows.extend(routes.map(|list| {
            let route: &'static str = format!("{prefix}/{list}").leak();
            ("GET", route, none.clone(), 401, 200, 200)
        }));
        let one: &'static str = format!("{prefix}/sessions/{{session_id}}").leak();
        rows.push(("GET", one, none.clone(), 401, 404, 404));
        for keys in names {
            let key: &'static str = format!("{keys}/{{key}}").leak();
            rows.push(("GET", keys, none.clone(), 401, 403, 403));
            rows.push(("POST", keys, json!({ "name": "new" }), 401, 403, 403));
            rows.push(("DELETE", key, none.clone(), 401, 403, 403));
        }
    }
    rows
}

/// The same for something of one's own, by a key that may read users and nothing else.
fn own() -> Vec<(&'static str, &'static str, u16)> {
    vec![
        ("GET", "/users/me", 200),
        ("GET", "/users/me/roles", 403),
        ("POST", "/users/me/keys", 403),
        ("POST", "/users/me/keys/tokens", 403),
        ("GET", "/users/me/keys/tokens/ci", 404),
        ("GET", "/users/me/keys/{keyid}", 404),
        ("DELETE", "/users/me/keys/{keyid}", 404),
        ("PUT", "/users/me/keys/{keyid}/expire", 404),
        ("PUT", "/users/alice/status/suspend", 403),
    ]
}

async fn ask(who: &Session, method: &str, path: &str, body: &Value) -> (u16, String) {
    let mut request = who.request(Method::from_bytes(method.as_bytes()).unwrap(), path);
    if !body.is_null() {
        request = request.json(body);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn scoped(app: &TestApp, owner: &Session, scope: &str) -> Session {
    let (status, key) = owner.post("/users/me/keys/tokens", &json!({ "scopes": [scope] })).await;
    assert_eq!(status, StatusCode::CREATED, "{key}");
    app.session(key["key"].as_str().unwrap())
}

#[test]
fn every_documented_route_is_in_the_table() {
    let mut documented = BTreeSet::new();
    for (path, item) in api::openapi().paths.paths {
        let route = match path.strip_prefix("/api/v2").unwrap() {
            "" => "/",
            route => route,
        };
        for (method, operation) in [
            ("GET", item.get),
            ("POST", item.post),
            ("PUT", item.put),
            ("PATCH", item.patch),
            ("DELETE", item.delete),
        ] {
            if operation.is_some() {
                documented.insert(format!("{method} {route}"));
            }
        }
    }
    let rows: BTreeSet<String> =
        table().iter().map(|(method, route, ..)| format!("{method} {route}")).collect();
    let odd: Vec<_> = documented.symmetric_difference(&rows).collect();
    assert!(odd.is_empty(), "in one of documentation and table: {odd:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_as_in_the_table_and_hide_what_may_not_be_read() {
    let (app, owner) = TestApp::new().await;
    let places = Places::of(&app, &owner).await;
    let alice = app.user("alice", &[]).await;
    let narrow = scoped(&app, &owner, "file:read").await;
    // Members do not see each other then.
    let sharing = format!("/organizations/{}/settings/workspace-sharing", places.organization);
    let none = json!({ "shareable_workspace_owners": "none" });
    assert_eq!(owner.patch(&sharing, &none).await.0, StatusCode::OK);
    let absent = places.absent();
    // The organization exists and the member may read it.
    let here = Places { organization: places.organization.clone(), ..places.absent() };
    let mut wrong = Vec::new();
    for (method, route, body, anonymous, member, limited) in table() {
        let path = places.fill(route);
        for (name, who, wanted, elsewhere) in [
            ("anonymous", &app.anonymous(), anonymous, &absent),
            ("member", &alice, member, &here),
            ("scoped", &narrow, limited, &absent),
        ] {
            let (status, text) = ask(who, method, &path, &body).await;
            let about = format!("{method} {route} {name}");
            if status != wanted {
                wrong.push(format!("{about}: {status}, not {wanted}: {text}"));
            }
            if status == 404 && text != NOT_FOUND && !route.contains("/sessions/") {
                wrong.push(format!("{about}: {text}"));
            }
            if status >= 400 && path != elsewhere.fill(route) {
                let other = ask(who, method, &elsewhere.fill(route), &body).await;
                if other != (status, text.clone()) {
                    wrong.push(format!(
                        "{about}: {status} {text}, of what does not exist {other:?}"
                    ));
                }
            }
        }
    }
    for method in ["GET", "PATCH"] {
        let settings = |name: &str| format!("/organizations/{name}/settings/workspace-sharing");
        let of = async |name: &str| ask(&narrow, method, &settings(name), &none).await;
        let (seen, unseen) = (of("coder").await, of("none").await);
        assert_eq!((seen.0, &seen.1), (403, &unseen.1), "by name");
        let (status, _) = ask(&owner, method, &settings("none"), &none).await;
        assert_eq!(status, 404, "for who may read all");
    }
    let reader = scoped(&app, &owner, "user:read").await;
    for (method, route, wanted) in own() {
        let body = if method == "POST" { json!({}) } else { Value::Null };
        let (status, text) = ask(&reader, method, &places.fill(route), &body).await;
        if status != wanted {
            wrong.push(format!("{method} {route} of one's own: {status}, not {wanted}: {text}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let (status, _) = owner.get("/users/me/keys/tokens/ci").await;
    assert_eq!(status, StatusCode::OK, "nothing was done");
}

/// What stands for the parameters of routes.
struct Places {
    organization: String,
    user: &'static str,
    key: String,
    key_name: &'static str,
    provider: &'static str,
    gateway_key: String,
    role: &'static str,
    session: String,
}

impl Places {
    /// Things that exist.
    async fn of(app: &TestApp, owner: &Session) -> Self {
        owner.token("ci").await;
        let (_, key) = owner.get("/users/me/keys/tokens/ci").await;
        let provider =
            json!({ "name": "seen", "type": "openai", "base_url": "https://api.example.com/v1/" });
        let (status, answer) = owner.post("/ai/providers", &provider).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let (status, gateway_key) = owner.post("/aibridge/keys", &json!({ "name": "edge" })).await;
        assert_eq!(status, StatusCode::CREATED, "{gateway_key}");
        let rows = app.db.sql("SELECT id FROM organizations").await.unwrap();
        let organization = rows[0][0].clone().unwrap();
        let role = json!({ "name": "reader" });
        let path = format!("/organizations/{organization}/members/roles");
        let (status, answer) = owner.post(&path, &role).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        Self {
            organization,
            user: "owner",
            key: key["id"].as_str().unwrap().to_owned(),
            key_name: "ci",
            provider: "seen",
            gateway_key: gateway_key["id"].as_str().unwrap().to_owned(),
            role: "reader",
            session: NOT_AN_ID.to_owned(),
        }
    }

    /// Others of the same form, which do not exist.
    fn absent(&self) -> Self {
        Self {
            organization: NOT_AN_ID.to_owned(),
            user: "nobody",
            key: "a".repeat(self.key.len()),
            key_name: "none",
            provider: "none",
            gateway_key: NOT_AN_ID.to_owned(),
            role: "none",
            session: NOT_AN_ID.to_owned(),
        }
    }

    fn fill(&self, route: &str) -> String {
        [
            ("{organization}", &*self.organization),
            ("{user}", self.user),
            ("{keyid}", &self.key),
            ("{keyname}", self.key_name),
            ("{idOrName}", self.provider),
            ("{key}", &self.gateway_key),
            ("{roleName}", self.role),
            ("{session_id}", &self.session),
        ]
        .iter()
        .fold(route.to_owned(), |path, (name, value)| path.replace(name, value))
    }
}
