use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stdx::Secret;
use tokio::time::timeout;
use url::Url;

use super::call::{CallError, check_version, refusal};
use super::tls;
use crate::wire::{
    Accepted, Heartbeat, Providers, ResolveRequest, Resolved, Revocations, Verified,
};
use crate::{PREFIX, VERSION, VERSION_HEADER};

/// Making a TCP connection.
const CONNECT: Duration = Duration::from_secs(3);
/// A connection on which nothing comes back within twice this time is given up.
const PROBE: Duration = Duration::from_secs(5);
/// A call that coderd answers at once.
const SHORT: Duration = Duration::from_secs(5);
/// A call with up to a batch of facts, on a slow link to a busy database.
const LONG: Duration = Duration::from_mins(1);
/// What a long poll may take beyond the time it was asked to wait.
const SLACK: Duration = Duration::from_secs(10);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where coderd is, and who asks.
#[derive(Debug)]
pub struct CoderdSettings {
    /// Its URL; the protocol's path is appended to that of the URL.
    pub url: Url,
    /// The gateway key.
    pub key: Secret<String>,
    /// Authorities in PEM that may vouch for coderd, besides those this machine trusts.
    pub ca_file: Option<PathBuf>,
    /// Version of the daemon.
    pub build: &'static str,
}

/// Why coderd cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum CoderdError {
    /// What was given as the key cannot be one: another kind of token, or only a part of a key.
    #[error(
        "the gateway key is not \"cgw_\" and 39 letters and digits: set CODER_AI_GATEWAY_KEY or \
         CODER_AI_GATEWAY_KEY_FILE to a key as coderd showed it"
    )]
    Key,
    /// The URL cannot be asked.
    #[error("{0} is no URL of coderd: check CODER_URL")]
    Url(Url),
    /// The file with authorities.
    #[error("cannot use {path:?} (CODER_URL_CA_FILE): {reason}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// This machine trusts nobody.
    #[error(
        "this machine has no usable certificate store: name the authority that vouches for coderd in \
         CODER_URL_CA_FILE"
    )]
    Tls(#[source] rustls::Error),
}

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Asks coderd. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Coderd(Arc<Inner>);

struct Inner {
    base: String,
    authorization: HeaderValue,
    agent: HeaderValue,
    /// For everything that somebody waits for.
    quick: Http,
    /// For facts: a large batch must not stand in the way of a short question.
    bulk: Http,
}

impl fmt::Debug for Coderd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coderd").field("base", &self.0.base).finish_non_exhaustive()
    }
}

impl Coderd {
    /// Connects at the first call.
    ///
    /// # Errors
    /// See [`CoderdError`].
    pub fn new(settings: CoderdSettings) -> Result<Self, CoderdError> {
        let CoderdSettings { url, key, ca_file, build } = settings;
        let plain = match url.scheme() {
            "http" => true,
            "https" => false,
            _ => return Err(CoderdError::Url(url)),
        };
        if !crypt::gateway_key::is_shaped(key.expose()) {
            return Err(CoderdError::Key);
        }
        let bearer = Secret::new(format!("Bearer {}", key.expose()));
        let mut authorization =
            HeaderValue::from_str(bearer.expose()).map_err(|_| CoderdError::Key)?;
        authorization.set_sensitive(true);
        let agent = HeaderValue::from_str(build).unwrap_or(HeaderValue::from_static("aibridged"));
        let http = || -> Result<Http, CoderdError> {
            let mut tcp = HttpConnector::new();
            tcp.enforce_http(false);
            tcp.set_nodelay(true);
            tcp.set_connect_timeout(Some(CONNECT));
            let connector = HttpsConnectorBuilder::new();
            let connector = if plain {
                // Never used; what reads the machine's certificates stays out of the way.
                connector.with_tls_config(tls::nobody()?).https_or_http()
            } else {
                connector.with_tls_config(tls::config(ca_file.as_deref())?).https_only()
            };
            let connector = connector.enable_all_versions().wrap_connector(tcp);
            Ok(Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                // Without TLS there is nothing to negotiate by.
                .http2_only(plain)
                .http2_keep_alive_interval(PROBE)
                .http2_keep_alive_timeout(PROBE)
                .http2_keep_alive_while_idle(true)
                .http2_adaptive_window(true)
                .retry_canceled_requests(true)
                .build(connector))
        };
        let base = format!("{}{PREFIX}", url.as_str().trim_end_matches('/'));
        Ok(Self(Arc::new(Inner { base, authorization, agent, quick: http()?, bulk: http()? })))
    }

    /// Whose token is this?
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn resolve(&self, asked: &ResolveRequest) -> Result<Resolved, CallError> {
        self.post(&self.0.quick, "resolve", asked, SHORT).await
    }

    /// Lives, and asks whom to forget.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn heartbeat(&self, beat: &Heartbeat) -> Result<Revocations, CallError> {
        let patience = Duration::from_secs(beat.wait_seconds.into()) + SLACK;
        self.post(&self.0.quick, "heartbeat", beat, patience).await
    }

    /// The providers, once they are another set than `after`; nothing if they are not within `wait_seconds`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn providers(
        &self,
        after: Option<&str>,
        wait_seconds: u32,
    ) -> Result<Option<Providers>, CallError> {
        let mut path = format!("providers?wait_seconds={wait_seconds}");
        if let Some(after) = after {
            let pair = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("after", after)
                .finish();
            path = format!("{path}&{pair}");
        }
        let patience = Duration::from_secs(wait_seconds.into()) + SLACK;
        let answer = self.call(&self.0.quick, Method::GET, &path, Bytes::new(), patience).await?;
        answer.map(|body| parse(&body)).transpose()
    }

    /// Stores facts; `body` is a [`Records`](crate::wire::Records).
    pub(super) async fn records(&self, body: Bytes) -> Result<Accepted, CallError> {
        self.send(&self.0.bulk, "records", body, LONG).await
    }

    /// Compares facts; `body` is a [`Verify`](crate::wire::Verify).
    pub(super) async fn verify(&self, body: impl Serialize) -> Result<Verified, CallError> {
        self.post(&self.0.bulk, "verify", &body, LONG).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        http: &Http,
        path: &str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<T, CallError> {
        let body = serde_json::to_vec(body)
            .map_err(|error| CallError::NotUnderstood(format!("cannot write it: {error}")))?;
        self.send(http, path, body.into(), patience).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        http: &Http,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<T, CallError> {
        match self.call(http, Method::POST, path, body, patience).await? {
            Some(body) => parse(&body),
            None => Err(CallError::Away("coderd gave an empty answer".to_owned())),
        }
    }

    /// One call: the body of a 200, nothing for a 204.
    async fn call(
        &self,
        http: &Http,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<Option<Bytes>, CallError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/{path}", self.0.base))
            .header(AUTHORIZATION, self.0.authorization.clone())
            .header(USER_AGENT, self.0.agent.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(VERSION_HEADER, HeaderValue::from_static(VERSION))
            .body(Full::new(body))
            .map_err(|error| CallError::NotUnderstood(error.to_string()))?;
        let exchange = async {
            let response = http.request(request).await.map_err(|error| away(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body
                .map_err(|error| CallError::Away(format!("coderd's answer broke off: {error}")))?
                .to_bytes();
            match head.status {
                StatusCode::OK => check_version(&head.headers).map(|()| Some(body)),
                StatusCode::NO_CONTENT => check_version(&head.headers).map(|()| None),
                status => Err(refusal(status, &head.headers, &body)),
            }
        };
        timeout(patience, exchange).await.unwrap_or_else(|_| {
            let seconds = patience.as_secs();
            Err(CallError::Away(format!("coderd did not answer within {seconds} seconds")))
        })
    }
}

fn away(error: &hyper_util::client::legacy::Error) -> CallError {
    CallError::Away(format!("coderd cannot be reached: {}", stdx::chain(error)))
}

/// The parser's own words could repeat what is in the answer, so only the place is told.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(body).map_err(|error| {
        CallError::Away(format!(
            "coderd's answer is not understood (at byte {} of line {})",
            error.column(),
            error.line()
        ))
    })
}
