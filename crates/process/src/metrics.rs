use std::convert::Infallible;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use serve::{Client, Listener};
use stdx::Lifecycle;

/// Serves the metrics of the process, as `encode` writes them, on a listener of their own, whatever the path.
pub fn serve_metrics<F>(listener: Listener, encode: F, lifecycle: &Lifecycle)
where
    F: Fn() -> String + Send + Sync + 'static,
{
    let encode = Arc::new(encode);
    let make = move |_: Client| {
        let encode = Arc::clone(&encode);
        service_fn(move |_: Request<Incoming>| {
            let text = encode();
            async move { Ok::<_, Infallible>(page(text)) }
        })
    };
    serve::start("prometheus", listener, make, lifecycle);
}

fn page(text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    let kind = HeaderValue::from_static(telemetry::CONTENT_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
