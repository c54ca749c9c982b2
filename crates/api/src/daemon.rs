//! What gateway daemons ask of us: the server's side of the control protocol (the crate `control`).
//!
//! Every route stands behind [`auth::gate`], which knows the daemon by its gateway key, refuses a peer of another
//! version, and ends what is under way when the key is deleted. No cookie and no token of a user is looked at
//! here, so there is nothing that another site could make a browser send.

mod auth;
mod heartbeat;
mod providers;
mod records;
mod replicas;
mod resolve;
mod revocations;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get, post};
use control::wire;
use stdx::{Lifecycle, SharedClock, SharedRng, Stopping};
use store::Full;
use store::pubsub::Pubsub;
use telemetry::{DuplicateMetric, Registry};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::app::App;
use crate::routes::unknown_route;
use auth::Keys;
use records::Desk;
use replicas::Replicas;
use revocations::Revocations;

pub(crate) use providers::to_wire;

/// Longest wait for news that a daemon may ask for.
const WAIT_SECONDS_MAX: u32 = 60;
/// Bound of bodies that hold one token or one heartbeat.
const BODY_BYTES_MAX: u64 = 64 * 1024;

/// The providers as daemons get them; nothing until they were read for the first time.
pub(crate) type ProviderSet = Option<Arc<wire::Providers>>;

/// What is known about daemons, for all their requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Daemons {
    keys: Keys,
    providers: watch::Receiver<ProviderSet>,
    revocations: Revocations,
    replicas: Replicas,
    desk: Arc<Desk>,
    stopping: Stopping,
}

impl Daemons {
    /// Knows nobody yet; what runs in the background ends with `lifecycle`.
    pub(crate) fn start(
        (store, clock, rng): (&Full, &SharedClock, &SharedRng),
        pubsub: &Pubsub,
        providers: watch::Receiver<ProviderSet>,
        registry: &mut Registry,
        lifecycle: &Lifecycle,
    ) -> Result<Self, DuplicateMetric> {
        Ok(Self {
            keys: Keys::start(store.clone(), Arc::clone(clock), pubsub, lifecycle),
            providers,
            revocations: Revocations::start(store.clone(), Arc::clone(rng), pubsub, lifecycle),
            replicas: Replicas::new(registry)?,
            desk: Arc::default(),
            stopping: lifecycle.stopping(),
        })
    }

    /// Brings the metrics about daemons up to now.
    pub(crate) fn measure(&self) {
        self.replicas.measure(Instant::now());
    }

    /// Resolves when a daemon that waits for news has waited long enough: also when this process stops.
    async fn patience(&self, wait: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.stopping.wait() => {}
        }
    }
}

/// The routes of the protocol. A body has the bound of the whole server unless its route says otherwise.
pub(crate) fn routes(app: &App) -> Router<App> {
    let batches = Router::new()
        .route("/records", post(records::records))
        .route("/verify", post(records::verify))
        .layer(httpmw::body_limit(wire::RECORDS_BYTES_MAX as u64));
    let version_1 = Router::new()
        .route("/resolve", post(resolve::resolve))
        .route("/heartbeat", post(heartbeat::heartbeat))
        .layer(httpmw::body_limit(BODY_BYTES_MAX))
        .merge(batches)
        .route("/providers", get(providers::providers))
        // Not for the data plane, whose wildcard covers these paths too.
        .route("/{*path}", any(unknown_route))
        .method_not_allowed_fallback(unknown_route)
        .layer(from_fn_with_state(app.clone(), auth::gate));
    Router::new().nest(control::PREFIX, version_1)
}
