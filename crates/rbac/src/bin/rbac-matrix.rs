//! Prints the role matrix as Markdown, for the generated documentation.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(rbac::matrix().as_bytes())
}
