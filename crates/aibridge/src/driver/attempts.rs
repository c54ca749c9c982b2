use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, Request, Response};
use hyper::body::Incoming;
use stdx::{Clock, Rng};

use crate::breaker::Verdict;
use crate::dialect::{Dialect, Fault};
use crate::facts::CredentialKind;
use crate::gateway::Body;
use crate::keys::{Rejection, retry_after};
use crate::metrics::Metrics;
use crate::provider::{Provider, ProviderKind};
use crate::token::OwnCredential;
use crate::upstream::{RequestBody, SendError, Upstream};

/// Keys that one request tries at most. Nothing else is ever sent twice: what a provider answered, and
/// what broke after it was sent, is for the client to repeat.
const ATTEMPTS_MAX: u32 = 5;

/// Why there is no answer to relay, in words for the client: they name the provider and nothing behind it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
    /// Whether the provider was asked and said something about its health.
    pub(crate) asked: bool,
}

impl Failure {
    pub(crate) fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into(), retry_after: None, asked: false }
    }

    pub(crate) fn too_large() -> Self {
        let text = "Request body too large. The maximum allowed request body size is 32MiB.";
        Self::new(Fault::TooLarge, text)
    }

    /// The client did not send its body within `patience`.
    pub(crate) fn body_timeout(patience: Duration) -> Self {
        let seconds = patience.as_secs();
        let text = format!("the request body did not arrive within {seconds} seconds");
        Self::new(Fault::BodyTimeout, text)
    }

    /// What it says about the provider.
    pub(crate) const fn verdict(&self) -> Verdict {
        match self.fault {
            Fault::Upstream | Fault::UpstreamTimeout => Verdict::Ill,
            Fault::KeysLimited | Fault::AttemptsSpent if self.asked => Verdict::Ill,
            _ => Verdict::Nothing,
        }
    }

    /// The answer that the client gets. When to come back is rounded up to whole seconds and spread by a
    /// tenth, at least 2 seconds: clients that were refused at one time do not all return at one time.
    pub(crate) fn answer(&self, dialect: Option<Dialect>, rng: &dyn Rng) -> Response<Body> {
        let mut answer = self.fault.answer(dialect, &self.message).map(Body::from);
        let pause = self.retry_after.or_else(|| self.fault.passes().then_some(Duration::ZERO));
        if let Some(pause) = pause {
            let least = pause.as_secs().saturating_add(u64::from(pause.subsec_nanos() > 0)).max(1);
            let mut dice = [0; 2];
            rng.fill_id(&mut dice);
            let seconds =
                least + u64::from(u16::from_le_bytes(dice)) % (least / 10).max(2).saturating_add(1);
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

/// What authenticates a request upstream.
#[derive(Debug)]
pub(crate) enum Credential {
    /// Brought by the caller; a refusal is the caller's business.
    Own(OwnCredential),
    /// A key of the provider's pool.
    Pool,
}

impl Credential {
    /// The caller's own credential if there is one, else the pool.
    pub(crate) fn choose(own: Option<OwnCredential>, provider: &Provider) -> Result<Self, Failure> {
        match own {
            Some(own) => Ok(Self::Own(own)),
            None if !provider.pool.is_empty() => Ok(Self::Pool),
            None if provider.kind == ProviderKind::Copilot => Err(Failure::new(
                Fault::NoCredential,
                format!(
                    "provider {:?} needs your own GitHub token: send it as Authorization: Bearer, and your \
                     Coder token as X-Coder-AI-Governance-Token",
                    provider.name
                ),
            )),
            None => Err(Failure::new(
                Fault::NoCredential,
                format!(
                    "provider {:?} has no key: ask an administrator to add one, or bring your own and send \
                     your Coder token as X-Coder-AI-Governance-Token",
                    provider.name
                ),
            )),
        }
    }

    pub(crate) const fn kind(&self) -> CredentialKind {
        match self {
            Self::Own(_) => CredentialKind::Byok,
            Self::Pool => CredentialKind::Centralized,
        }
    }

    /// Mask of a credential that is known from the start.
    pub(crate) fn hint(&self) -> &str {
        match self {
            Self::Own(own) => &own.hint,
            Self::Pool => "",
        }
    }
}

/// What one request needs to be sent with one key after the other.
pub(crate) struct Keys<'a> {
    pub(crate) provider: &'a Provider,
    pub(crate) upstream: &'a Upstream,
    pub(crate) metrics: &'a Metrics,
    pub(crate) clock: &'a dyn Clock,
    /// Whether `make` can be called again after a request was sent.
    pub(crate) replay: bool,
}

impl Keys<'_> {
    /// Sends the request that `make` builds around a credential, with the next key when one is turned
    /// away, each key at most once. `hint` always holds the mask of the key used last.
    pub(crate) async fn send(
        &self,
        credential: &Credential,
        hint: &mut String,
        mut make: impl FnMut((HeaderName, HeaderValue)) -> Request<RequestBody>,
    ) -> Result<Response<Incoming>, Failure> {
        let pool = &self.provider.pool;
        if let Credential::Own(own) = credential {
            let request = make((own.name.clone(), own.value.clone()));
            return self.once(request).await;
        }
        let (mut from, mut attempts, mut limited) = (0, 0, false);
        while attempts < ATTEMPTS_MAX
            && let Some((at, key)) = pool.next(from, self.clock.now())
        {
            key.hint().clone_into(hint);
            attempts += 1;
            let answer = self.once(make(pool.header(key))).await?;
            let Some(why) = Rejection::of(answer.status()) else {
                key.accepted();
                self.metrics.attempts(self.provider, attempts);
                return Ok(answer);
            };
            let now = self.clock.now();
            key.rejected(why, retry_after(answer.headers(), now), now);
            limited |= why == Rejection::RateLimited;
            self.metrics.key_rejected(&self.provider.name, why);
            tracing::warn!(
                provider = self.provider.name,
                credential_hint = key.hint(),
                reason = why.as_str(),
                "provider turned a key away"
            );
            if !self.replay {
                return Ok(answer);
            }
            from = at + 1;
        }
        if attempts > 0 {
            self.metrics.attempts(self.provider, attempts);
        }
        if attempts == ATTEMPTS_MAX && pool.next(from, self.clock.now()).is_some() {
            let message = format!(
                "provider {:?} turned away {ATTEMPTS_MAX} keys, as many as one request tries; others are left, \
                 so try again shortly",
                self.provider.name
            );
            return Err(Failure { asked: limited, ..Failure::new(Fault::AttemptsSpent, message) });
        }
        Err(self.exhausted(attempts > 0, limited))
    }

    /// `limited` tells that this request met a key that is only rate limited; its pause may be over.
    fn exhausted(&self, asked: bool, limited: bool) -> Failure {
        let exhausted = self.provider.pool.exhausted(self.clock.now());
        let limited = limited || exhausted.limited;
        self.metrics.pool_exhausted(&self.provider.name, limited);
        let (fault, message) = if limited {
            (Fault::KeysLimited, "all configured keys are rate-limited")
        } else {
            (Fault::KeysRefused, "all configured keys failed authentication")
        };
        Failure {
            fault,
            message: message.to_owned(),
            retry_after: Some(exhausted.retry_after),
            asked,
        }
    }

    async fn once(&self, request: Request<RequestBody>) -> Result<Response<Incoming>, Failure> {
        let name = &self.provider.name;
        self.upstream.send(request).await.map_err(|error| {
            tracing::warn!(provider = name, error = %stdx::chain(&error), "provider gave no answer");
            match error {
                SendError::Unreachable(_) => {
                    Failure::new(Fault::Upstream, format!("provider {name:?} cannot be reached"))
                }
                SendError::TimedOut => Failure::new(
                    Fault::UpstreamTimeout,
                    format!("connecting to provider {name:?} took too long"),
                ),
                SendError::BodyTooLarge => Failure::too_large(),
                SendError::Body(_) => Failure::new(Fault::BadRequest, "the request body broke off"),
            }
        })
    }
}
