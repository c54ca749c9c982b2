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
    /// Of the files as they were before they were first read: what changes meanwhile is read again.
    first: Vec<Stamp>,
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
        let first = stamps(&pairs);
        let current = ArcSwap::from_pointee(load(&pairs, &provider)?);
        Ok(Self { pairs, provider, current, first })
    }

    /// All or nothing.
    fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(load(&self.pairs, &self.provider)?));
        Ok(())
    }
}

/// Looks whether files have changed, and takes them into use.
pub(super) struct Watch {
    certificates: Arc<Certificates>,
    /// Of the files in use.
    used: Vec<Stamp>,
    /// Of the files that could not be used and of which that was said.
    told: Option<Vec<Stamp>>,
}

/// What was seen.
#[derive(Debug)]
pub(super) enum Look {
    Same,
    Renewed,
    /// The first time that these files cannot be used.
    Unusable(TlsError),
    /// They still cannot. They are tried again all the same: it may not have been their fault.
    StillUnusable,
}

impl Watch {
    pub(super) fn new(certificates: Arc<Certificates>) -> Self {
        let used = certificates.first.clone();
        Self { certificates, used, told: None }
    }

    pub(super) fn look(&mut self) -> Look {
        // Before the files are read: a change in between is seen the next time.
        let now = stamps(&self.certificates.pairs);
        if now == self.used {
            self.told = None;
            return Look::Same;
        }
        match self.certificates.reload() {
            Ok(()) => {
                (self.used, self.told) = (now, None);
                Look::Renewed
            }
            Err(_) if self.told.as_ref() == Some(&now) => Look::StillUnusable,
            Err(error) => {
                self.told = Some(now);
                Look::Unusable(error)
            }
        }
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

fn stamps(pairs: &[(PathBuf, PathBuf)]) -> Vec<Stamp> {
    let files = pairs.iter().flat_map(|(certificate, key)| [certificate, key]);
    files.map(|path| stamp(path)).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::generate_simple_self_signed;
    use rustls::crypto::ring;

    use super::*;

    fn issue(dir: &Path) -> (PathBuf, PathBuf) {
        let issued = generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let paths = (dir.join("a.crt"), dir.join("a.key"));
        fs::write(&paths.0, issued.cert.pem()).unwrap();
        fs::write(&paths.1, issued.signing_key.serialize_pem()).unwrap();
        paths
    }

    /// The renewal is complete before the first look, and unreadable for a while without its stamps telling.
    #[test]
    fn a_renewal_is_tried_until_it_is_in_use_and_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let pair = issue(dir.path());
        let provider = Arc::new(ring::default_provider());
        let certificates = Arc::new(Certificates::read(vec![pair.clone()], provider).unwrap());
        let shown = || certificates.current.load().first().unwrap().cert.clone();
        let old = shown();
        issue(dir.path());
        let mut watch = Watch::new(Arc::clone(&certificates));

        let key = fs::read(&pair.1).unwrap();
        let modified = fs::metadata(&pair.1).unwrap().modified().unwrap();
        let replace = |bytes: &[u8]| {
            fs::write(&pair.1, bytes).unwrap();
            fs::File::options().write(true).open(&pair.1).unwrap().set_modified(modified).unwrap();
        };
        replace(&vec![b'x'; key.len()]);
        assert!(matches!(watch.look(), Look::Unusable(TlsError::Pem { .. })));
        assert!(matches!(watch.look(), Look::StillUnusable));
        assert_eq!(shown(), old, "the old pair stays in use");
        replace(&key);
        assert!(matches!(watch.look(), Look::Renewed));
        assert_ne!(shown(), old);
        assert!(matches!(watch.look(), Look::Same));
    }
}
