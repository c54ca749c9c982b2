//! Installs the real clients and runs them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::served::{Tokens, Tool};
use crate::tree::{Tree, output, status, write};

/// The clients on disk.
pub(super) struct Clients {
    python: PathBuf,
    script: PathBuf,
    claude: PathBuf,
}

/// Where the clients are pointed.
pub(super) struct Target {
    /// The base URL for Anthropic's clients.
    pub(super) anthropic: String,
    /// The base URL for OpenAI's clients.
    pub(super) openai: String,
    pub(super) token: String,
    /// For homes and files of the clients.
    pub(super) dir: PathBuf,
}

/// What a client saw of one exchange.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Seen {
    pub(super) case: String,
    /// `anthropic` or `openai`.
    pub(super) provider: String,
    pub(super) client: String,
    pub(super) model: Option<String>,
    /// What was asked; absent when the last turn was a tool's result.
    pub(super) prompt: Option<String>,
    /// The answer's id, if the client tells it.
    pub(super) id: Option<String>,
    pub(super) tokens: Option<Tokens>,
    pub(super) tools: Option<Vec<Tool>>,
    pub(super) text: Option<String>,
}

impl Clients {
    /// Installs what is not yet installed in the versions that the tree pins.
    pub(super) fn install(tree: &Tree) -> Result<Self> {
        let home = tree.target().join("e2e");
        let venv = home.join("python");
        let python = venv.join("bin/python");
        let pinned = tree.read("xtask/e2e/requirements.txt")?;
        once(&venv.join("installed"), &pinned, || {
            println!("installing Python clients");
            status(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
            let list = tree.path("xtask/e2e/requirements.txt");
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r"]).arg(list);
            status(&mut pip)
        })?;
        let node = home.join("node");
        let (package, lock) =
            (tree.read("xtask/e2e/package.json")?, tree.read("xtask/e2e/package-lock.json")?);
        once(&node.join("installed"), &lock, || {
            println!("installing Claude Code");
            write(&node.join("package.json"), &package, 0o644)?;
            write(&node.join("package-lock.json"), &lock, 0o644)?;
            // Scripts of packages are not needed: the program for this platform is a package itself.
            let mut npm = Command::new("npm");
            npm.current_dir(&node).args([
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--no-update-notifier",
                "--loglevel=error",
            ]);
            status(&mut npm)
        })?;
        Ok(Self { claude: claude(&node)?, python, script: tree.path("xtask/e2e/clients.py") })
    }

    /// Runs all clients, and returns what they saw.
    pub(super) fn run(&self, target: &Target) -> Result<Vec<Seen>> {
        let mut sdks = Command::new(&self.python);
        sdks.arg(&self.script)
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("HOME", &target.dir)
            .env("ANTHROPIC_BASE", &target.anthropic)
            .env("OPENAI_BASE", &target.openai)
            .env("TOKEN", &target.token);
        let mut seen = Vec::new();
        for line in output(&mut sdks)?.lines() {
            seen.push(
                serde_json::from_str(line).with_context(|| format!("clients.py said: {line}"))?,
            );
        }
        if seen.is_empty() {
            bail!("clients.py reported no exchange");
        }
        seen.extend(self.claude_code(target)?);
        Ok(seen)
    }

    /// Claude Code in print mode: a plain question, and a tool that it runs itself.
    fn claude_code(&self, target: &Target) -> Result<Vec<Seen>> {
        let project = target.dir.join("project");
        let note = project.join("note.txt");
        write(&note, "the answer is forty-two\n", 0o644)?;
        let plain = "Say something about cache:9/4";
        let reading = format!("use-tool:Read {}", json!({"file_path": note}));
        let mut seen = Vec::new();
        for prompt in [plain, reading.as_str()] {
            let mut claude = Command::new(&self.claude);
            claude
                .args(["-p", prompt, "--output-format", "json"])
                .current_dir(&project)
                .env_clear()
                .env("PATH", env::var_os("PATH").unwrap_or_default())
                .env("HOME", &target.dir)
                .env("CLAUDE_CONFIG_DIR", target.dir.join("claude"))
                .env("ANTHROPIC_BASE_URL", &target.anthropic)
                .env("ANTHROPIC_AUTH_TOKEN", &target.token)
                .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
                .env("DISABLE_AUTOUPDATER", "1")
                .env("DISABLE_TELEMETRY", "1")
                .env("DISABLE_ERROR_REPORTING", "1");
            let said = output(&mut claude).context("Claude Code")?;
            let result: Value =
                serde_json::from_str(&said).with_context(|| format!("Claude Code said: {said}"))?;
            if result.get("is_error") != Some(&Value::Bool(false)) {
                bail!("Claude Code failed: {said}");
            }
            let text = result.get("result").and_then(Value::as_str).unwrap_or_default().to_owned();
            let wanted = if prompt == plain { "Say something" } else { "forty-two" };
            if !text.contains(wanted) {
                bail!("Claude Code's answer lacks `{wanted}`: {text}");
            }
            seen.push(Seen {
                case: if prompt == plain { "claude -p" } else { "claude -p, reading a file" }
                    .to_owned(),
                provider: "anthropic".to_owned(),
                client: "Claude Code".to_owned(),
                model: None,
                prompt: Some(prompt.to_owned()),
                id: None,
                tokens: None,
                tools: None,
                text: (prompt == plain).then_some(text),
            });
        }
        Ok(seen)
    }
}

/// Does `work` unless it was done for the same `text` before.
fn once(stamp: &Path, text: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    if fs::read_to_string(stamp).is_ok_and(|have| have == text) {
        return Ok(());
    }
    work()?;
    write(stamp, text, 0o644)
}

/// The program for this platform, which its package brings ready to run.
fn claude(node: &Path) -> Result<PathBuf> {
    let system = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let scope = node.join("node_modules/@anthropic-ai");
    let names =
        [format!("claude-code-{system}-{machine}"), format!("claude-code-{system}-{machine}-musl")];
    names
        .iter()
        .map(|name| scope.join(name).join("claude"))
        .find(|program| output(Command::new(program).arg("--version")).is_ok())
        .context("npm installed no Claude Code that runs on this machine")
}
