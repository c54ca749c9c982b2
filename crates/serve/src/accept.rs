use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stdx::{Backoff, Lifecycle, Stopping};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::connection::Wire;
use crate::listener::Listener;
use crate::make::Make;

/// That all places are taken is said this often: under attack, it is true of each connection.
const FULL_AGAIN: Duration = Duration::from_mins(1);

/// Held by each open connection.
pub(crate) type Place = OwnedSemaphorePermit;

/// Serves on the present runtime, in the background. Open requests are finished before the task ends.
pub fn start<M>(name: &'static str, listener: Listener, make: M, lifecycle: &Lifecycle)
where
    M: Make + Send + Sync + 'static,
{
    let Listener { tcp, tls, limits, .. } = listener;
    if let Some(tls) = &tls {
        tls.keep_fresh(lifecycle);
    }
    let shared = Arc::new((Wire::new(tls, limits, lifecycle.clone()), make));
    let tasks = lifecycle.clone();
    lifecycle.spawn(name, async move {
        let mut arrivals = Arrivals::new(tcp, limits.connections_max, tasks.stopping());
        while let Some((stream, address, place)) = arrivals.next().await {
            let (shared, stopping) = (Arc::clone(&shared), tasks.stopping());
            tasks.spawn_quietly(async move {
                let (wire, make) = &*shared;
                wire.serve(stream, address, make, stopping).await;
                drop(place);
            });
        }
    });
}

/// Connections as they arrive, no more than there are places.
pub(crate) struct Arrivals {
    listener: TcpListener,
    places: Arc<Semaphore>,
    stopping: Stopping,
    backoff: Backoff,
    /// When it was said that all places are taken.
    full_said: Option<Instant>,
}

impl Arrivals {
    pub(crate) fn new(listener: TcpListener, connections_max: usize, stopping: Stopping) -> Self {
        let places = connections_max.min(Semaphore::MAX_PERMITS);
        Self {
            listener,
            places: Arc::new(Semaphore::new(places)),
            stopping,
            backoff: Backoff::new(Duration::from_millis(5), Duration::from_secs(1)),
            full_said: None,
        }
    }

    /// The next one; nothing when the process stops.
    pub(crate) async fn next(&mut self) -> Option<(TcpStream, SocketAddr, Place)> {
        let stopping = self.stopping.clone();
        tokio::select! {
            arrived = self.arrive() => arrived,
            () = stopping.wait() => None,
        }
    }

    async fn arrive(&mut self) -> Option<(TcpStream, SocketAddr, Place)> {
        let place = self.place().await?;
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    self.backoff.reset();
                    return Some((stream, address, place));
                }
                Err(error) => {
                    // Out of descriptors, say: accepting again at once would only spin.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(self.backoff.pause()).await;
                }
            }
        }
    }

    async fn place(&mut self) -> Option<Place> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        if self.full_said.is_none_or(|said| said.elapsed() >= FULL_AGAIN) {
            self.full_said = Some(Instant::now());
            tracing::warn!("as many connections are open as are allowed; further ones wait");
        }
        Arc::clone(&self.places).acquire_owned().await.ok()
    }
}
