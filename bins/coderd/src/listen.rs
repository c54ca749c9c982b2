//! Where the server listens: plain HTTP, TLS, or both.

use std::convert::Infallible;

use anyhow::{Context as _, Result, bail};
use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use config::Options;
use hyper::body::Incoming;
use hyper::service::service_fn;
use serve::{Client, Listener};
use stdx::Lifecycle;
use tower::ServiceExt as _;

/// Binds what the options name, by the scheme of its URLs; TLS last.
pub(crate) async fn bind(options: &Options) -> Result<Vec<(&'static str, Listener)>> {
    let mut listeners = Vec::new();
    let tls = process::tls(&options.tls)?;
    if let Some(address) = &options.networking.http_address {
        listeners.push(("http", process::listen(address, "CODER_HTTP_ADDRESS").await?));
    }
    if let Some(tls) = tls {
        let address = options.tls.address.as_ref().context("set CODER_TLS_ADDRESS")?;
        let listener = process::listen(address, "CODER_TLS_ADDRESS").await?;
        listeners.push(("https", listener.with_tls(tls)));
    }
    if listeners.is_empty() {
        bail!("no listener: set CODER_HTTP_ADDRESS, say 127.0.0.1:3000");
    }
    Ok(listeners)
}

/// Serves the router in the background.
pub(crate) fn serve(name: &'static str, listener: Listener, router: Router, lifecycle: &Lifecycle) {
    let make = move |client: Client| {
        let router = router.clone();
        service_fn(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(client.address));
            let router = router.clone();
            async move {
                let response = router.oneshot(request).await;
                Ok::<_, Infallible>(response.unwrap_or_else(|never| match never {}))
            }
        })
    };
    serve::start(name, listener, make, lifecycle);
}
