use std::time::Duration;

use config::{HostPort, TlsClientAuth, TlsVersion};
use serve::{BindError, ClientAuth, Listener, Tls, TlsError, TlsMinVersion, TlsSettings};

/// How often certificate files are looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(10);

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// There are no certificate files.
    #[error("CODER_TLS_ENABLE needs a certificate: set CODER_TLS_CERT_FILE and CODER_TLS_KEY_FILE")]
    NoCertificate,
    /// Client certificates are to be checked against nothing.
    #[error("CODER_TLS_CLIENT_AUTH={0} needs authorities: set CODER_TLS_CLIENT_CA_FILE")]
    NoAuthorities(&'static str),
    /// A way of asking for client certificates that proves nothing.
    #[error(
        "CODER_TLS_CLIENT_AUTH={0} would accept any certificate without checking it, which this server \
         does not do: use verify-if-given or require-and-verify"
    )]
    Unverified(&'static str),
    /// The files or their use.
    #[error("CODER_TLS_CERT_FILE, CODER_TLS_KEY_FILE, CODER_TLS_CLIENT_CA_FILE, CODER_TLS_CIPHERS")]
    Tls(#[source] TlsError),
}

/// Binds the address of an option.
///
/// # Errors
/// See [`BindError`].
pub async fn listen(address: &HostPort, option: &'static str) -> Result<Listener, BindError> {
    Listener::bind(&address.host, address.port, option).await
}

/// TLS as the options say; nothing while it is off.
///
/// # Errors
/// See [`ListenError`].
pub fn tls(options: &config::Tls) -> Result<Option<Tls>, ListenError> {
    if !options.enable {
        return Ok(None);
    }
    if options.cert_files.is_empty() {
        return Err(ListenError::NoCertificate);
    }
    let client_auth = match options.client_auth {
        TlsClientAuth::None => ClientAuth::None,
        way @ (TlsClientAuth::Request | TlsClientAuth::RequireAny) => {
            return Err(ListenError::Unverified(way.as_str()));
        }
        way @ (TlsClientAuth::VerifyIfGiven | TlsClientAuth::RequireAndVerify) => {
            let authorities = options.client_ca_file.clone();
            let authorities = authorities.ok_or(ListenError::NoAuthorities(way.as_str()))?;
            if way == TlsClientAuth::RequireAndVerify {
                ClientAuth::Require(authorities)
            } else {
                ClientAuth::VerifyIfGiven(authorities)
            }
        }
    };
    let settings = TlsSettings {
        pairs: options.cert_files.iter().cloned().zip(options.key_files.iter().cloned()).collect(),
        min_version: match options.min_version {
            TlsVersion::Tls12 => TlsMinVersion::Tls12,
            TlsVersion::Tls13 => TlsMinVersion::Tls13,
        },
        client_auth,
        ciphers: options.ciphers.clone(),
        reload_every: RELOAD_EVERY,
    };
    Tls::new(settings).map(Some).map_err(ListenError::Tls)
}
