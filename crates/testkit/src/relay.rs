//! A network between a program and its server that stops to carry anything.

use std::io;
use std::net::SocketAddr;

use stdx::Lifecycle;
use tokio::io::copy_bidirectional;
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
        let (tasks, state, stopping) = (lifecycle.clone(), silent.clone(), lifecycle.stopping());
        lifecycle.spawn("relay", async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stopping.wait() => return,
                };
                let Ok((client, _)) = accepted else { continue };
                let (silent, stopping) = (state.subscribe(), stopping.clone());
                tasks.spawn_quietly(async move {
                    tokio::select! {
                        () = carry(client, server, silent) => {}
                        () = stopping.wait() => {}
                    }
                });
            }
        });
        Ok(Self { addr, silent, lifecycle })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
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
async fn carry(mut client: TcpStream, server: SocketAddr, mut silent: watch::Receiver<bool>) {
    let mut upstream = None;
    let carrying = async {
        if let Ok(stream) = TcpStream::connect(server).await {
            let _ = copy_bidirectional(&mut client, upstream.insert(stream)).await;
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
