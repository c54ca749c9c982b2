use std::sync::Arc;

use axum::Router;
use http::HeaderValue;
use stdx::{SharedClock, SharedRng};
use tower::ServiceBuilder;
use tower::util::option_layer;

use crate::body_limit::DefaultLimit;
use crate::client_addr::{ClientAddrs, TrustedProxies};
use crate::headers::{FixedHeaders, Hsts};
use crate::in_flight::{in_flight, refuse_at_capacity};
use crate::metrics::{Count, HttpMetrics, NoteRoute};
use crate::recover::Recover;
use crate::request_id::RequestIds;
use crate::request_log::RequestLog;
use crate::single_slash::SingleSlash;
use crate::step::Around;

/// What the layers around all routes need.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Makes request ids.
    pub rng: SharedRng,
    /// Tells when a request began.
    pub clock: SharedClock,
    /// Counts requests. Shared with layers for single groups of routes.
    pub metrics: HttpMetrics,
    /// Who may tell us the client's address.
    pub trusted_proxies: TrustedProxies,
    /// Value of `X-Coder-Build-Version`.
    pub build_version: HeaderValue,
    /// Strict-Transport-Security, for servers behind TLS.
    pub hsts: Option<Hsts>,
    /// Bound of request bodies in bytes, unless a route sets its own by [`body_limit`](crate::body_limit).
    pub body_bytes_max: u64,
    /// Most requests answered at once, over all routes; 0 means no limit.
    pub in_flight_max: usize,
}

/// Puts the layers that every request passes around `router`.
///
/// Serve the result with `into_make_service_with_connect_info::<SocketAddr>()`, or the client's address
/// is unknown. Layers that know the database (key check, CSRF) go on `router` before this, so they are
/// inside of all of these and see the routed request.
pub fn apply(router: Router, settings: Settings) -> Router {
    let Settings {
        rng,
        clock,
        metrics,
        trusted_proxies,
        build_version,
        hsts,
        body_bytes_max,
        in_flight_max,
    } = settings;
    // Inside the router, where the template of the matched route is known; also around its fallback.
    let inside = router.layer(
        ServiceBuilder::new()
            .layer(Around(NoteRoute))
            // A second guard, inside of log and metrics, so that both see a panic as the 500 it becomes.
            .layer(Around(Recover(metrics.clone()))),
    );
    let shed = in_flight(in_flight_max, &metrics, refuse_at_capacity);
    // Outermost first.
    let stack = ServiceBuilder::new()
        // Before the guard, so that the answer to a panic names the request.
        .layer(Around(RequestIds(rng)))
        // Around everything else: a panic in a layer must not end the connection.
        .layer(Around(Recover(metrics.clone())))
        // Before the log and all limits, which tell clients apart by address.
        .layer(Around(ClientAddrs(Arc::new(trusted_proxies))))
        // Around everything that can refuse, so that refusals have their line.
        .layer(Around(RequestLog(clock)))
        .layer(Around(Count(metrics.clone())))
        // Around everything that can answer, so that refusals carry the headers too.
        .layer(Around(FixedHeaders { build_version, hsts }))
        // Shedding is cheaper than all that follows.
        .layer(option_layer(shed))
        .layer(Around(DefaultLimit { bytes_max: body_bytes_max, metrics }))
        // The last step before routing, so that the log shows the path as it came.
        .layer(Around(SingleSlash));
    // A layer on a router runs after routing; as the fallback of an empty one the whole stack runs before.
    Router::new().fallback_service(stack.service(inside))
}

#[cfg(test)]
mod tests;
