//! The built-in PostgreSQL server, used when no other is configured.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use config::{Environment, Options};
use pgcluster::{Cluster, Settings};
use stdx::{Lifecycle, Secret};
use tokio::signal::unix::{SignalKind, signal};

use crate::progress::Spinner;

/// A clean shutdown writes out what is in memory.
const STOP_DEADLINE: Duration = Duration::from_mins(1);

/// Address of the configured database, or of the built-in one, which is then started.
pub(crate) async fn open(
    options: &Options,
    environment: &Environment,
    lifecycle: &Lifecycle,
) -> Result<Secret<String>> {
    if let Some(url) = &options.database.url {
        return Ok(url.clone());
    }
    let cluster = Arc::new(start(options, environment).await?);
    let url = cluster.url();
    lifecycle.on_stop("postgres", STOP_DEADLINE, move || async move { cluster.stop().await });
    Ok(url)
}

/// The built-in database for a command: the running one of a server, or else one that is started and handed out, to
/// be stopped afterwards.
pub(crate) async fn of_its_own(
    options: &Options,
    environment: &Environment,
) -> Result<(Secret<String>, Option<Cluster>)> {
    if let Ok(connection) = Cluster::connection_of(settings(options, environment)?).await {
        let url = connection.url();
        if store::answers(&url).await {
            return Ok((url, None));
        }
    }
    let cluster = start(options, environment).await?;
    Ok((cluster.url(), Some(cluster)))
}

async fn start(options: &Options, environment: &Environment) -> Result<Cluster> {
    let mut settings = settings(options, environment)?;
    settings.progress = Spinner::shared();
    Cluster::start(settings).await.map_err(|error| anyhow!("{}", stdx::chain(&error)))
}

fn settings(options: &Options, environment: &Environment) -> Result<Settings> {
    let home = environment.get("HOME").map(PathBuf::from);
    let state_home = environment.get("XDG_STATE_HOME").map(PathBuf::from);
    let data_dir = options.database.data_dir.clone().unwrap_or_else(|| {
        pgcluster::default_data_dir(home.as_deref(), state_home.as_deref(), pgcluster::is_root())
    });
    let cache_dir = options
        .database
        .cache_dir
        .clone()
        .context("CODER_CACHE_DIRECTORY cannot be derived without a home directory: set it")?;
    Ok(Settings::new(data_dir, cache_dir))
}

/// `coderd server postgres-builtin-url`
pub(crate) async fn print_url(
    options: &Options,
    environment: &Environment,
    raw: bool,
) -> Result<()> {
    let connection = Cluster::connection_of(settings(options, environment)?)
        .await
        .map_err(|error| anyhow!("{}", stdx::chain(&error)))?;
    print(&connection.url(), &connection.psql_line(), raw);
    Ok(())
}

/// `coderd server postgres-builtin-serve`
pub(crate) async fn serve(options: &Options, environment: &Environment, raw: bool) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for signals")?;
    let cluster = start(options, environment).await?;
    print(&cluster.url(), &cluster.psql_line(), raw);
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    cluster.stop().await;
    Ok(())
}

/// Showing the password is what these commands are for.
fn print(url: &Secret<String>, psql_line: &Secret<String>, raw: bool) {
    println!("{}", if raw { url.expose() } else { psql_line.expose() });
}
