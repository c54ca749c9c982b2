use std::fmt::Write as _;
use std::path::Path;

use config::Introspection;
use stdx::SystemClock;
use telemetry::{Guard, InitError, Output, Settings};

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A path of a log cannot be used.
    #[error("{option}: {reason}")]
    Path {
        /// Name of the option that holds it.
        option: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The log itself.
    #[error("start logging")]
    Start(#[source] InitError),
}

/// Starts the log as the options say. Keep the guard until the end of the process.
///
/// # Errors
/// See [`LogError`].
pub fn start_logs(options: &Introspection) -> Result<Guard, LogError> {
    let everything = options.verbose || options.log_filter.iter().any(|pattern| pattern == ".*");
    let mut filter = (if everything { "debug" } else { "info" }).to_owned();
    for name in options.log_filter.iter().filter(|pattern| *pattern != ".*") {
        // Writing to a String cannot fail.
        let _ = write!(filter, ",{name}=debug");
    }
    let settings = Settings {
        human: output(options.log_human.as_deref(), "CODER_LOGGING_HUMAN")?,
        json: output(options.log_json.as_deref(), "CODER_LOGGING_JSON")?,
        filter,
        clock: SystemClock::shared(),
    };
    telemetry::init(settings).map_err(LogError::Start)
}

fn output(path: Option<&Path>, option: &'static str) -> Result<Option<Output>, LogError> {
    let Some(path) = path else {
        return Ok(None);
    };
    let wrong = |reason: String| LogError::Path { option, reason };
    let text = path.to_str().ok_or_else(|| wrong("the path is not valid UTF-8".to_owned()))?;
    text.parse().map(Some).map_err(|error| wrong(format!("{error}")))
}
