//! TLS: certificates from files, read again when the files change.

mod files;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, version};
use stdx::Lifecycle;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use files::{Certificates, Look, Watch};

/// How TLS is spoken.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Certificate chains and their keys, in PEM. A client gets the first that fits the name it asks for,
    /// else the first.
    pub pairs: Vec<(PathBuf, PathBuf)>,
    /// The lowest version that is accepted.
    pub min_version: TlsMinVersion,
    /// What clients must show.
    pub client_auth: ClientAuth,
    /// Names of the TLS 1.2 suites that are offered, as IANA writes them; empty offers all.
    pub ciphers: Vec<String>,
    /// How often the files are looked at.
    pub reload_every: Duration,
}

impl TlsSettings {
    /// These files, TLS 1.2 or later, nothing asked of clients.
    #[must_use]
    pub const fn new(pairs: Vec<(PathBuf, PathBuf)>) -> Self {
        Self {
            pairs,
            min_version: TlsMinVersion::Tls12,
            client_auth: ClientAuth::None,
            ciphers: Vec::new(),
            reload_every: Duration::from_secs(10),
        }
    }
}

/// The lowest version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after what they are")]
pub enum TlsMinVersion {
    Tls12,
    Tls13,
}

/// What clients must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Nothing.
    None,
    /// A certificate of one of the authorities in this PEM file, if they show any.
    VerifyIfGiven(PathBuf),
    /// A certificate of one of the authorities in this PEM file.
    Require(PathBuf),
}

/// Why TLS cannot be spoken. Names files, never what is in them.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is no certificate to show.
    #[error("TLS needs at least one certificate and its key")]
    NoCertificate,
    /// A file cannot be read.
    #[error("cannot read {path:?}: check that it exists and that this user may read it", path = .path)]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path:?} has no {wanted} in PEM")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
    },
    /// Certificate and key do not belong together, or are of a kind that is not known.
    #[error("the key in {key:?} does not fit the certificate in {certificate:?}")]
    Pair {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// What is wrong with them.
        #[source]
        source: rustls::Error,
    },
    /// The authorities for clients' certificates cannot be used.
    #[error("{path:?} has no usable authority for the certificates of clients")]
    Authorities {
        /// The file.
        path: PathBuf,
    },
    /// No suite is left, or one is not known.
    #[error("TLS cipher suite {0:?} is not known")]
    Cipher(String),
    /// The library refuses the settings.
    #[error("these TLS settings cannot be used")]
    Settings(#[source] rustls::Error),
}

/// TLS, ready to be spoken.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificates: Arc<Certificates>,
    reload_every: Duration,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("certificates", &self.certificates).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files and checks that they fit.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(settings: TlsSettings) -> Result<Self, TlsError> {
        let TlsSettings { pairs, min_version, client_auth, ciphers, reload_every } = settings;
        let provider = Arc::new(provider(&ciphers)?);
        let certificates = Arc::new(Certificates::read(pairs, Arc::clone(&provider))?);
        let versions: &[_] = match min_version {
            TlsMinVersion::Tls12 => &[&version::TLS13, &version::TLS12],
            TlsMinVersion::Tls13 => &[&version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(TlsError::Settings)?;
        let builder = match &client_auth {
            ClientAuth::None => builder.with_no_client_auth(),
            ClientAuth::VerifyIfGiven(path) | ClientAuth::Require(path) => {
                let unusable = || TlsError::Authorities { path: path.clone() };
                let mut roots = RootCertStore::empty();
                for certificate in files::certificates(path)? {
                    roots.add(certificate).map_err(|_| unusable())?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match client_auth {
                    ClientAuth::Require(_) => verifier,
                    _ => verifier.allow_unauthenticated(),
                };
                builder.with_client_cert_verifier(verifier.build().map_err(|_| unusable())?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&certificates) as _);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: Arc::new(config).into(), certificates, reload_every })
    }

    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.acceptor.accept(stream).await
    }

    /// Reads the files again whenever they change, in the background. Files that do not fit leave the old
    /// ones in use: a renewal replaces two of them one after the other.
    pub(crate) fn keep_fresh(&self, lifecycle: &Lifecycle) {
        let (certificates, every) = (Arc::clone(&self.certificates), self.reload_every);
        let stopping = lifecycle.stopping();
        lifecycle.spawn("tls-certificates", async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut watch = Watch::new(certificates);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = stopping.wait() => return,
                }
                match watch.look() {
                    Look::Same | Look::StillUnusable => {}
                    Look::Renewed => tracing::info!("TLS certificates were read again"),
                    Look::Unusable(error) => tracing::warn!(
                        error = %stdx::chain(&error),
                        "changed TLS files cannot be used; the old certificates stay, and they are tried again"
                    ),
                }
            }
        });
    }
}

/// The ciphers of ring, those of TLS 1.2 reduced to the named ones.
fn provider(ciphers: &[String]) -> Result<CryptoProvider, TlsError> {
    let mut provider = ring::default_provider();
    if ciphers.is_empty() {
        return Ok(provider);
    }
    let name = |suite: &rustls::SupportedCipherSuite| {
        suite.suite().as_str().unwrap_or_default().to_owned()
    };
    let known: Vec<String> = provider.cipher_suites.iter().map(name).collect();
    if let Some(unknown) = ciphers.iter().find(|wanted| !known.contains(wanted)) {
        return Err(TlsError::Cipher(unknown.clone()));
    }
    provider
        .cipher_suites
        .retain(|suite| suite.tls13().is_some() || ciphers.contains(&name(suite)));
    Ok(provider)
}
