//! Running the programs of PostgreSQL: as the right user, with nothing of ours in their environment.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::Error;
use crate::account::Account;

/// The most that is kept of what a program wrote.
const OUTPUT_MAX: usize = 4 * 1024;

/// Turns a built command into one that runs as `account`.
///
/// The environment is emptied because ours may hold secrets, and `PGDATA` and its like would override
/// what we say. The own process group keeps a Ctrl-C in the terminal from the server, which must outlive
/// the requests that are still being answered.
pub(crate) fn as_account(command: std::process::Command, account: &Account) -> Command {
    let mut command = Command::from(command);
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null()).process_group(0);
    if account.drop_root {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

/// Runs a program to its end and returns what it wrote. It is killed at the limit, and when the caller
/// loses interest.
pub(crate) async fn run(
    program: &'static str,
    mut command: Command,
    input: Option<&[u8]>,
    limit: Duration,
) -> Result<Output, Error> {
    let at = Path::new(command.as_std().get_program()).to_path_buf();
    command
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(Error::io("run", &at))?;
    let work = async {
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            // A program that ended early says why on its standard error; a broken pipe adds nothing.
            let _ = stdin.write_all(input).await;
        }
        child.wait_with_output().await
    };
    let output = match tokio::time::timeout(limit, work).await {
        Ok(output) => output.map_err(Error::io("wait for", &at))?,
        Err(_) => {
            return Err(Error::Program {
                program,
                status: format!("not done after {} s", limit.as_secs()),
                output: String::new(),
            });
        }
    };
    if output.status.success() {
        return Ok(output);
    }
    let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.trim().is_empty() {
        said = String::from_utf8_lossy(&output.stdout).into_owned();
    }
    Err(Error::Program {
        program,
        status: output.status.to_string(),
        output: tail(&said).to_owned(),
    })
}

/// The end of a text, cut at a character.
fn tail(text: &str) -> &str {
    let text = text.trim();
    let mut from = text.len().saturating_sub(OUTPUT_MAX);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text.get(from..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us() -> Account {
        Account::choose(None).unwrap()
    }

    #[tokio::test]
    async fn children_see_nothing_of_our_environment() {
        let output = run(
            "env",
            as_account(std::process::Command::new("env"), &us()),
            None,
            Duration::from_secs(5),
        )
        .await
        .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut names: Vec<&str> = text.lines().filter_map(|l| l.split('=').next()).collect();
        names.sort_unstable();
        assert_eq!(names, ["LC_ALL", "PATH"]);
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended() {
        let mut cat = std::process::Command::new("tail");
        cat.args(["-f", "/dev/null"]);
        let error =
            run("tail", as_account(cat, &us()), None, Duration::from_millis(50)).await.unwrap_err();
        assert!(error.to_string().contains("not done after"), "{error}");
    }

    #[test]
    fn the_end_of_a_long_text_is_kept() {
        let long = format!("start{}end", "é".repeat(OUTPUT_MAX));
        assert!(tail(&long).len() <= OUTPUT_MAX && tail(&long).ends_with("end"));
        assert_eq!(tail(" short\n"), "short");
    }
}
