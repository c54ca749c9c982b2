//! The option table. One file per part; a row is written once and everything else follows.
//!
//! ```text
//! /// What it is for, in one sentence.
//! ///
//! /// Details that a person needs to choose a value.
//! field: Type = "default" { name: "Display Name", env: "CODER_X", flag: "x", yaml: "x", group: &groups::HTTP },
//! ```
//!
//! The keys in braces are the fields of [`Row`]; those left out keep what [`Row::BASE`] says.

mod client;
mod database;
mod gateway;
mod gateway_daemon;
mod gateway_seed;
mod introspection;
mod networking;
mod proxy;
mod retention;
mod security;
mod sessions;
mod tls;

use crate::describe::Shown;
use crate::resolve::Resolution;
use crate::row::{Daemon, Row};

pub use client::{Client, Configuration};
pub use database::Database;
pub use gateway::{Budgets, Gateway};
pub use gateway_daemon::GatewayDaemon;
pub use gateway_seed::GatewaySeed;
pub use introspection::Introspection;
pub use networking::Networking;
pub use proxy::GatewayProxy;
pub use retention::Retention;
pub use security::Security;
pub use sessions::Sessions;
pub use tls::Tls;

/// Every daemon.
const ALL: &[Daemon] = &[Daemon::Coderd, Daemon::Aibridged, Daemon::Aibridgeproxyd];
/// Whoever serves AI requests: coderd in process, aibridged on its own.
const GATEWAYS: &[Daemon] = &[Daemon::Coderd, Daemon::Aibridged];

/// Declares one part of the table: its struct of typed values and its rows.
macro_rules! options {
    (
        $(#[$attr:meta])+
        $Section:ident at $path:literal {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $ty:ty = $default:literal { $($key:ident: $val:expr),+ $(,)? },
            )+
        }
    ) => {
        $(#[$attr])+
        #[derive(Debug, Clone)]
        pub struct $Section { $( $(#[doc = $doc])+ pub $field: $ty, )+ }

        impl $Section {
            pub(crate) const ROWS: &'static [$crate::row::Row] = &[ $(
                $crate::row::Row {
                    field: concat!($path, ".", stringify!($field)),
                    doc: concat!($($doc, "\n"),+),
                    default: $default,
                    $($key: $val,)+
                    ..$crate::row::Row::of::<$ty>()
                },
            )+ ];

            pub(crate) fn build(values: &$crate::resolve::Resolution) -> Option<Self> {
                $( let $field = values.take::<$ty>(concat!($path, ".", stringify!($field))); )+
                Some(Self { $( $field: $field?, )+ })
            }

            pub(crate) fn show(&self, shown: &mut $crate::describe::Shown) {
                $( shown.put(concat!($path, ".", stringify!($field)), &self.$field); )+
            }
        }
    };
}
use options;

/// Puts the parts together.
macro_rules! parts {
    ($( $(#[doc = $doc:literal])+ $field:ident: $Section:ident, )+) => {
        /// All options, typed. Options that a daemon does not read hold their defaults.
        #[derive(Debug, Clone)]
        pub struct Options { $( $(#[doc = $doc])+ pub $field: $Section, )+ }

        const PARTS: &[&[Row]] = &[ $( $Section::ROWS ),+ ];

        impl Options {
            /// `None` only if a default of the table is broken, which a test excludes.
            pub(crate) fn build(values: &Resolution) -> Option<Self> {
                $( let $field = $Section::build(values); )+
                Some(Self { $( $field: $field?, )+ })
            }

            pub(crate) fn show(&self, shown: &mut Shown) {
                $( self.$field.show(shown); )+
            }
        }
    };
}

parts! {
    /// Addresses, proxies in front, cookies.
    networking: Networking,
    /// Serving by TLS.
    tls: Tls,
    /// Sessions and tokens.
    sessions: Sessions,
    /// PostgreSQL, caches, change notices.
    database: Database,
    /// Encryption at rest, experiments and other switches.
    security: Security,
    /// The AI gateway.
    gateway: Gateway,
    /// AI budgets.
    budgets: Budgets,
    /// The gateway as a program: addresses, credentials, spool.
    gateway_daemon: GatewayDaemon,
    /// The variables from which AI providers are seeded once.
    gateway_seed: GatewaySeed,
    /// The AI gateway proxy.
    gateway_proxy: GatewayProxy,
    /// How long records are kept.
    retention: Retention,
    /// Logs, metrics, traces, health.
    introspection: Introspection,
    /// What clients are told.
    client: Client,
    /// Where the configuration itself is.
    configuration: Configuration,
}

/// All rows of the table, in its order.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    PARTS.iter().flat_map(|part| part.iter())
}

/// The row of a field. Fields come from the table itself, so it is there.
pub(crate) fn row(field: &str) -> Option<&'static Row> {
    rows().find(|row| row.field == field)
}

#[cfg(test)]
mod tests;
