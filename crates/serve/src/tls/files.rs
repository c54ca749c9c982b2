use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use std::{fs, io};

use arc_swap::ArcSwap;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::TlsError;

/// The certificates in use, and where they came from.
pub(super) struct Certificates {
    pairs: Vec<(PathBuf, PathBuf)>,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<Vec<Arc<CertifiedKey>>>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("pairs", &self.pairs).finish_non_exhaustive()
    }
}

/// What tells that a file is another one than before.
type Stamp = Option<(SystemTime, u64, u64)>;

impl Certificates {
    pub(super) fn read(
        pairs: Vec<(PathBuf, PathBuf)>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let current = ArcSwap::from_pointee(load(&pairs, &provider)?);
        Ok(Self { pairs, provider, current })
    }

    /// All or nothing.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(load(&self.pairs, &self.provider)?));
        Ok(())
    }

    pub(super) fn stamps(&self) -> Vec<Stamp> {
        let files = self.pairs.iter().flat_map(|(certificate, key)| [certificate, key]);
        files.map(|path| stamp(path)).collect()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.load();
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let fits = |pair: &&Arc<CertifiedKey>| {
            let certificate = pair.end_entity_cert().and_then(ParsedCertificate::try_from);
            match (&name, certificate) {
                (Some(name), Ok(certificate)) => verify_server_name(&certificate, name).is_ok(),
                _ => false,
            }
        };
        current.iter().find(fits).or_else(|| current.first()).cloned()
    }
}

fn load(
    pairs: &[(PathBuf, PathBuf)],
    provider: &CryptoProvider,
) -> Result<Vec<Arc<CertifiedKey>>, TlsError> {
    if pairs.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    pairs
        .iter()
        .map(|(certificate, key)| {
            let chain = certificates(certificate)?;
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| unreadable(key, "private key", error))?;
            CertifiedKey::from_der(chain, private, provider).map(Arc::new).map_err(|source| {
                TlsError::Pair { certificate: certificate.clone(), key: key.clone(), source }
            })
        })
        .collect()
}

/// All certificates in a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wanted = "certificate";
    let all: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(path, wanted, error))?;
    if all.is_empty() {
        return Err(TlsError::Pem { path: path.to_owned(), wanted });
    }
    Ok(all)
}

fn unreadable(path: &Path, wanted: &'static str, error: pem::Error) -> TlsError {
    let path = path.to_owned();
    match error {
        pem::Error::Io(source) => TlsError::Read { path, source },
        _ => TlsError::Pem { path, wanted },
    }
}

/// Follows links: that is how several tools renew certificates.
fn stamp(path: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt as _;
    let read = || -> io::Result<_> {
        let metadata = fs::metadata(path)?;
        Ok((metadata.modified()?, metadata.len(), metadata.ino()))
    };
    read().ok()
}
