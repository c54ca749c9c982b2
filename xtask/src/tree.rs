//! Where things lie in the checkout, and how cargo is run in it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::Message;

/// The checkout.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
}

impl Tree {
    /// The checkout that this tool was built in.
    pub(crate) fn find() -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.parent().context("the tool lies in no checkout")?;
        if !root.join("Cargo.toml").is_file() {
            bail!("{} is no checkout any more; build the tool anew", root.display());
        }
        Ok(Self { root: root.to_path_buf() })
    }

    /// A path in the checkout.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// The text of a file of the checkout.
    pub(crate) fn read(&self, relative: impl AsRef<Path>) -> Result<String> {
        let path = self.path(relative);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Where cargo puts what it builds.
    pub(crate) fn target(&self) -> PathBuf {
        match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => self.root.join(dir),
            None => self.root.join("target"),
        }
    }

    /// A command that runs in the root of the checkout.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// The cargo that runs this tool.
    ///
    /// Without what the cargo that runs this tool told it about the tool's own package: build scripts that
    /// look at such variables, ring's for one, would run again, and all that depends on them would be
    /// built anew, each time that cargo is run now from here and now by hand.
    pub(crate) fn cargo(&self) -> Command {
        let mut command =
            self.command(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
        for (name, _) in env::vars_os() {
            if of_a_package(&name.to_string_lossy()) {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs cargo with everything it prints shown.
    pub(crate) fn cargo_status(&self, args: impl IntoIterator<Item = OsString>) -> Result<()> {
        let mut command = self.cargo();
        command.args(args);
        status(&mut command)
    }

    /// Builds binaries and returns where they lie, in the order in which they were asked for.
    pub(crate) fn build(&self, bins: &[(&str, &str)], release: bool) -> Result<Vec<PathBuf>> {
        let mut command = self.cargo();
        command.args(["build", "--message-format", "json-render-diagnostics"]);
        if release {
            command.arg("--release");
        }
        // Of the whole workspace, so that dependencies are built with the features that tests use, too, and
        // not a second time.
        command.arg("--workspace");
        for (_, bin) in bins {
            command.args(["--bin", bin]);
        }
        let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
        if !output.status.success() {
            bail!("cargo build failed");
        }
        let mut built = vec![None; bins.len()];
        for message in Message::parse_stream(output.stdout.as_slice()) {
            let Ok(Message::CompilerArtifact(artifact)) = message else {
                continue;
            };
            let Some(file) = artifact.executable else {
                continue;
            };
            for (slot, (_, bin)) in built.iter_mut().zip(bins) {
                if artifact.target.name == *bin {
                    *slot = Some(PathBuf::from(&file));
                }
            }
        }
        let whole: Option<Vec<PathBuf>> = built.into_iter().collect();
        whole.context("cargo built no executable of that name")
    }
}

/// Whether cargo sets this variable to tell a program about its own package.
fn of_a_package(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|begin| name.starts_with(begin))
        || ["CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"]
            .contains(&name)
}

/// Runs a command to its end with everything it prints shown.
pub(crate) fn status(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("cannot run `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Runs a command and returns what it printed. What it said of errors is in the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{shown}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed ({})\n{}", output.status, said.trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed no UTF-8"))
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Puts a text in place of a file in one step, so that nobody ever reads half of it.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let parent = path.parent().context("no directory")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let mut name = path.file_name().context("no file name")?.to_os_string();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = parent.join(name);
    let attempt = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    attempt().with_context(|| format!("cannot write {}", path.display()))
}
