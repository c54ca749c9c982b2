use config::{GatewayDaemon, SpoolFull, SpoolSync};
use ledger::{FullPolicy, LedgerSettings, SyncPolicy};
use stdx::{SharedClock, SharedRng};

/// The options that [`spool`] reads, as fields of the option table.
pub const SPOOL_OPTIONS: &[&str] = &[
    "gateway_daemon.spool_dir",
    "gateway_daemon.spool_max_bytes",
    "gateway_daemon.spool_sync",
    "gateway_daemon.spool_full",
];

/// There is nowhere to keep a spool.
#[derive(Debug, thiserror::Error)]
#[error("neither STATE_DIRECTORY nor HOME is set: set CODER_AI_GATEWAY_SPOOL_DIR")]
pub struct NoSpoolDir;

/// The spool as the options say.
///
/// # Errors
/// No directory is given, and none follows from the environment.
pub fn spool(
    options: &GatewayDaemon,
    clock: SharedClock,
    rng: SharedRng,
) -> Result<LedgerSettings, NoSpoolDir> {
    Ok(LedgerSettings {
        dir: options.spool_dir.clone().ok_or(NoSpoolDir)?,
        max_bytes: options.spool_max_bytes.0,
        sync: match options.spool_sync {
            SpoolSync::Strict => SyncPolicy::Strict,
            SpoolSync::Os => SyncPolicy::Os,
        },
        full: match options.spool_full {
            SpoolFull::Refuse => FullPolicy::Refuse,
            SpoolFull::Pass => FullPolicy::Pass,
        },
        clock,
        rng,
    })
}
