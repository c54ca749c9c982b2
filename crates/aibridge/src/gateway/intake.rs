use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::ClientBody;
use crate::dialect::Fault;
use crate::driver::Failure;
use crate::headers::is_encoded;
use crate::limits::{Held, NoRoom};

/// Largest request body in bytes.
pub const REQUEST_BODY_MAX: usize = 32 * 1024 * 1024;

/// A body that is too large is read on up to this many bytes and thrown away: a client that is still
/// sending when the connection closes never gets to see the answer.
const DISCARD_MAX: usize = 4 * REQUEST_BODY_MAX;
/// How long that may take.
const DISCARD_TIME: Duration = Duration::from_secs(10);

/// Memory taken on a client's mere word about the length.
const TRUST_MAX: usize = 256 * 1024;

/// Reads the whole body of an intercepted request. `held` counts it.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: ClientBody,
    patience: Duration,
    held: &mut Held,
) -> Result<Bytes, Failure> {
    check_encoding(headers)?;
    let declared = content_length(headers);
    if declared.is_some_and(|length| length > REQUEST_BODY_MAX as u64) {
        return Err(too_large(body, 0).await);
    }
    let expected = declared.and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
    match timeout(patience, collect(&mut body, expected, held)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(Unread::TooLarge)) => Err(too_large(body, REQUEST_BODY_MAX).await),
        Ok(Err(Unread::NoRoom)) => {
            held.release();
            discard(body, 0).await;
            Err(no_room())
        }
        Ok(Err(Unread::Broken)) => {
            Err(Failure::new(Fault::BadRequest, "the request body broke off"))
        }
        Err(_) => Err(Failure::body_timeout(patience)),
    }
}

/// The refusal of a body for which there is no memory.
pub(crate) fn no_room() -> Failure {
    Failure::new(
        Fault::MemoryExhausted,
        "AI Gateway holds as many bytes as it may at the moment. Please try again later.",
    )
}

/// Why a body was not read.
enum Unread {
    TooLarge,
    NoRoom,
    Broken,
}

impl From<NoRoom> for Unread {
    fn from(_: NoRoom) -> Self {
        Self::NoRoom
    }
}

/// Compressed bodies cannot be read, and what cannot be read is not relayed.
fn check_encoding(headers: &HeaderMap) -> Result<(), Failure> {
    if is_encoded(headers) {
        let message = "Content-Encoding is not supported for requests; send the body uncompressed";
        return Err(Failure::new(Fault::EncodedBody, message));
    }
    Ok(())
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect(body: &mut ClientBody, expected: usize, held: &mut Held) -> Result<Bytes, Unread> {
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|_| Unread::Broken)?.into_data() else {
            continue;
        };
        let length = all.len() + first.as_ref().map_or(0, Bytes::len) + chunk.len();
        if length > REQUEST_BODY_MAX {
            return Err(Unread::TooLarge);
        }
        // Most bodies are one chunk, which is then not copied.
        if all.is_empty() && first.is_none() {
            held.resize(length)?;
            first = Some(chunk);
            continue;
        }
        if length > all.capacity() {
            let room = if expected < length {
                2 * length
            } else {
                expected.min(TRUST_MAX.max(2 * length))
            };
            held.resize(room)?;
            all.reserve(room - all.len());
        }
        if let Some(before) = first.take() {
            all.extend_from_slice(&before);
        }
        all.extend_from_slice(&chunk);
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}

/// The refusal of a body of which `seen` bytes were read, once the client has had the time to send the
/// rest.
pub(crate) async fn too_large(body: ClientBody, seen: usize) -> Failure {
    discard(body, seen).await;
    Failure::too_large()
}

/// Reads a body on and throws it away, within limits of bytes and time.
pub(crate) async fn discard(mut body: ClientBody, mut seen: usize) {
    let discard = async {
        while let Some(Ok(frame)) = body.frame().await {
            seen += frame.data_ref().map_or(0, Bytes::len);
            if seen > DISCARD_MAX {
                break;
            }
        }
    };
    // Whatever came of it, the answer is the same.
    let _ = timeout(DISCARD_TIME, discard).await;
}
