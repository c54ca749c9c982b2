//! Tells a person what the database is doing while they wait.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use pgcluster::{Phase, Progress};

/// A spinner on a terminal, a line per phase elsewhere.
#[derive(Debug)]
pub(crate) struct Spinner(Option<ProgressBar>);

impl Spinner {
    pub(crate) fn shared() -> Arc<Self> {
        if !std::io::stderr().is_terminal() {
            return Arc::new(Self(None));
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Arc::new(Self(Some(bar)))
    }
}

impl Progress for Spinner {
    fn phase(&self, phase: Phase) {
        let text = match phase {
            Phase::Locating => "looking for a PostgreSQL server".to_owned(),
            Phase::Downloading { elapsed } => {
                format!("downloading PostgreSQL ({} s)", elapsed.as_secs())
            }
            Phase::Initialising => "initialising the PostgreSQL data directory".to_owned(),
            Phase::StoppingOrphan => "stopping the PostgreSQL server of an earlier run".to_owned(),
            Phase::Starting => "starting PostgreSQL".to_owned(),
            Phase::Recovering => "PostgreSQL recovers after a crash".to_owned(),
            Phase::Ready => "PostgreSQL is ready".to_owned(),
            _ => return,
        };
        match &self.0 {
            Some(bar) if matches!(phase, Phase::Ready) => bar.finish_and_clear(),
            Some(bar) => bar.set_message(text),
            // Once per second of a download would be too much for a log.
            None if matches!(phase, Phase::Downloading { elapsed } if elapsed.as_secs() % 10 != 0) =>
                {}
            None => tracing::info!("{text}"),
        }
    }
}
