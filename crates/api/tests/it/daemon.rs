//! The server's side of the control protocol, as a gateway daemon sees it.

mod heartbeat;
mod keys;
mod providers;
mod records;
mod resolve;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::time::Instant;

use crate::app::{Session, TestApp};
use crate::gateway_keys::create;

/// Something that presents a gateway key.
#[derive(Clone)]
pub(crate) struct Daemon {
    pub(crate) url: String,
    key: String,
    http: reqwest::Client,
}

impl Daemon {
    pub(crate) fn new(app: &TestApp, key: &str) -> Self {
        Self { url: app.url.clone(), key: key.to_owned(), http: app.http.clone() }
    }

    /// A request to a path of the protocol such as `/resolve`.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{}{path}", self.url, control::PREFIX))
            .bearer_auth(&self.key)
            .header(control::VERSION_HEADER, control::VERSION)
    }
}

/// One with a key of its own.
pub(crate) async fn daemon(app: &TestApp, owner: &Session) -> Daemon {
    let (_, key) = create(owner, "daemon").await;
    Daemon::new(app, &key)
}

/// Status and body of an answer, which names our version whatever it says.
pub(crate) async fn read(response: Response) -> (StatusCode, Value) {
    assert_eq!(response.headers()[control::VERSION_HEADER], control::VERSION);
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Waits until `is_so`.
pub(crate) async fn eventually<F: AsyncFnMut() -> bool>(what: &str, mut is_so: F) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
