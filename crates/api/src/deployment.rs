//! What the deployment says of itself.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use utoipa_axum::routes;

use crate::app::App;
use crate::json::{Json, answer};
use crate::routes::Routes;

pub(crate) fn api_routes() -> Routes {
    Routes::new().routes(routes!(root)).routes(routes!(build_info)).routes(routes!(scopes))
}

pub(crate) fn root_routes() -> Router<App> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz))
}

/// The root of the API.
#[utoipa::path(get, path = "/", tag = "General", responses((status = 200, body = sdk::Response)))]
async fn root() -> Json<sdk::Response> {
    Json(sdk::Response::message("👋"))
}

/// Version and identity of the deployment.
#[utoipa::path(get, path = "/buildinfo", tag = "General", responses((status = 200, body = sdk::BuildInfo)))]
async fn build_info(State(app): State<App>) -> Json<sdk::BuildInfo> {
    let url = app.settings.access_url.as_str().trim_end_matches('/').to_owned();
    Json(sdk::BuildInfo {
        external_url: url.clone(),
        version: app.settings.version.clone(),
        dashboard_url: url,
        telemetry: false,
        workspace_proxy: false,
        agent_api_version: "1.0".to_owned(),
        provisioner_api_version: "1.0".to_owned(),
        upgrade_message: String::new(),
        deployment_id: app.settings.deployment_id.clone(),
    })
}

/// Names of the scopes that tokens may be given.
#[utoipa::path(get, path = "/auth/scopes", tag = "General", responses((status = 200, body = sdk::Scopes)))]
async fn scopes() -> Json<sdk::Scopes> {
    Json(sdk::Scopes { external: rbac::public_names().collect() })
}

/// Whether the process lives. Touches nothing.
async fn healthz() -> &'static str {
    "OK"
}

/// Whether the process can do its work: the database answers, and how many providers are in which state.
/// Anybody may ask, so neither names nor causes are told; those are in the log.
async fn readyz(State(app): State<App>) -> Response {
    let database = match app.store.ping().await {
        Ok(took) => (true, format!("answered in {} µs", took.as_micros())),
        Err(error) => {
            tracing::warn!(error = %stdx::chain(&error), "not ready");
            (false, "does not answer".to_owned())
        }
    };
    let statuses = app.gateway.statuses();
    let count = |state: &str| statuses.iter().filter(|row| row.state.as_str() == state).count();
    let providers = format!(
        "{} enabled, {} disabled, {} misconfigured",
        count("enabled"),
        count("disabled"),
        count("error")
    );
    let ready = database.0;
    let body = sdk::Readiness {
        ready,
        checks: vec![
            sdk::ReadinessCheck { name: "database".to_owned(), ok: database.0, detail: database.1 },
            sdk::ReadinessCheck { name: "ai_providers".to_owned(), ok: true, detail: providers },
        ],
    };
    answer(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &body)
}
