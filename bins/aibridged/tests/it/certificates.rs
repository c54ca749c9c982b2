//! A daemon that speaks TLS speaks nothing else.

use std::fs;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use testkit::program::LIMIT;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::place::Place;

/// Writes a certificate for `localhost` and its key, and returns the certificate in PEM.
fn issue(place: &Place) -> String {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(place.path("tls.crt"), cert.pem()).unwrap();
    fs::write(place.path("tls.key"), signing_key.serialize_pem()).unwrap();
    cert.pem()
}

/// What a request gets by TLS from who is trusted by this certificate; nothing if there is no connection.
async fn get(address: &str, certificate: &str, path: &str) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let exchange = async {
        let stream = TcpStream::connect(address).await.ok()?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, stream).await.ok()?;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        Some(String::from_utf8(answer).unwrap())
    };
    timeout(LIMIT, exchange).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_https_alone_and_takes_a_renewed_certificate() {
    let place = Place::new().await;
    let first = issue(&place);
    let (certificate, key) = (place.path("tls.crt"), place.path("tls.key"));
    let settings = [
        ("CODER_TLS_ENABLE", "true"),
        ("CODER_TLS_CERT_FILE", certificate.to_str().unwrap()),
        ("CODER_TLS_KEY_FILE", key.to_str().unwrap()),
        ("CODER_STRICT_TRANSPORT_SECURITY", "60"),
    ];
    let mut daemon = place.begin("one", &settings);
    let address = daemon.address.clone();
    let ready = async || {
        get(&address, &first, "/readyz").await.is_some_and(|text| text.starts_with("HTTP/1.1 200 "))
    };
    daemon.program.until("it is ready", ready).await;
    let health = get(&address, &first, "/healthz").await.unwrap();
    assert!(health.starts_with("HTTP/1.1 200 ") && health.ends_with("\r\n\r\nOK"), "{health}");
    assert!(health.contains("strict-transport-security: max-age=60"), "{health}");

    // In the clear nothing is served.
    let plain = place.http.get(format!("http://{address}/healthz")).send().await;
    assert!(plain.is_err(), "{plain:?}");
    let other = generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    assert_eq!(get(&address, &other, "/healthz").await, None, "who trusts another gets nowhere");

    // A renewal is taken up without a restart.
    let second = issue(&place);
    let renewed = async || get(&address, &second, "/healthz").await.is_some();
    daemon.program.until("it shows the new certificate", renewed).await;
    assert_eq!(get(&address, &first, "/healthz").await, None);
    daemon.logs(&["TLS certificates were read again"]).await;
    assert!(daemon.program.interrupt().await, "{}", daemon.program.log());
    place.close(Vec::new()).await;
}
