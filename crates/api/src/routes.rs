//! Every route, readable in one place.

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::response::Response;
use http::StatusCode;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::csrf;
use crate::cx::precheck;
use crate::json::answer;
use crate::{
    ai_providers, api_keys, audit_logs, authcheck, authz_checks, connection_logs, daemon,
    deployment, gateway, gateway_keys, interceptions, organizations, sessions, users,
};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Coder API",
        description = "Control plane for AI coding tools. Errors are `{message, detail?, validations?}`."
    ),
    tags(
        (name = "AI providers"),
        (name = "AI gateway", description = "What the gateway recorded."),
        (name = "Audit"),
        (name = "Authorization"),
        (name = "General"),
        (name = "Members", description = "Roles and who holds them."),
        (name = "Organizations"),
        (name = "Users"),
    )
)]
struct Document;

/// The routes of one noun, collected with their documentation.
pub(crate) type Routes = OpenApiRouter<App>;

/// Where the keys of gateway daemons are, by their names of today and before.
const GATEWAY_KEYS: [&str; 4] =
    ["/ai-gateway/keys", "/ai-gateway/coderd-keys", "/aibridge/keys", "/aibridge/coderd-keys"];

fn recorded() -> Routes {
    interceptions::routes().merge(sessions::routes())
}

fn documented() -> Routes {
    let mut api = Routes::new()
        .merge(deployment::api_routes())
        .merge(users::routes())
        .merge(api_keys::routes())
        .merge(organizations::routes())
        .nest("/ai/providers", ai_providers::routes())
        .merge(audit_logs::routes())
        .merge(connection_logs::routes())
        .merge(authcheck::routes())
        .nest("/aibridge", recorded())
        .nest("/ai-gateway", recorded());
    for path in GATEWAY_KEYS {
        api = api.nest(path, gateway_keys::routes());
    }
    Routes::with_openapi(Document::openapi()).nest("/api/v2", api)
}

/// The `OpenAPI` document of all routes but the gateway's data plane, which speaks other people's APIs.
#[must_use]
pub fn openapi() -> OpenApi {
    documented().split_for_parts().1
}

/// The router of the whole API. [`App::serve`] puts the layers around it.
pub(crate) fn router(app: &App) -> Router {
    let (api, _) = documented().split_for_parts();
    let api = api
        // Once for all routes that know callers; the gateway's data plane checks its own credentials.
        .layer(middleware::from_fn_with_state(app.clone(), precheck))
        // Outside of it: a forged request does not even count as a use of the key.
        .layer(middleware::from_fn_with_state(app.clone(), csrf::guard));
    let api = if app.settings.record_authz_checks {
        api.layer(middleware::from_fn(authz_checks::record))
    } else {
        api
    };
    Router::new()
        .merge(api)
        .merge(deployment::root_routes())
        .merge(gateway::routes())
        .merge(daemon::routes(app))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_route)
        .with_state(app.clone())
}

pub(crate) async fn unknown_route(_: Request) -> Response {
    answer(StatusCode::NOT_FOUND, &sdk::Response::message("Route not found."))
}
