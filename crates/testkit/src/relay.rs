//! A network between a program and its server that stops to carry anything.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use stdx::Lifecycle;
use tokio::io::{AsyncReadExt as _, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A port on loopback behind which a server is, as long as the relay carries.
///
/// A silent relay does what a dead link or a host without power does: nobody is told, connections stay open,
/// and no byte arrives any more. Connections that were open when it went silent stay so for good. Dropping it
/// ends all of them.
#[derive(Debug)]
pub struct Relay {
    addr: SocketAddr,
    silent: watch::Sender<bool>,
    cuts: Arc<Mutex<VecDeque<u64>>>,
    lifecycle: Lifecycle,
}

impl Relay {
    /// Begins to carry to a server, for instance `127.0.0.1:5432`.
    ///
    /// # Errors
    /// No port could be bound.
    pub async fn to(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let (silent, lifecycle) = (watch::Sender::new(false), Lifecycle::new());
        let cuts: Arc<Mutex<VecDeque<u64>>> = Arc::default();
        let to_come = Arc::clone(&cuts);
        let (tasks, state, stopping) = (lifecycle.clone(), silent.clone(), lifecycle.stopping());
        lifecycle.spawn("relay", async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stopping.wait() => return,
                };
                let Ok((client, _)) = accepted else { continue };
                let (silent, stopping) = (state.subscribe(), stopping.clone());
                let bytes_max = to_come.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                tasks.spawn_quietly(async move {
                    tokio::select! {
                        () = carry(client, server, bytes_max, silent) => {}
                        () = stopping.wait() => {}
                    }
                });
            }
        });
        Ok(Self { addr, silent, cuts, lifecycle })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Cuts the next connections, one after so many bytes from the client to the server, the next after so many,
    /// and carries those after them whole.
    pub fn cut_after(&self, bytes: impl IntoIterator<Item = u64>) {
        self.cuts.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
    }

    /// How many cuts no connection came for yet.
    #[must_use]
    pub fn cuts_left(&self) -> usize {
        self.cuts.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Stops to carry.
    pub fn fall_silent(&self) {
        self.silent.send_replace(true);
    }

    /// Carries new connections again.
    pub fn carry_again(&self) {
        self.silent.send_replace(false);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.lifecycle.begin_stop();
    }
}

/// Ends with the connection, or never once it is silent.
async fn carry(
    mut client: TcpStream,
    server: SocketAddr,
    bytes_max: Option<u64>,
    mut silent: watch::Receiver<bool>,
) {
    let mut upstream = None;
    let carrying = async {
        let Ok(stream) = TcpStream::connect(server).await else { return };
        let upstream = upstream.insert(stream);
        let Some(bytes_max) = bytes_max else {
            let _ = copy_bidirectional(&mut client, upstream).await;
            return;
        };
        let (from_client, mut to_client) = client.split();
        let mut from_client = from_client.take(bytes_max);
        let (mut from_server, mut to_server) = upstream.split();
        tokio::select! {
            _ = copy(&mut from_client, &mut to_server) => {}
            _ = copy(&mut from_server, &mut to_client) => {}
        }
    };
    tokio::select! {
        biased;
        _ = silent.wait_for(|silent| *silent) => {}
        () = carrying => return,
    }
    // Both sides stay open, as nobody tells them.
    std::future::pending::<()>().await;
}
