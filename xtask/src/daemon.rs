//! aibridged beside coderd: its key and its options.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::control::Control;
use crate::tree::write;
use crate::up::random_word;

/// What every aibridged of this tool is told.
pub(crate) struct Daemon<'a> {
    /// URL of coderd.
    pub(crate) coderd: &'a str,
    /// Holds its key.
    pub(crate) key_file: &'a Path,
    /// Where it listens.
    pub(crate) address: &'a str,
    /// Directory of its own for records.
    pub(crate) spool: &'a Path,
}

impl Daemon<'_> {
    /// Puts the options into the command's environment.
    pub(crate) fn configure(&self, command: &mut Command) {
        command
            .env("CODER_URL", self.coderd)
            .env("CODER_AI_GATEWAY_KEY_FILE", self.key_file)
            .env("CODER_AI_GATEWAY_LISTEN_ADDR", self.address)
            .env("CODER_AI_GATEWAY_SPOOL_DIR", self.spool);
    }
}

/// Makes sure that a file, readable for us alone, holds a key that coderd accepts. A new one gets a name that
/// begins with `name`, in lower case.
pub(crate) fn ensure_key(control: &Control, file: &Path, name: &str) -> Result<()> {
    match fs::read_to_string(file) {
        Ok(key) if control.accepts_gateway_key(key.trim())? => return Ok(()),
        Ok(_) => println!("coderd refuses the key in {}: making a new one", file.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", file.display()));
        }
    }
    // The name of a refused key may still be taken.
    let name = format!("{name}-{}", random_word(6)?.to_lowercase());
    write(file, &format!("{}\n", control.make_gateway_key(&name)?), 0o600)
}
