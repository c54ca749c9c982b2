//! Change notices between replicas, over LISTEN and NOTIFY.
//!
//! Publishing is a query ([`Publish`]): inside a transaction the notice leaves at commit or not at all.
//! Listening uses one connection of its own. Whatever may have been missed, by a lost connection or by a
//! subscriber that was too slow, shows as [`Notice::Resync`]: a cache reloads on it, so a dropped notice
//! never leaves it stale. While the server is not listened to, [`Pubsub::is_connected`] says so: who must know of
//! a change within seconds asks the database until then.

mod voided;

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::sql_types::Text;
use diesel_async::RunQueryDsl as _;
use stdx::{Backoff, Lifecycle, Secret, Stopping};
use tokio::sync::{broadcast, watch};
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Socket};

use crate::connect;
use crate::query::{Access, Db, Fut, Permit, Query};

pub use voided::Voided;

/// Notices a subscriber may lag behind before it is told to resync.
const QUEUE: usize = 2_048;

/// Longest pause between two tries to listen. Until it ends, what others revoke is not heard of.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How often it is asked whether the server is still there. Nothing else would tell of a link that died: whoever
/// only listens waits for ever.
const PROBE: Duration = Duration::from_secs(1);

/// Longest wait for the server to answer that. With [`PROBE`], a loss is known three seconds after it at the latest.
const ANSWER: Duration = Duration::from_secs(2);

/// Longest try to connect.
const DIAL: Duration = Duration::from_secs(5);

/// What a notice is about. The names are channels of PostgreSQL, shared with other servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// A provider or one of its keys was created, changed or deleted.
    AiProviders,
    /// A credential or its owner changed: what is cached about them is void. See [`Voided`].
    Credentials,
    /// The key of a gateway daemon was deleted; the payload is its identifier.
    GatewayKeys,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::AiProviders, Self::Credentials, Self::GatewayKeys];

    /// The channel's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AiProviders => "ai_providers_changed",
            Self::Credentials => "credentials_changed",
            Self::GatewayKeys => "ai_gateway_keys_changed",
        }
    }
}

/// What a subscriber gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Someone published this.
    Message(String),
    /// Notices may have been lost: look at the database again.
    Resync,
}

/// Publishes a notice, at commit when in a transaction.
#[derive(Debug)]
pub struct Publish {
    /// About what.
    pub channel: Channel,
    /// Fewer than 8,000 bytes; receivers must not trust it with anything but a hint.
    pub payload: String,
}

impl Query for Publish {
    const NAME: &'static str = "pubsub.publish";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Open("a notice tells receivers to look again, with their own rights")
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            diesel::sql_query("SELECT pg_notify($1, $2)")
                .bind::<Text, _>(self.channel.name())
                .bind::<Text, _>(&self.payload)
                .execute(db.conn())
                .await?;
            Ok(())
        })
    }
}

/// The listening side.
#[derive(Clone)]
pub struct Pubsub(Arc<Shared>);

struct Shared {
    channels: Mutex<HashMap<&'static str, broadcast::Sender<Notice>>>,
    connected: watch::Sender<bool>,
}

impl fmt::Debug for Pubsub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pubsub")
    }
}

/// One subscriber's queue.
#[derive(Debug)]
pub struct Subscription(broadcast::Receiver<Notice>);

impl Subscription {
    /// The next notice; [`Notice::Resync`] first of all after falling behind. `None` once the process stops.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.0.recv().await {
            Ok(notice) => Some(notice),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Notice::Resync),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Pubsub {
    /// Starts to listen in the background and keeps at it: a lost connection is dialled again, with pauses
    /// from 100 ms to five seconds, and every subscriber is told to resync when it is back.
    #[must_use]
    pub fn start(url: Secret<String>, lifecycle: &Lifecycle) -> Self {
        let channels = Channel::ALL
            .into_iter()
            .map(|channel| (channel.name(), broadcast::Sender::new(QUEUE)))
            .collect();
        let pubsub = Self(Arc::new(Shared {
            channels: Mutex::new(channels),
            connected: watch::Sender::new(false),
        }));
        let (shared, stopping) = (Arc::clone(&pubsub.0), lifecycle.stopping());
        lifecycle.spawn("pubsub", async move {
            shared.listen(&url, &stopping).await;
            // Subscribers end with the senders.
            shared.channels.lock().unwrap_or_else(PoisonError::into_inner).clear();
        });
        pubsub
    }

    /// Subscribes. A notice published after this returns is seen, at the latest as a resync.
    #[must_use]
    pub fn subscribe(&self, channel: Channel) -> Subscription {
        let channels = self.0.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = channels
            .get(channel.name())
            .map_or_else(|| broadcast::Sender::new(1).subscribe(), broadcast::Sender::subscribe);
        Subscription(receiver)
    }

    /// Resolves while the server is being listened to; from then on, who subscribes misses nothing. For
    /// tests and readiness.
    pub async fn connected(&self) {
        // The sender lives as long as this handle, so waiting cannot fail.
        let _ = self.0.connected.subscribe().wait_for(|connected| *connected).await;
    }

    /// Whether the server is being listened to. A link that dies silently is noticed within three seconds.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        *self.0.connected.borrow()
    }

    /// Resolves while the server is not listened to.
    pub async fn disconnected(&self) {
        let _ = self.0.connected.subscribe().wait_for(|connected| !*connected).await;
    }
}

impl Shared {
    async fn listen(&self, url: &Secret<String>, stopping: &Stopping) {
        let Ok(config) = url.expose().parse::<Config>() else {
            tracing::error!("the PostgreSQL connection URL is not valid, listening is off");
            return;
        };
        let mut backoff = Backoff::new(Duration::from_millis(100), PAUSE_MAX);
        while !stopping.begun() {
            let ended = tokio::select! {
                ended = self.session(&config, &mut backoff) => ended,
                () = stopping.wait() => return,
            };
            // Nobody is told to resync yet: what cannot be read again at once must not be forgotten for that.
            self.connected.send_replace(false);
            if let Err(error) = ended {
                tracing::warn!(error = %error, "lost the listening connection");
            }
            tokio::select! {
                () = sleep(backoff.pause()) => {}
                () = stopping.wait() => return,
            }
        }
    }

    async fn session(&self, config: &Config, backoff: &mut Backoff) -> Result<(), String> {
        let text = |error: tokio_postgres::Error| stdx::chain(&error).to_string();
        if config.get_ssl_mode() == SslMode::Disable {
            let dialled = timeout(DIAL, config.connect(NoTls)).await.map_err(no_answer)?;
            let (client, connection) = dialled.map_err(text)?;
            self.drive(client, connection, backoff).await
        } else {
            let tls = connect::tls().map_err(|error| error.to_string())?;
            let dialled = timeout(DIAL, config.connect(tls)).await.map_err(no_answer)?;
            let (client, connection) = dialled.map_err(text)?;
            self.drive(client, connection, backoff).await
        }
    }

    async fn drive<S>(
        &self,
        client: Client,
        mut connection: Connection<Socket, S>,
        backoff: &mut Backoff,
    ) -> Result<(), String>
    where
        S: tokio_postgres::tls::TlsStream + Unpin,
    {
        let mut probing = std::pin::pin!(self.probe(&client, backoff));
        loop {
            tokio::select! {
                why = &mut probing => return Err(why),
                message = poll_fn(|cx| connection.poll_message(cx)) => match message {
                    Some(Ok(AsyncMessage::Notification(notice))) => {
                        self.send(notice.channel(), &Notice::Message(notice.payload().to_owned()));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(stdx::chain(&error).to_string()),
                    None => return Err("closed by the server".to_owned()),
                },
            }
        }
    }

    /// Listens, and proves over and over that the server still answers. To listen again to what is listened to
    /// already changes nothing. Returns why it is over.
    async fn probe(&self, client: &Client, backoff: &mut Backoff) -> String {
        let listen = Channel::ALL.map(|channel| format!("LISTEN {}", channel.name())).join("; ");
        let mut ready = false;
        loop {
            match timeout(ANSWER, client.batch_execute(&listen)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return stdx::chain(&error).to_string(),
                Err(elapsed) => return no_answer(elapsed),
            }
            if !std::mem::replace(&mut ready, true) {
                backoff.reset();
                self.resync();
                self.connected.send_replace(true);
            }
            sleep(PROBE).await;
        }
    }

    fn send(&self, channel: &str, notice: &Notice) {
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = channels.get(channel) {
            // No receiver is no error: nobody has subscribed yet.
            let _ = sender.send(notice.clone());
        }
    }

    fn resync(&self) {
        for channel in Channel::ALL {
            self.send(channel.name(), &Notice::Resync);
        }
    }
}

fn no_answer(_: Elapsed) -> String {
    "the server does not answer".to_owned()
}

crate::queries![Publish];
