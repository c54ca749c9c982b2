//! Our gateway with governance compiled to a relay: one caller who is always known, the passthrough route,
//! no records, no limits. What governance costs is the difference.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aibridge::facts::Fact;
use aibridge::ports::{
    Authenticator, BoxFuture, Durable, Identity, RecordError, Recorder, Refused,
};
use aibridge::{Gateway, GatewaySettings, ProviderKind, ProviderSpec, ProviderState};
use anyhow::{Result, bail};
use bench::ready;
use clap::Parser;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use prometheus_client::registry::Registry;
use serve::{Client, Listener};
use stdx::ids::{ProviderId, UserId};
use stdx::{Lifecycle, Rng as _, Secret, SystemClock, SystemRng};

/// Our gateway as a plain relay.
#[derive(Debug, Parser)]
#[command(name = "bench-relay")]
struct Args {
    /// Where to listen; loopback only.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where requests to the provider `anthropic` go.
    #[arg(long)]
    upstream: SocketAddr,
    /// How many threads serve, each with connections of its own.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// A file to write the base URL to, once connections are accepted.
    #[arg(long)]
    ready_file: PathBuf,
}

/// Everybody is the same person.
struct OneIdentity(Identity);

impl Authenticator for OneIdentity {
    fn cached(&self, _token: &str) -> Option<Result<Identity, Refused>> {
        Some(Ok(self.0.clone()))
    }

    fn resolve<'a>(&'a self, _token: &'a str) -> BoxFuture<'a, Result<Identity, Refused>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

/// A relay records nothing: an intercepted route would be refused.
struct NoRecords;

impl Recorder for NoRecords {
    fn append(&self, _facts: Vec<Fact>) -> Result<Durable, RecordError> {
        Err(RecordError::Closed)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    serve::raise_descriptor_limit();
    let lifecycle = Lifecycle::new();
    let gateway = gateway(args.upstream, &lifecycle)?;
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
    serve::start_threads("relay", listener, args.threads, factory, &lifecycle)?;
    ready::tell(&args.ready_file, address)?;
    tokio::signal::ctrl_c().await?;
    lifecycle.stop(Duration::from_secs(1)).await;
    Ok(())
}

fn gateway(upstream: SocketAddr, lifecycle: &Lifecycle) -> Result<Arc<Gateway>> {
    let identity = Identity {
        user: UserId::new(SystemRng.uuid_v4()),
        username: "bench".into(),
        api_key_id: "bench".into(),
    };
    let gateway = Gateway::new(
        GatewaySettings::new(lifecycle.clone()),
        Arc::new(OneIdentity(identity)),
        Arc::new(NoRecords),
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
