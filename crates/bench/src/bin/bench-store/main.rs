//! What the store costs, on a PostgreSQL server of its own: lists of tables with many rows, a point query through the
//! whole stack against the same in diesel alone, records, and the rotation of a key.
//!
//! Progress goes to standard error, the table with the bars to standard output.

mod audited;
mod fill;
mod ingest;
mod lists;
mod point;
mod rotation;
mod table;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use crypt::Keyring;
use pgcluster::{Cluster, Settings};
use stdx::{Secret, SystemClock, SystemRng};
use store::{ConnectOptions, Full};
use telemetry::Registry;

use self::table::Table;

/// Measures.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench-store")]
struct Args {
    /// An empty directory for the server's data. On a disk, or what is measured is no disk.
    #[arg(long)]
    dir: PathBuf,
    /// Rows of the audit log, and of the interceptions.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(10_000..))]
    rows: u32,
    /// How often each is measured.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(5..))]
    rounds: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let settings = Settings {
        download: false,
        ..Settings::new(args.dir.join("postgres"), args.dir.join("cache"))
    };
    let cluster = Cluster::start(settings).await.context("cannot start PostgreSQL")?;
    let outcome = measure(&args, &cluster.url()).await;
    cluster.stop().await;
    print!("{}", outcome?.into_markdown());
    Ok(())
}

async fn measure(args: &Args, url: &Secret<String>) -> Result<Table> {
    let store = connect(url).await?;
    let mut table = Table::default();
    // While the tables are small, as in a deployment that is a month old.
    point::measure(&store, url, args.rounds, &mut table).await?;
    ingest::measure(&store, &mut table).await?;
    rotation::measure(url, &mut table).await?;
    fill::fill(url, args.rows).await?;
    lists::measure(&store, args, &mut table).await?;
    audited::measure(&store, &mut table).await?;
    Ok(table)
}

async fn connect(url: &Secret<String>) -> Result<Full> {
    let options = ConnectOptions {
        url: url.clone(),
        connections_max: 10,
        keyring: Keyring::empty(),
        rng: SystemRng::shared(),
        clock: SystemClock::shared(),
    };
    let mut registry = Registry::default();
    Full::connect(options, &mut registry).await.context("cannot connect")
}
