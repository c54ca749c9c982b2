use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::answer;
use crate::metrics::HttpMetrics;
use crate::step::{Around, Inner, Next, Step};
use crate::watched::{Watch, Watched};

/// Refuses with `refusal()` while `max` requests are in flight. A slot is held until the response body
/// has ended or was dropped, so a slow stream counts for as long as it streams.
///
/// Clones share their slots. `None` for a maximum of 0, which means no limit: put it in with
/// `tower::util::option_layer`.
#[must_use]
pub fn in_flight(
    max: usize,
    metrics: &HttpMetrics,
    refusal: fn() -> Response,
) -> Option<Around<InFlight>> {
    (max > 0).then(|| {
        Around(InFlight {
            slots: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))),
            metrics: metrics.clone(),
            refusal,
        })
    })
}

/// The answer of the API to a request that is one too many: 503, try again in a second.
#[must_use]
pub fn refuse_at_capacity() -> Response {
    let mut response = answer::error(
        StatusCode::SERVICE_UNAVAILABLE,
        "The server is at capacity, try again soon.",
        "",
    );
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// See [`in_flight`].
#[derive(Clone, Debug)]
pub struct InFlight {
    slots: Arc<Semaphore>,
    metrics: HttpMetrics,
    refusal: fn() -> Response,
}

impl Step for InFlight {
    async fn run<S: Inner>(self, request: Request, next: Next<S>) -> Response {
        let Ok(slot) = self.slots.try_acquire_owned() else {
            self.metrics.shed.inc(());
            return (self.refusal)();
        };
        let response = next.run(request).await;
        response.map(|body| Watched::wrap(body, Held { _slot: slot }))
    }
}

struct Held {
    _slot: OwnedSemaphorePermit,
}

impl Watch for Held {}
