//! Certificates: chosen by name, read again when they change, refused with the file's name.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion};
use serve::{ClientAuth, Limits, Tls, TlsMinVersion, TlsSettings};
use stdx::Lifecycle;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{Kept, listener, says, within};

/// A directory with certificates and their keys.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes `{file}.crt` and `{file}.key` for a host.
    fn issue(&self, file: &str, host: &str) -> (PathBuf, PathBuf) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([host.to_owned()]).unwrap();
        self.write(file, &cert.pem(), &signing_key.serialize_pem())
    }

    fn write(&self, file: &str, certificate: &str, key: &str) -> (PathBuf, PathBuf) {
        let paths = (self.path(&format!("{file}.crt")), self.path(&format!("{file}.key")));
        fs::write(&paths.0, certificate).unwrap();
        fs::write(&paths.1, key).unwrap();
        paths
    }
}

async fn serving(settings: TlsSettings, lifecycle: &Lifecycle) -> SocketAddr {
    let listener = listener(Limits::default()).await.with_tls(Tls::new(settings).unwrap());
    let address = listener.address();
    serve::start("test", listener, says("secret hello".to_owned()), lifecycle);
    address
}

/// What a client trusts and shows.
struct Trust<'a> {
    roots: &'a [&'a Path],
    versions: &'a [&'static SupportedProtocolVersion],
    shows: Option<&'a (PathBuf, PathBuf)>,
    alpn: &'a [u8],
}

impl Default for Trust<'_> {
    fn default() -> Self {
        Self { roots: &[], versions: ALL_VERSIONS, shows: None, alpn: b"http/1.1" }
    }
}

impl Trust<'_> {
    async fn connect(&self, address: SocketAddr, host: &str) -> Option<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for path in self.roots {
            roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.shows {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
                let key = PrivateKeyDer::from_pem_file(key).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![self.alpn.to_vec()];
        let stream = within(TcpStream::connect(address)).await.unwrap();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.ok()
    }

    /// Whether a request is answered.
    async fn serves(&self, address: SocketAddr, host: &str) -> bool {
        match self.connect(address, host).await {
            None => false,
            // With TLS 1.3, a client learns only afterwards that its own certificate was refused.
            Some(stream) => {
                Kept::over(stream).await.get("/").await.as_deref() == Some("secret hello")
            }
        }
    }
}

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
    let (files, lifecycle) = (Files::new(), Lifecycle::new());
    let (a, b) = (files.issue("a", "a.test"), files.issue("b", "b.test"));
    let address = serving(TlsSettings::new(vec![a.clone(), b.clone()]), &lifecycle).await;
    let both = [a.0.as_path(), b.0.as_path()];
    for (roots, host, want) in [
        (&both[..], "a.test", true),
        (&both[..], "b.test", true),
        (&both[1..], "b.test", true),
        // Nothing fits, so the first one is shown, which is not for this name.
        (&both[..], "c.test", false),
        (&both[..1], "b.test", false),
    ] {
        let trust = Trust { roots, ..Trust::default() };
        assert_eq!(trust.serves(address, host).await, want, "{host} with {}", roots.len());
    }
    let trust = Trust { roots: &both, alpn: b"h2", ..Trust::default() };
    let stream = trust.connect(address, "a.test").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn renewed_files_are_used_and_broken_ones_are_not() {
    let (files, lifecycle) = (Files::new(), Lifecycle::new());
    let pair = files.issue("a", "a.test");
    let old = files.path("old.crt");
    fs::copy(&pair.0, &old).unwrap();
    let settings =
        TlsSettings { reload_every: Duration::from_millis(20), ..TlsSettings::new(vec![pair]) };
    let address = serving(settings, &lifecycle).await;
    let roots = [old.as_path()];
    let trust_old = Trust { roots: &roots, ..Trust::default() };
    assert!(trust_old.serves(address, "a.test").await);

    // Half a renewal: the certificate is new, the key is not. Then the file is gone altogether.
    let other = files.issue("other", "a.test");
    fs::copy(&other.0, files.path("a.crt")).unwrap();
    for _ in 0..10 {
        assert!(trust_old.serves(address, "a.test").await, "the old pair stays in use");
    }
    fs::remove_file(files.path("a.crt")).unwrap();
    assert!(trust_old.serves(address, "a.test").await);

    fs::copy(&other.0, files.path("a.crt")).unwrap();
    fs::copy(&other.1, files.path("a.key")).unwrap();
    let roots = [other.0.as_path()];
    let trust_new = Trust { roots: &roots, ..Trust::default() };
    within(async { while !trust_new.serves(address, "a.test").await {} }).await;
    assert!(!trust_old.serves(address, "a.test").await, "and the old one is not");
}

#[tokio::test]
async fn old_versions_and_strangers_are_turned_away() {
    let (files, lifecycle) = (Files::new(), Lifecycle::new());
    let pair = files.issue("a", "a.test");
    let (friend, stranger) = (files.issue("friend", "friend"), files.issue("stranger", "stranger"));
    let roots = [pair.0.as_path()];
    let base = TlsSettings::new(vec![pair.clone()]);
    let only_13 = TlsSettings { min_version: TlsMinVersion::Tls13, ..base.clone() };
    let given = ClientAuth::VerifyIfGiven(friend.0.clone());
    let given = TlsSettings { client_auth: given, ..base.clone() };
    let required = ClientAuth::Require(friend.0.clone());
    let required = TlsSettings { client_auth: required, ..base.clone() };
    let one = ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384".to_owned()].to_vec();
    let one_cipher = TlsSettings { ciphers: one, ..base.clone() };
    for (name, settings, versions, shows, want) in [
        ("both versions", &base, &TLS12, None, true),
        ("1.3 only", &only_13, &TLS12, None, false),
        ("1.3 only", &only_13, &TLS13, None, true),
        ("one cipher", &one_cipher, &TLS12, None, true),
        ("one cipher", &one_cipher, &TLS13, None, true),
        ("if given", &given, &TLS13, None, true),
        ("if given", &given, &TLS13, Some(&friend), true),
        ("if given", &given, &TLS13, Some(&stranger), false),
        ("required", &required, &TLS13, None, false),
        ("required", &required, &TLS12, None, false),
        ("required", &required, &TLS13, Some(&friend), true),
        ("required", &required, &TLS12, Some(&stranger), false),
    ] {
        let address = serving(settings.clone(), &lifecycle).await;
        let trust = Trust { roots: &roots, versions: &[versions], shows, ..Trust::default() };
        let who = shows.map(|pair| pair.0.file_name());
        assert_eq!(trust.serves(address, "a.test").await, want, "{name} {versions:?} {who:?}");
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let files = Files::new();
    let (good, other) = (files.issue("good", "a.test"), files.issue("other", "b.test"));
    let (missing, noise) = (files.path("missing"), files.path("noise"));
    fs::write(&noise, "not PEM at all").unwrap();
    let pair = |a: &Path, b: &Path| TlsSettings::new(vec![(a.to_owned(), b.to_owned())]);
    let with_clients = |path: &Path| TlsSettings {
        client_auth: ClientAuth::Require(path.to_owned()),
        ..pair(&good.0, &good.1)
    };
    for (settings, want) in [
        (TlsSettings::new(Vec::new()), "TLS needs at least one certificate".to_owned()),
        (pair(&missing, &good.1), format!("cannot read {missing:?}")),
        (pair(&good.0, &missing), format!("cannot read {missing:?}")),
        (pair(&noise, &good.1), format!("{noise:?} has no certificate in PEM")),
        (pair(&good.0, &noise), format!("{noise:?} has no private key in PEM")),
        (pair(&good.1, &good.1), format!("{:?} has no certificate in PEM", good.1)),
        (pair(&good.0, &other.1), format!("the key in {:?} does not fit", other.1)),
        (with_clients(&missing), format!("cannot read {missing:?}")),
        (with_clients(&noise), format!("{noise:?} has no certificate in PEM")),
        (
            TlsSettings { ciphers: vec!["NULL".to_owned()], ..pair(&good.0, &good.1) },
            "TLS cipher suite \"NULL\" is not known".to_owned(),
        ),
    ] {
        let error = Tls::new(settings).unwrap_err().to_string();
        assert!(error.contains(&want), "{error} instead of {want}");
    }
    let key = fs::read_to_string(&good.1).unwrap();
    let body = key.lines().nth(1).unwrap();
    let error = Tls::new(pair(&good.0, &other.1)).unwrap_err();
    assert!(!format!("{error:?}").contains(body), "no error holds a key");
    assert!(KeyPair::from_pem(&key).is_ok(), "it was one");
}
