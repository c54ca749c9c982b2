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
    ai_providers, api_keys, audit_logs, deployment, gateway, interceptions, sessions, users,
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
        (name = "General"),
        (name = "Users"),
    )
)]
struct Document;

/// The routes of one noun, collected with their documentation.
pub(crate) type Routes = OpenApiRouter<App>;

fn documented() -> Routes {
    let api = Routes::new()
        .merge(deployment::api_routes())
        .merge(users::routes())
        .merge(api_keys::routes())
        .nest("/ai/providers", ai_providers::routes())
        .merge(audit_logs::routes())
        .nest("/aibridge", interceptions::routes().merge(sessions::routes()))
        .nest("/ai-gateway", interceptions::routes().merge(sessions::routes()));
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
    Router::new()
        .merge(api)
        .merge(deployment::root_routes())
        .merge(gateway::routes())
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_route)
        .with_state(app.clone())
}

async fn unknown_route(_: Request) -> Response {
    answer(StatusCode::NOT_FOUND, &sdk::Response::message("Route not found."))
}
