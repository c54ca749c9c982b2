//! Our gateway on the thread model of the data plane.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aibridge::ports::{Authenticator, BoxFuture, Identity, Recorder, Refused};
use aibridge::{Gateway, GatewaySettings, ProviderKind, ProviderSpec, ProviderState};
use anyhow::{Result, bail};
use clap::Args;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use prometheus_client::registry::Registry;
use serve::{Client, Listener};
use stdx::ids::{ProviderId, UserId};
use stdx::{Rng as _, Secret, SystemClock, SystemRng};

use crate::ready;

/// What every gateway of the bench is told.
#[derive(Clone, Debug, Args)]
pub struct PlaneArgs {
    /// Where to listen; loopback only.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Where requests to the provider `anthropic` go.
    #[arg(long)]
    pub upstream: SocketAddr,
    /// How many threads serve, each with connections of its own.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// A file to write the base URL to, once connections are accepted.
    #[arg(long)]
    pub ready_file: PathBuf,
}

/// Everybody is the same person, as if looked up before.
struct OneIdentity(Identity);

impl Authenticator for OneIdentity {
    fn cached(&self, _token: &str) -> Option<Result<Identity, Refused>> {
        Some(Ok(self.0.clone()))
    }

    fn resolve<'a>(&'a self, _token: &'a str) -> BoxFuture<'a, Result<Identity, Refused>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

/// Lets everybody in as the same person.
#[must_use]
pub fn one_identity() -> Arc<dyn Authenticator> {
    Arc::new(OneIdentity(Identity {
        user: UserId::new(SystemRng.uuid_v4()),
        username: "bench".into(),
        api_key_id: "bench".into(),
    }))
}

/// Who asks, and what is kept of it.
pub struct Ports {
    /// Tells who callers are.
    pub callers: Arc<dyn Authenticator>,
    /// Takes the facts.
    pub recorder: Arc<dyn Recorder>,
}

/// Serves until the process is told to end.
///
/// # Errors
/// The address is taken, or the provider cannot serve.
pub async fn run(
    name: &'static str,
    args: &PlaneArgs,
    settings: GatewaySettings,
    ports: Ports,
) -> Result<()> {
    serve::raise_descriptor_limit();
    let lifecycle = settings.lifecycle.clone();
    let gateway = gateway(args.upstream, settings, ports)?;
    let address = ready::loopback(args.listen)?;
    let listener = Listener::bind(&address.ip().to_string(), address.port(), "--listen").await?;
    let address = listener.address();
    let factory = move |_| {
        let gateway = gateway.local();
        move |_: Client| {
            let gateway = Arc::clone(&gateway);
            service_fn(move |request: Request<Incoming>| {
                let gateway = Arc::clone(&gateway);
                async move { Ok::<_, Infallible>(gateway.handle(request).await) }
            })
        }
    };
    serve::start_threads(name, listener, args.threads, factory, &lifecycle)?;
    ready::tell(&args.ready_file, address)?;
    tokio::signal::ctrl_c().await?;
    lifecycle.stop(Duration::from_secs(1)).await;
    Ok(())
}

fn gateway(upstream: SocketAddr, settings: GatewaySettings, ports: Ports) -> Result<Arc<Gateway>> {
    let gateway = Gateway::new(
        settings,
        ports.callers,
        ports.recorder,
        SystemClock::shared(),
        SystemRng::shared(),
        &mut Registry::default(),
    );
    let statuses = gateway.install(&[ProviderSpec {
        id: ProviderId::new(SystemRng.uuid_v4()),
        kind: ProviderKind::Anthropic,
        name: "anthropic".to_owned(),
        enabled: true,
        base_url: format!("http://{upstream}"),
        keys: Ok(vec![Secret::new("bench-provider-key".to_owned())]),
    }]);
    for status in statuses {
        if let ProviderState::Error(error) = status.state {
            bail!("the provider cannot serve: {error}");
        }
    }
    Ok(gateway)
}
