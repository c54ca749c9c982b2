//! Interceptions whose end never came: of a gateway that died with its disk.

use std::time::Duration;

use rbac::system;
use store::interceptions::SweepOpen;
use store::locks::{Lock, TryAcquire};
use store::{Call, Error, TxOptions};

use super::records::StoreSink;

/// An interception without an end that began longer ago is over. No request takes so long, and what a gateway
/// has on disk arrives earlier, or still counts when it arrives later.
pub const OPEN_MAX: Duration = Duration::from_hours(24);
/// Rows of one transaction, and transactions of one round.
const ROWS: i64 = 500;
const TRANSACTIONS: usize = 40;

impl StoreSink {
    /// Closes interceptions that have been open for longer than [`OPEN_MAX`], oldest first, at most 20,000.
    /// Returns how many; none while another replica does so.
    ///
    /// # Errors
    /// What the store returns.
    pub async fn sweep(&self) -> Result<usize, Error> {
        let parts = self.parts();
        let started_before = parts.clock.now() - OPEN_MAX;
        let mut swept = 0;
        for _ in 0..TRANSACTIONS {
            let options = TxOptions::write("sweep_interceptions");
            let closed = parts
                .store
                .tx(Call::by(system::gateway()), options, async |tx| {
                    if !tx.run(TryAcquire(Lock::Sweep)).await? {
                        return Ok::<_, Error>(0);
                    }
                    tx.run(SweepOpen { started_before, limit: ROWS }).await
                })
                .await?;
            parts.metrics.swept.inc_by((), closed as u64);
            swept += closed;
            if i64::try_from(closed).unwrap_or(i64::MAX) < ROWS {
                break;
            }
        }
        if swept > 0 {
            tracing::warn!(count = swept, "closed interceptions whose end never came");
        }
        Ok(swept)
    }
}
