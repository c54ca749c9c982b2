//! What tests are given: a configuration, an environment, a file.

use std::ffi::OsString;

use config::{Daemon, Environment, Loaded, Report, load};

/// Loads coderd's configuration with an access URL, so that no warning is due by itself.
pub(crate) fn coderd(args: &[&str], vars: &[(&str, &str)]) -> Result<Loaded, Report> {
    let base = [("CODER_ACCESS_URL", "https://coder.example.com"), ("HOME", "/home/op")];
    let vars = base.iter().chain(vars).copied();
    run(Daemon::Coderd, args, &Environment::from_pairs(vars))
}

pub(crate) fn run(daemon: Daemon, args: &[&str], env: &Environment) -> Result<Loaded, Report> {
    let args: Vec<OsString> = args.iter().map(OsString::from).collect();
    load(daemon, &args, env)
}

/// A file with the given text; it lives as long as the returned value.
pub(crate) fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("writable");
    file
}

pub(crate) fn path(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().expect("Unicode")
}
