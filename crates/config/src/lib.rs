//! The configuration of all daemons: one table of options, and everything that follows from it.
//!
//! An option is one row in the module `table`: documentation, type, default, variable, flag, YAML key, old
//! names, readers. Parsing, `--help`, the YAML file, `--write-config`, the deployment endpoint, the
//! reference documentation and deprecation warnings are all derived from the rows, so they cannot
//! disagree.
//!
//! It refuses to know what an option does. It opens no socket, reads no file but the configuration
//! file and the files that secrets are kept in, and logs nothing: what there is to say is returned.
//!
//! Invariants:
//! - A flag beats the environment, the environment beats the file, the file beats the default. A
//!   secret's `<VARIABLE>_FILE` ranks as environment, its `--<flag>-file` as flag. Within one source
//!   the new name beats the old one.
//! - Every problem is reported, all at once, with option, source, text and cure. A value is never
//!   replaced silently by its default.
//! - The value of a secret appears in no problem, warning, YAML, JSON or `Debug` output.
//! - The environment is a value; [`Environment::of_process`] is the only place that reads the real one.
//!
//! Start reading at [`load()`]; to add an option, add a row to a file of `table/`.

mod check;
mod cross;
mod describe;
mod docs;
mod environment;
mod flags;
mod groups;
mod help;
mod load;
mod nearest;
mod providers;
mod report;
mod resolve;
mod row;
mod table;
mod unused;
mod value;
mod write;
mod yaml;

pub use describe::{Description, GroupDescription, OptionDescription, describe};
pub use docs::{dotenv, markdown};
pub use environment::Environment;
pub use groups::Group;
pub use help::help;
pub use load::{Loaded, load};
pub use providers::{
    AwsCredentials, BedrockSettings, EnvProvider, ProviderSource, ProviderType, ai_providers,
};
pub use report::{Problem, Report};
pub use resolve::{Origin, ValueSource};
pub use row::{Alias, Daemon, Row};
pub use table::{
    Budgets, Client, Configuration, Database, Gateway, GatewayDaemon, GatewayProxy, GatewaySeed,
    Introspection, Networking, Options, Retention, Security, Sessions, Tls, rows,
};
pub use value::{
    BudgetPeriod, BudgetPolicy, ByteSize, HostPort, MaxIdle, PostgresAuth, SameSite, SpoolFull,
    SpoolSync, TlsClientAuth, TlsVersion, UnpricedPolicy,
};
pub use write::write_config;
