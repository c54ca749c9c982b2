//! What a program does before it serves anyone: again, as long as the database is on its way.

use std::error::Error as StdError;
use std::iter;
use std::time::Duration;

use stdx::Backoff;
use tokio::time::Instant;

use crate::Error;

/// How long a database may be away while a program starts.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Runs a step of a program's start, and runs it again while the database is away, for 30 seconds at most.
///
/// A database that is restarted together with its programs drops the connections that it had just let in. The
/// step must do no harm when it is done twice.
///
/// # Errors
/// The step's own: at once if it has another cause than [`Error::Unavailable`], and the last one in the end.
pub async fn outlast<T, E>(mut step: impl AsyncFnMut() -> Result<T, E>) -> Result<T, E>
where
    E: StdError + 'static,
{
    let deadline = Instant::now() + DEADLINE;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
    loop {
        match step().await {
            Err(error) if is_away(&error) && Instant::now() < deadline => {
                tracing::warn!(error = %stdx::chain(&error), "the database went away, trying again");
            }
            outcome => return outcome,
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// Whether an error was caused by a database that could not be reached, or not any more.
fn is_away(error: &(dyn StdError + 'static)) -> bool {
    iter::successors(Some(error), |error| (*error).source())
        .any(|error| matches!(error.downcast_ref(), Some(Error::Unavailable(_))))
}
