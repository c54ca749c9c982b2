//! Our gateway with governance compiled to a relay: one caller who is always known, the passthrough route,
//! no records, no limits. What governance costs is the difference.

use std::sync::Arc;

use aibridge::GatewaySettings;
use aibridge::facts::Fact;
use aibridge::ports::{Durable, RecordError, Recorder};
use anyhow::Result;
use bench::plane::{self, PlaneArgs, Ports};
use clap::Parser;
use stdx::Lifecycle;

/// Our gateway as a plain relay.
#[derive(Debug, Parser)]
#[command(name = "bench-relay")]
struct Args {
    #[command(flatten)]
    plane: PlaneArgs,
}

/// A relay records nothing: an intercepted route would be refused.
struct NoRecords;

impl Recorder for NoRecords {
    fn append(&self, _facts: Vec<Fact>) -> Result<Durable, RecordError> {
        Err(RecordError::Closed)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let settings = GatewaySettings::new(Lifecycle::new());
    let ports = Ports { callers: plane::one_identity(), recorder: Arc::new(NoRecords) };
    plane::run("relay", &args.plane, settings, ports).await
}
