//! Prints the role matrix as Markdown, for the generated documentation.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    let text = rbac::matrix().map_err(std::io::Error::other)?;
    std::io::stdout().write_all(text.as_bytes())
}
