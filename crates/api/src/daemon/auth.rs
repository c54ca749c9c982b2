//! Who may speak the control protocol: the holder of a gateway key, of our major version.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use crypt::gateway_key;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use httpmw::LogContext;
use rbac::system;
use stdx::ids::GatewayKeyId;
use stdx::{Lifecycle, SharedClock, Stopping};
use store::gateway_keys::{FindByHash, HashedGatewayKey, ListExisting, TouchGatewayKeys};
use store::pubsub::{Channel, Notice, Pubsub, Subscription};
use store::{Call, Error, Full, Store as _};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::app::App;
use crate::error::{ApiError, ApiResult};

/// How often all keys in use are looked up together: how long the loss of a notice goes unhealed.
const RECHECK: Duration = Duration::from_secs(5);
/// How long a key is believed since it was last looked up. Longer than [`RECHECK`], so that requests find it
/// fresh, and short enough that a database which does not answer shows.
const BELIEVED: Duration = Duration::from_secs(15);
/// How long a key stays in use after its last request. Daemons always have one waiting.
const IDLE: Duration = Duration::from_mins(2);
/// Keys that are not in use are looked up by so many requests at once: somebody who tries keys must not keep the
/// database from everybody else.
const STRANGERS: usize = 4;
/// How long such a request waits for its turn.
const TURN: Duration = Duration::from_secs(2);
/// Tries to read a key while no notice comes in between.
const LOOKS: usize = 4;

const UNKNOWN: &str =
    "This gateway key is not known: it was deleted, or it is from another deployment.";
const ABSENT: &str = "Send it as \"Authorization: Bearer cgw_...\". An owner makes one by POST /api/v2/ai-gateway/keys.";

/// A gateway daemon whose key holds. Taking one as an argument tells a handler which.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    /// Its key.
    pub(crate) key_id: GatewayKeyId,
    /// The key's name, for people.
    pub(crate) key_name: Arc<str>,
}

impl FromRequestParts<App> for Daemon {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> ApiResult<Self> {
        parts.extensions.get().cloned().ok_or(ApiError::GatewayKey(ABSENT))
    }
}

/// Stands before every route of the protocol.
pub(crate) async fn gate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let mut response = match admit(&app, request.headers()).await {
        Ok(known) => {
            let log = LogContext::of(request.extensions_mut());
            log.set_subject(&"", &known.daemon.key_name);
            log.set_api_key(&known.daemon.key_id);
            request.extensions_mut().insert(known.daemon.clone());
            tokio::select! {
                biased;
                () = known.deleted() => ApiError::GatewayKey(UNKNOWN).into_response(),
                response = next.run(request) => response,
            }
        }
        Err(refusal) => refusal.into_response(),
    };
    let version = HeaderValue::from_static(control::VERSION);
    response.headers_mut().insert(control::VERSION_HEADER, version);
    response
}

async fn admit(app: &App, headers: &HeaderMap) -> ApiResult<Arc<Known>> {
    if !app.settings.gateway_enabled {
        return Err(ApiError::new(StatusCode::NOT_FOUND, crate::gateway::DISABLED));
    }
    check_version(headers)?;
    let presented = bearer(headers).ok_or(ApiError::GatewayKey(ABSENT))?;
    app.daemons.keys.find(presented).await
}

/// Both names are told, so that whoever reads the daemon's log knows which of the two is old.
fn check_version(headers: &HeaderMap) -> ApiResult<()> {
    let Some(given) = headers.get(control::VERSION_HEADER) else { return Ok(()) };
    let theirs = given.to_str().ok().and_then(|text| {
        let (major, minor) = text.split_once('.')?;
        Some((text, major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    let Some((theirs, major, _)) = theirs else {
        let message = format!("The header {} is not understood.", control::VERSION_HEADER);
        let detail = format!("It must be MAJOR.MINOR, such as {}.", control::VERSION);
        return Err(ApiError::bad_request(message, detail));
    };
    let ours = control::VERSION.split_once('.').and_then(|(major, _)| major.parse().ok());
    if ours == Some(major) {
        return Ok(());
    }
    let message = format!(
        "The daemon speaks version {theirs} of the control protocol, this server version {}.",
        control::VERSION
    );
    let detail = "Run coderd and its gateway daemons from one release.".to_owned();
    Err(ApiError::Answer {
        status: StatusCode::CONFLICT,
        body: sdk::Response { message, detail, validations: Vec::new() },
    })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The gateway keys in use, by their digests.
#[derive(Clone)]
pub(super) struct Keys(Arc<Shared>);

struct Shared {
    store: Full,
    clock: SharedClock,
    known: Mutex<Table>,
    strangers: Semaphore,
    resync: Notify,
}

#[derive(Default)]
struct Table {
    /// Live keys only, so the owner's list bounds it.
    by_digest: HashMap<[u8; 32], Entry>,
    /// How many notices came so far. What was read before one may say what is no longer so.
    notices: u64,
}

struct Entry {
    known: Arc<Known>,
    looked_up: Instant,
    used: Instant,
    /// Whether the last use is in the database, up to its granularity.
    is_noted: bool,
}

/// A key that exists, until it is deleted.
struct Known {
    daemon: Daemon,
    is_deleted: watch::Sender<bool>,
}

impl Known {
    /// Resolves when the key is deleted.
    async fn deleted(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.is_deleted.subscribe().wait_for(|deleted| *deleted).await;
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    pub(super) fn start(
        store: Full,
        clock: SharedClock,
        pubsub: &Pubsub,
        lifecycle: &Lifecycle,
    ) -> Self {
        let shared = Shared {
            store,
            clock,
            known: Mutex::default(),
            strangers: Semaphore::new(STRANGERS),
            resync: Notify::new(),
        };
        let keys = Self(Arc::new(shared));
        let (shared, stopping) = (Arc::clone(&keys.0), lifecycle.stopping());
        let notices = pubsub.subscribe(Channel::GatewayKeys);
        lifecycle.spawn("gateway-key-notices", async move {
            shared.follow(notices, &stopping).await;
        });
        let (shared, stopping) = (Arc::clone(&keys.0), lifecycle.stopping());
        lifecycle.spawn("gateway-keys", async move { shared.look_again(&stopping).await });
        keys
    }

    /// The key that was presented.
    async fn find(&self, presented: &str) -> ApiResult<Arc<Known>> {
        // What cannot be a key costs no look-up.
        if !gateway_key::is_shaped(presented) {
            return Err(ApiError::GatewayKey(UNKNOWN));
        }
        let digest = crypt::sha256(presented.as_bytes());
        let is_stranger = match self.0.recall(&digest) {
            Recalled::Fresh(known) => return Ok(known),
            Recalled::Stale => false,
            Recalled::Nothing => true,
        };
        if !is_stranger {
            return self.0.look_up(digest).await;
        }
        let Ok(Ok(_turn)) = timeout(TURN, self.0.strangers.acquire()).await else {
            return Err(ApiError::Busy("Too many unknown gateway keys are being looked up."));
        };
        // Another request with this key may have been first.
        if let Recalled::Fresh(known) = self.0.recall(&digest) {
            return Ok(known);
        }
        self.0.look_up(digest).await
    }
}

enum Recalled {
    Fresh(Arc<Known>),
    /// Was in use, and nobody could ask the database since.
    Stale,
    Nothing,
}

impl Shared {
    fn recall(&self, digest: &[u8; 32]) -> Recalled {
        let now = Instant::now();
        let mut table = self.lock();
        let Some(entry) = table.by_digest.get_mut(digest) else { return Recalled::Nothing };
        (entry.used, entry.is_noted) = (now, false);
        if now - entry.looked_up < BELIEVED {
            Recalled::Fresh(Arc::clone(&entry.known))
        } else {
            Recalled::Stale
        }
    }

    async fn look_up(&self, digest: [u8; 32]) -> ApiResult<Arc<Known>> {
        let by = Call::by(system::authenticator());
        for _ in 0..LOOKS {
            let (now, notices) = (Instant::now(), self.lock().notices);
            let found = self.store.run(by, FindByHash { hashed_secret: digest.to_vec() }).await;
            let found = found.map_err(unanswered)?;
            let mut table = self.lock();
            let Some(row) = found.filter(|row| crypt::equal(&row.hashed_secret, &digest)) else {
                table.end(|digest_in_use, _| *digest_in_use == digest);
                return Err(ApiError::GatewayKey(UNKNOWN));
            };
            if table.notices == notices {
                return Ok(table.keep(digest, row, now));
            }
        }
        Err(ApiError::Busy("Gateway keys are being deleted. Please try again."))
    }

    /// Ends what is told to be deleted.
    async fn follow(&self, mut notices: Subscription, stopping: &Stopping) {
        loop {
            let notice = tokio::select! {
                notice = notices.next() => notice,
                () = stopping.wait() => return,
            };
            match notice {
                Some(Notice::Message(id)) => {
                    let mut table = self.lock();
                    table.notices += 1;
                    table.end(|_, key_id| key_id.to_string() == id);
                }
                Some(Notice::Resync) => {
                    self.lock().notices += 1;
                    self.resync.notify_one();
                }
                None => return,
            }
        }
    }

    /// Looks all keys in use up again, by the clock and when notices may have been lost.
    async fn look_again(&self, stopping: &Stopping) {
        let mut clock = interval(RECHECK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = clock.tick() => {}
                () = self.resync.notified() => {}
                () = stopping.wait() => return,
            }
            if let Err(error) = self.recheck().await {
                tracing::warn!(error = %stdx::chain(&error), "gateway keys could not be rechecked");
            }
        }
    }

    async fn recheck(&self) -> Result<(), Error> {
        let now = Instant::now();
        let (ids, used) = self.lock().in_use(now);
        if ids.is_empty() {
            return Ok(());
        }
        let by = Call::by(system::authenticator());
        let existing = self.store.run(by, ListExisting { ids: ids.clone() }).await?;
        {
            let mut table = self.lock();
            table.end(|_, id| ids.contains(&id) && !existing.contains(&id));
            for entry in table.by_digest.values_mut() {
                if existing.contains(&entry.known.daemon.key_id) {
                    entry.looked_up = entry.looked_up.max(now);
                }
            }
        }
        if !used.is_empty() {
            self.store.run(by, TouchGatewayKeys { ids: used, now: self.clock.now() }).await?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Remembers a key that was read at `now`.
    fn keep(&mut self, digest: [u8; 32], row: HashedGatewayKey, now: Instant) -> Arc<Known> {
        let entry = self.by_digest.entry(digest).or_insert_with(|| {
            let daemon = Daemon { key_id: row.id.0, key_name: row.name.into() };
            let known = Arc::new(Known { daemon, is_deleted: watch::Sender::new(false) });
            Entry { known, looked_up: now, used: now, is_noted: false }
        });
        entry.looked_up = entry.looked_up.max(now);
        Arc::clone(&entry.known)
    }

    /// The keys in use, and those of them that were used since they were last asked for.
    fn in_use(&mut self, now: Instant) -> (Vec<GatewayKeyId>, Vec<GatewayKeyId>) {
        // A request that goes on uses its key all the time.
        let goes_on = |entry: &Entry| Arc::strong_count(&entry.known) > 1;
        self.by_digest.retain(|_, entry| goes_on(entry) || now - entry.used < IDLE);
        let (mut all, mut used) = (Vec::new(), Vec::new());
        for entry in self.by_digest.values_mut() {
            let id = entry.known.daemon.key_id;
            all.push(id);
            if goes_on(entry) || !std::mem::replace(&mut entry.is_noted, true) {
                used.push(id);
            }
        }
        (all, used)
    }

    /// Ends all requests with these keys, and forgets the keys.
    fn end(&mut self, is_gone: impl Fn(&[u8; 32], GatewayKeyId) -> bool) {
        self.by_digest.retain(|digest, entry| {
            let gone = is_gone(digest, entry.known.daemon.key_id);
            if gone {
                entry.known.is_deleted.send_replace(true);
            }
            !gone
        });
    }
}

/// We could not find out, whatever the reason: that says nothing about the key.
fn unanswered(error: Error) -> ApiError {
    match error {
        error @ (Error::Unavailable(_) | Error::Serialization(_)) => error.into(),
        error => {
            tracing::error!(error = %stdx::chain(&error), "a gateway key could not be looked up");
            ApiError::Busy("The gateway key could not be checked. Please try again.")
        }
    }
}
