use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::Verifier;

use super::http::CoderdError;

/// Trusts what this machine trusts, and the authorities in `extra`.
pub(super) fn config(extra: Option<&Path>) -> Result<ClientConfig, CoderdError> {
    let mut authorities = Vec::new();
    if let Some(path) = extra {
        let unreadable = |error: rustls::pki_types::pem::Error| CoderdError::Authorities {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
            authorities.push(certificate.map_err(unreadable)?);
        }
        if authorities.is_empty() {
            let reason = "there is no certificate in it".to_owned();
            return Err(CoderdError::Authorities { path: path.to_owned(), reason });
        }
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::new_with_extra_roots(authorities, Arc::clone(&provider))
        .map_err(CoderdError::Tls)?;
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(CoderdError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Trusts nobody: for a client that is to speak without TLS.
pub(super) fn nobody() -> Result<ClientConfig, CoderdError> {
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(CoderdError::Tls)?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth())
}
