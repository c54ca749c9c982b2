//! The subscriber of the process.

mod fields;
mod line;
mod output;
mod sink;

use std::io;

use stdx::SharedClock;
use tracing::Subscriber;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;

use self::line::{Format, Lines};
pub use self::output::Output;
use self::sink::{Sink, Writer};

/// What to log, and where to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where lines for people go, if anywhere.
    pub human: Option<Output>,
    /// Where JSON lines go, if anywhere.
    pub json: Option<Output>,
    /// Levels by target, say `info,httpmw=debug` (the directives of `tracing-subscriber`).
    pub filter: String,
    /// Tells the time of each line.
    pub clock: SharedClock,
}

impl Settings {
    /// Lines for people at level info on the standard error.
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        Self { human: Some(Output::Stderr), json: None, filter: "info".to_owned(), clock }
    }
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// A log file cannot be opened for appending.
    #[error("cannot open the log file {path}")]
    Open {
        /// The file.
        path: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The thread that writes a log cannot be started.
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] io::Error),
    /// The filter is not understood.
    #[error("the log filter {filter:?} is not a list of levels such as \"info,store=debug\"")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// There is a subscriber already; it stays.
    #[error("logging was started before, the first settings stay in force")]
    AlreadyStarted,
}

/// Keeps the log outputs alive. When it is dropped, what is queued is written; later lines are lost.
#[derive(Debug)]
#[must_use = "lines are lost once this is dropped"]
pub struct Guard {
    _writers: Vec<Writer>,
}

/// Installs the subscriber of the process. Call it once, first of all; keep the guard until the end.
///
/// # Errors
/// See [`InitError`]. After an error the process goes on as before; nothing panics.
pub fn init(settings: Settings) -> Result<Guard, InitError> {
    let (subscriber, guard) = build(settings)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| InitError::AlreadyStarted)?;
    Ok(guard)
}

fn build(settings: Settings) -> Result<(impl Subscriber + Send + Sync, Guard), InitError> {
    let Settings { human, json, filter, clock } = settings;
    let filter = EnvFilter::builder()
        .parse(&filter)
        .map_err(|source| InitError::Filter { filter, source })?;
    let mut writers = Vec::new();
    let mut layer = |output: Option<Output>, format: Format| -> Result<_, InitError> {
        let Some(output) = output else { return Ok(None) };
        let (sink, writer) = Sink::start(output.open()?, format).map_err(InitError::Thread)?;
        writers.push(writer);
        Ok(Some(Lines::new(sink, format, clock.clone())))
    };
    let colour = human.as_ref().is_some_and(Output::is_terminal);
    let human = layer(human, Format::Human { colour })?;
    let json = layer(json, Format::Json)?;
    let subscriber = tracing_subscriber::registry().with(filter).with(human).with(json);
    Ok((subscriber, Guard { _writers: writers }))
}

#[cfg(test)]
mod tests;
