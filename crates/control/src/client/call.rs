use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use crate::VERSION;

/// Why nothing that this daemon asks will be answered any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The gateway key is unknown or was deleted.
    #[error(
        "coderd does not accept the gateway key ({0}): make a new one and set CODER_AI_GATEWAY_KEY or \
         CODER_AI_GATEWAY_KEY_FILE"
    )]
    Key(String),
    /// The two speak different versions.
    #[error(
        "coderd speaks another version of the control protocol than this daemon, which speaks {VERSION} \
         ({0}): run both from one release"
    )]
    Version(String),
}

/// Why a call gave nothing. Never holds what was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No call will succeed any more.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// coderd is there and asks for patience.
    #[error("coderd asks to try again later: {reason}")]
    Busy {
        /// As coderd says it.
        reason: String,
        /// How long to leave it alone.
        retry_after: Option<Duration>,
    },
    /// coderd cannot be reached, or what answers is not coderd in order.
    #[error("{0}")]
    Away(String),
    /// coderd does not understand the request. Repeating it would change nothing soon.
    #[error("coderd does not understand a request of this daemon: {0}")]
    NotUnderstood(String),
}

impl CallError {
    /// How long coderd asks to be left alone.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Longest pause that is granted.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);
/// Most characters of an answer that are repeated.
const TEXT_MAX: usize = 300;

/// What an answer without success means.
pub(super) fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> CallError {
    let text = message(body);
    let speaks = headers.get(crate::VERSION_HEADER).is_some();
    match status {
        // Only from coderd itself: a proxy in between that wants a login is nothing to give up for.
        StatusCode::UNAUTHORIZED if speaks => Ended::Key(text).into(),
        StatusCode::CONFLICT if speaks => Ended::Version(text).into(),
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE if speaks => {
            CallError::NotUnderstood(text)
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            CallError::Busy { reason: text, retry_after: retry_after(headers) }
        }
        _ if speaks => CallError::Away(format!("coderd answered {}: {text}", status.as_u16())),
        _ => CallError::Away(format!(
            "what answers at CODER_URL ({}) does not speak the gateway protocol: check CODER_URL, and that \
             coderd is recent enough",
            status.as_u16()
        )),
    }
}

/// Whether the peer's version, if it names one, has our major number.
pub(super) fn check_version(headers: &HeaderMap) -> Result<(), CallError> {
    let theirs = headers.get(crate::VERSION_HEADER).and_then(|value| value.to_str().ok());
    let Some(theirs) = theirs else {
        return Err(CallError::Away(
            "what answers at CODER_URL does not speak the gateway protocol: check CODER_URL"
                .to_owned(),
        ));
    };
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    if major(theirs) == major(VERSION) {
        return Ok(());
    }
    Err(Ended::Version(format!("coderd's is {}", stdx::cut(theirs, TEXT_MAX))).into())
}

/// The message of API v2's error body, one line of it.
fn message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Body {
        #[serde(default)]
        message: String,
        #[serde(default)]
        detail: String,
    }
    let Ok(Body { message, detail }) = serde_json::from_slice(body) else {
        return "no reason given".to_owned();
    };
    let text = format!("{message} {detail}");
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    stdx::cut(line.trim().trim_end_matches('.'), TEXT_MAX).to_owned()
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (http::HeaderName::from_static(name), HeaderValue::from_static(value))
            })
            .collect()
    }

    #[test]
    fn each_refusal_means_what_the_protocol_says() {
        const V: (&str, &str) = (crate::VERSION_HEADER, "1.7");
        let body = br#"{"message":"No.","detail":"Really\nnot."}"#;
        let busy = |seconds: Option<u64>| CallError::Busy {
            reason: "No. Really not".to_owned(),
            retry_after: seconds.map(Duration::from_secs),
        };
        for (status, pairs, want) in [
            (401, &[V][..], CallError::Ended(Ended::Key("No. Really not".to_owned()))),
            (409, &[V], CallError::Ended(Ended::Version("No. Really not".to_owned()))),
            (400, &[V], CallError::NotUnderstood("No. Really not".to_owned())),
            (429, &[V, ("retry-after", "7")], busy(Some(7))),
            (503, &[("retry-after", "86400")], busy(Some(300))),
            (503, &[("retry-after", "Tue, 01 Jan 2030 00:00:00 GMT")], busy(None)),
            (500, &[V], CallError::Away("coderd answered 500: No. Really not".to_owned())),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(refusal(status, &headers(pairs), body), want, "{status} {pairs:?}");
        }
        for status in [301, 401, 403, 404, 409, 502] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = refusal(status, &HeaderMap::new(), b"<html>");
            let text = error.to_string();
            assert!(matches!(error, CallError::Away(_)), "{status}: {error:?}");
            assert!(text.contains("check CODER_URL"), "{text}");
        }
    }

    #[test]
    fn another_major_version_is_the_end_a_minor_one_is_not() {
        for (version, fine) in [("1.0", true), ("1.9", true), ("2.0", false), ("10.0", false)] {
            let checked = check_version(&headers(&[(crate::VERSION_HEADER, version)]));
            assert_eq!(checked.is_ok(), fine, "{version}");
            if let Err(error) = checked {
                assert!(matches!(error, CallError::Ended(Ended::Version(_))), "{error:?}");
            }
        }
        assert!(matches!(check_version(&HeaderMap::new()), Err(CallError::Away(_))));
    }
}
