//! Prints the documentation that follows from the option table: `config-docs markdown|dotenv`.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let format = std::env::args().nth(1);
    let text = match format.as_deref() {
        Some("markdown") => config::markdown(),
        Some("dotenv") => config::dotenv(),
        _ => return fail("usage: config-docs markdown|dotenv"),
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => fail(&format!("cannot write the text: {err}")),
    }
}

fn fail(text: &str) -> ExitCode {
    // Nothing is left to do if standard error is closed too.
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::FAILURE
}
