//! An AI provider on loopback that speaks three wire APIs as the real ones do.
//!
//! [`FakeProvider`] serves Anthropic Messages, OpenAI Chat Completions and OpenAI Responses, blocking and
//! streaming, well enough for the vendors' own SDKs and for Claude Code. Its answers depend on the request
//! alone, so a test can say in the prompt what it wants to see (words that steer an answer are listed at
//! [`Directives`]). Every exchange is kept, bounded in count and bytes, with what was *served*: ids, token
//! counts, tool calls, and the request's headers, so that a test compares a record with the truth and
//! proves which credentials came through.
//!
//! It also fails on purpose ([`Fault`]): always, by [`Options::fault`], or for a single request, by the header
//! `x-fake-fault: NAME[:PARAMETER]` or a model of the name `MODEL@NAME[:PARAMETER]`.
//!
//! Besides the providers' routes there is `GET /__served` (all exchanges, oldest first; with `?after=N` those
//! whose `seq` is above N) and `DELETE /__served`, for tests that run the provider as a process of its own.

mod chat;
mod faults;
mod identity;
mod ledger;
mod messages;
mod refusal;
mod responses;
mod script;
mod server;
mod stream;
mod tree;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use stdx::{Lifecycle, SeededRng, SharedClock, SharedRng, SystemClock};
use tokio::net::TcpListener;

pub use faults::{BadFault, Fault};
pub use ledger::{Ending, Served, ToolCall, Usage};
pub use script::Directives;

use ledger::Ledger;
use server::Server;

/// How a [`FakeProvider`] behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one. Loopback only, anything else is refused.
    pub listen: SocketAddr,
    /// The keys that are accepted. Empty accepts every key that is not blank.
    pub keys: Vec<String>,
    /// The pause before each frame of a stream.
    pub frame_delay: Duration,
    /// How requests fail that do not ask for a fault of their own.
    pub fault: Option<Fault>,
    /// Where ids come from.
    pub rng: SharedRng,
    /// Where the `created` fields come from.
    pub clock: SharedClock,
}

impl Default for Options {
    /// A free port, any key, no pause, and the same ids in every run.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            keys: Vec::new(),
            frame_delay: Duration::ZERO,
            fault: None,
            rng: SeededRng::shared(1),
            clock: SystemClock::shared(),
        }
    }
}

/// A running provider. Dropping it stops it.
#[derive(Debug)]
pub struct FakeProvider {
    addr: SocketAddr,
    ledger: Ledger,
    lifecycle: Lifecycle,
}

impl FakeProvider {
    /// Binds the listener and begins to serve.
    ///
    /// # Errors
    /// The address is not on loopback, or cannot be bound.
    pub async fn start(options: Options) -> io::Result<Self> {
        if !options.listen.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} is not a loopback address", options.listen),
            ));
        }
        let listener = TcpListener::bind(options.listen).await?;
        let addr = listener.local_addr()?;
        let (ledger, lifecycle) = (Ledger::default(), Lifecycle::new());
        Server::spawn(listener, options, ledger.clone(), &lifecycle);
        Ok(Self { addr, ledger, lifecycle })
    }

    /// A provider with the default [`Options`].
    ///
    /// # Errors
    /// No port could be bound.
    pub async fn start_default() -> io::Result<Self> {
        Self::start(Options::default()).await
    }

    /// The base URL for a provider of type `anthropic`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The base URL for a provider of type `openai`: [`FakeProvider::url`] and `/v1`.
    #[must_use]
    pub fn openai_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// What was served so far, oldest first.
    #[must_use]
    pub fn served(&self) -> Vec<Served> {
        self.ledger.list()
    }

    /// Forgets what was served.
    pub fn clear(&self) {
        self.ledger.clear();
    }

    /// Waits until `wanted` holds for the list of exchanges, and returns the list.
    ///
    /// # Errors
    /// It did not hold within five seconds; the error shows the list.
    pub async fn eventually(
        &self,
        wanted: impl Fn(&[Served]) -> bool,
    ) -> anyhow::Result<Vec<Served>> {
        self.ledger.eventually(wanted, Duration::from_secs(5)).await
    }

    /// Stops listening, ends open streams and waits for the connections to close.
    pub async fn stop(self) {
        self.lifecycle.stop(Duration::from_secs(2)).await;
    }
}

impl Drop for FakeProvider {
    fn drop(&mut self) {
        self.lifecycle.begin_stop();
    }
}
