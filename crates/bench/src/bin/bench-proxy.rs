//! The baseline: a reverse proxy of hyper and nothing else, with the thread model of our data plane.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use bench::{bare, processes, ready};
use bytes::Bytes;
use clap::Parser;
use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Relays every request to one upstream, as it is.
#[derive(Debug, Parser)]
#[command(name = "bench-proxy")]
struct Args {
    /// Where to listen; loopback only.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where requests go.
    #[arg(long)]
    upstream: SocketAddr,
    /// How many threads serve, each with connections of its own.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// A file to write the base URL to, once connections are accepted.
    #[arg(long)]
    ready_file: PathBuf,
}

type Upstream = Client<HttpConnector, Incoming>;
type Answer = Response<Either<Incoming, Full<Bytes>>>;

fn main() -> Result<()> {
    let args = Args::parse();
    processes::raise_open_files()?;
    let authority: Authority = args.upstream.to_string().parse()?;
    let listener = bare::bind(args.listen)?;
    ready::tell(&args.ready_file, listener.local_addr()?)?;
    bare::run(&listener, args.threads, || {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        let upstream: Upstream = Client::builder(TokioExecutor::new()).build(tcp);
        let authority = authority.clone();
        move |request| relay(upstream.clone(), authority.clone(), request)
    })
}

async fn relay(upstream: Upstream, authority: Authority, mut request: Request<Incoming>) -> Answer {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    let answer = match Uri::from_parts(parts) {
        Ok(uri) => {
            *request.uri_mut() = uri;
            upstream.request(request).await.map_err(|error| stdx::chain(&error).to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    match answer {
        Ok(answer) => answer.map(Either::Left),
        Err(error) => {
            let mut refusal = Response::new(Either::Right(Full::new(Bytes::from(error))));
            *refusal.status_mut() = StatusCode::BAD_GATEWAY;
            refusal
        }
    }
}
