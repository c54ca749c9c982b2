use std::path::Path;

use reqwest::{Client, StatusCode};
use serde_json::Value;
use testkit::Program;

/// A running aibridged.
pub(crate) struct Daemon {
    pub(crate) program: Program,
    pub(crate) address: String,
    pub(crate) url: String,
    metrics: String,
}

impl Daemon {
    pub(crate) fn start(
        address: &str,
        metrics: &str,
        settings: &[(&str, &str)],
        log: &Path,
    ) -> Self {
        let path = Path::new(env!("CARGO_BIN_EXE_aibridged"));
        Self {
            program: Program::start(path, &[], settings.iter().copied(), log),
            address: address.to_owned(),
            url: format!("http://{address}"),
            metrics: format!("http://{metrics}/"),
        }
    }

    pub(crate) async fn ready(&mut self, http: &Client) {
        self.readyz(http, "it is ready", |status, _| status == StatusCode::OK).await;
    }

    /// Waits until `/readyz` says something.
    pub(crate) async fn readyz(
        &mut self,
        http: &Client,
        what: &str,
        holds: impl Fn(StatusCode, &Value) -> bool,
    ) {
        let url = format!("{}/readyz", self.url);
        let says = async || {
            let Ok(answer) = http.get(&url).send().await else { return false };
            let status = answer.status();
            holds(status, &answer.json().await.unwrap())
        };
        self.program.until(what, says).await;
    }

    /// Waits until coderd has all its records.
    pub(crate) async fn shipped(&mut self, http: &Client) {
        let none = |_, ready: &Value| {
            let spool = &ready["checks"][2];
            assert_eq!(spool["name"], "spool");
            spool["detail"].as_str().unwrap().contains("; 0 facts (0 bytes) wait")
        };
        self.readyz(http, "nothing waits to be shipped", none).await;
    }

    /// Waits until its log has a line with all of these in it.
    pub(crate) async fn logs(&mut self, words: &[&str]) {
        let log = || self.program.log();
        let told = |log: &str| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
        if !told(&log()) {
            let path = self.program.log_path().to_owned();
            let what = format!("it logs {words:?}");
            let says = async || told(&std::fs::read_to_string(&path).unwrap());
            self.program.until(&what, says).await;
        }
    }

    /// Whatever anybody may ask for.
    pub(crate) async fn public(&self, http: &Client) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for url in
            [format!("{}/healthz", self.url), format!("{}/readyz", self.url), self.metrics.clone()]
        {
            let text = http.get(&url).send().await.unwrap().text().await.unwrap();
            all.push((url, text));
        }
        all
    }

    /// The value of a metric that has no labels.
    pub(crate) async fn metric(&self, http: &Client, name: &str) -> Option<f64> {
        let text = http.get(&self.metrics).send().await.unwrap().text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }
}
