//! The gateway as a program: where it listens, who it is, where it keeps what is not yet recorded.

use std::path::PathBuf;
use std::time::Duration;

use stdx::Secret;
use url::Url;

use super::{GATEWAYS, options};
use crate::check;
use crate::groups::AI_GATEWAY;
use crate::row::Daemon;
use crate::value::{ByteSize, HostPort, SpoolFull, SpoolSync};

/// The daemons that ask coderd.
const SATELLITES: &[Daemon] = &[Daemon::Aibridged, Daemon::Aibridgeproxyd];

options! {
    /// The gateway as a program.
    GatewayDaemon at "gateway_daemon" {
        /// URL of coderd, which aibridged and aibridgeproxyd ask for providers and identities.
        coderd_url: Option<Url> = "" {
            name: "Coder URL", env: "CODER_URL", flag: "url", check: Some(check::base_url),
            daemons: SATELLITES,
        },
        /// Authorities in PEM that may vouch for coderd, besides those that this machine trusts.
        coderd_ca_file: Option<PathBuf> = "" {
            name: "Coder URL CA File", env: "CODER_URL_CA_FILE", flag: "url-ca-file",
            daemons: SATELLITES,
        },
        /// The key (`cgw_...`) by which a gateway daemon proves to coderd who it is.
        ///
        /// An owner makes it by `POST /api/v2/ai-gateway/keys`. When it is deleted, aibridged ends.
        key: Option<Secret<String>> = "" {
            name: "AI Gateway Key", env: "CODER_AI_GATEWAY_KEY", flag: "ai-gateway-key",
            group: &AI_GATEWAY, daemons: SATELLITES,
        },
        /// The address on which aibridged serves.
        listen_addr: HostPort = "127.0.0.1:4001" {
            name: "AI Gateway Listen Address", env: "CODER_AI_GATEWAY_LISTEN_ADDR",
            flag: "ai-gateway-listen-addr", yaml: "listen_addr", group: &AI_GATEWAY,
            daemons: &[Daemon::Aibridged],
        },
        /// Threads that serve AI requests. A connection stays on the thread that it is given to.
        ///
        /// 0 means one per processor.
        threads: u32 = "0" {
            name: "AI Gateway Threads", env: "CODER_AI_GATEWAY_THREADS",
            flag: "ai-gateway-threads", yaml: "threads", group: &AI_GATEWAY,
            daemons: &[Daemon::Aibridged], range: Some((0, 1_024)),
        },
        /// How long identities that coderd has confirmed are served while it cannot be reached, counted from
        /// the last confirmation. 0 serves none.
        ///
        /// Who is revoked meanwhile is served until coderd is back or this time is over; an expired token is
        /// never accepted. Answers that have begun are finished in any case.
        identity_grace: Duration = "1h" {
            name: "AI Gateway Identity Grace", env: "CODER_AI_GATEWAY_IDENTITY_GRACE",
            flag: "ai-gateway-identity-grace", yaml: "identity_grace", group: &AI_GATEWAY,
            daemons: &[Daemon::Aibridged], range: Some((0, 7 * 86_400_000_000_000)),
        },
        /// Directory for records of AI requests that coderd has not yet acknowledged.
        ///
        /// One process, one directory: it must be on a disk that survives restarts.
        spool_dir: Option<PathBuf> = "" {
            name: "AI Gateway Spool Directory", env: "CODER_AI_GATEWAY_SPOOL_DIR",
            flag: "ai-gateway-spool-dir", yaml: "spool_dir", group: &AI_GATEWAY,
            computed: Some(super::database::spool_dir), daemons: GATEWAYS,
            default_note: "coder/spool and the daemon's name, in the user's state directory",
        },
        /// Most bytes that the spool may take on disk.
        spool_max_bytes: ByteSize = "1GiB" {
            name: "AI Gateway Spool Max Bytes", env: "CODER_AI_GATEWAY_SPOOL_MAX_BYTES",
            flag: "ai-gateway-spool-max-bytes", yaml: "spool_max_bytes", group: &AI_GATEWAY,
            daemons: GATEWAYS, range: Some((1 << 20, 1 << 50)),
        },
        /// Whether a record is synced to the disk before an answer is released (`strict`), or
        /// handed to the operating system (`os`), which is faster and does not survive loss of power.
        spool_sync: SpoolSync = "strict" {
            name: "AI Gateway Spool Sync", env: "CODER_AI_GATEWAY_SPOOL_SYNC",
            flag: "ai-gateway-spool-sync", yaml: "spool_sync", group: &AI_GATEWAY,
            daemons: GATEWAYS,
        },
        /// What happens to AI requests while the spool is full: `refuse` them, or let them `pass`
        /// unrecorded and count them.
        spool_full: SpoolFull = "refuse" {
            name: "AI Gateway Spool Full", env: "CODER_AI_GATEWAY_SPOOL_FULL",
            flag: "ai-gateway-spool-full", yaml: "spool_full", group: &AI_GATEWAY,
            daemons: GATEWAYS,
        },
    }
}
