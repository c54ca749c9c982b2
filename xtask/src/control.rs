//! coderd's API, as far as this tool uses it, and the fake provider's start.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::child::{Interrupt, Server, TICK};

/// How long a first start may take: a server may have to be downloaded and initialised.
const START_LIMIT: Duration = Duration::from_mins(5);
/// The life of the token that `up` makes: the longest that owners get by default. Use prolongs it, and one
/// that has ended is replaced at the next start.
const TOKEN_LIFE: Duration = Duration::from_hours(7 * 24);
/// The key that the fake provider demands: proof that the gateway sends its own.
pub(crate) const DEMO_KEY: &str = "demo-provider-key";
/// More than a page of interceptions with long prompts.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// A port on loopback that is free now: `wanted` if possible, else the next one above it.
pub(crate) fn free_port(wanted: u16) -> Result<u16> {
    (wanted..=u16::MAX)
        .take(100)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .with_context(|| format!("no port on 127.0.0.1 is free from {wanted} on"))
}

/// Any port on loopback that is free now.
pub(crate) fn any_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no port on 127.0.0.1 is free")?;
    Ok(listener.local_addr()?.port())
}

/// Starts the fake provider, which demands [`DEMO_KEY`], and returns its URL.
pub(crate) fn start_provider(
    dir: &Path,
    program: &Path,
    args: &[&str],
    interrupt: &Interrupt,
) -> Result<(Server, String)> {
    let ready = dir.join("fake-provider.url");
    // What an earlier run left would be taken for this one's.
    let _ = std::fs::remove_file(&ready);
    let mut command = Command::new(program);
    command.args(["--key", DEMO_KEY]).args(args).arg("--ready-file").arg(&ready);
    let log = dir.join("fake-provider.log");
    let mut server = Server::start("fake-provider", &mut command, &log, Duration::from_secs(5))?;
    let url = server.ready_file(&ready, interrupt)?;
    Ok((server, url))
}

/// The first administrator.
#[derive(Clone, Debug)]
pub(crate) struct Admin<'a> {
    pub(crate) email: &'a str,
    pub(crate) username: &'a str,
    pub(crate) password: &'a str,
}

/// An answer of the API.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The body of an answer with one of the statuses, or what the API said instead.
    pub(crate) fn expect(self, what: &str, statuses: &[u16]) -> Result<Value> {
        if statuses.contains(&self.status) {
            return Ok(self.body);
        }
        let body = &self.body;
        let mut said = body["message"].as_str().unwrap_or("no message").to_owned();
        for field in body["validations"].as_array().into_iter().flatten() {
            let name = field["field"].as_str().unwrap_or("?");
            let detail = field["detail"].as_str().unwrap_or("?");
            said = format!("{said}; {name}: {detail}");
        }
        if let Some(detail) = body["detail"].as_str().filter(|detail| !detail.is_empty()) {
            said = format!("{said} ({detail})");
        }
        bail!("{what}: coderd answered {}: {said}", self.status)
    }
}

/// A coderd on loopback.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    agent: ureq::Agent,
    pub(crate) url: String,
    token: Option<String>,
}

#[derive(Deserialize)]
struct SessionToken {
    session_token: String,
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

impl Control {
    pub(crate) fn new(url: String) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .proxy(None)
            .build()
            .into();
        Self { agent, url, token: None }
    }

    /// The same with a credential.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Answer> {
        let request = self.agent.get(format!("{}{path}", self.url));
        self.settle(path, self.signed(request).call())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        let request = self.agent.post(format!("{}{path}", self.url));
        self.settle(path, self.signed(request).send_json(body))
    }

    /// A `PUT` without a body.
    pub(crate) fn put(&self, path: &str) -> Result<Answer> {
        let request = self.agent.put(format!("{}{path}", self.url));
        self.settle(path, self.signed(request).send_empty())
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Result<Answer> {
        let request = self.agent.patch(format!("{}{path}", self.url));
        self.settle(path, self.signed(request).send_json(body))
    }

    fn signed<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("Coder-Session-Token", token),
            None => request,
        }
    }

    fn settle(
        &self,
        path: &str,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Answer> {
        let lost = || format!("no answer from {}{path}", self.url);
        let mut answer = answer.with_context(lost)?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let text = body.read_to_string().with_context(lost)?;
        // Health checks answer in plain text, some routes with nothing.
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, body })
    }

    /// Waits until the server at this address serves and is ready. `progress` is told what it waits for.
    pub(crate) fn ready(
        &self,
        server: &mut Server,
        interrupt: &Interrupt,
        mut progress: impl FnMut(&str),
    ) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        let mut alive = false;
        loop {
            server.check()?;
            interrupt.check()?;
            if !alive {
                alive = self.get("/healthz").is_ok_and(|answer| answer.status == 200);
            }
            if alive && self.get("/readyz").is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            progress(if alive { "getting ready" } else { "starting" });
            if Instant::now() > deadline {
                bail!("{} was not ready after {START_LIMIT:?}\n{}", server.name, server.tail());
            }
            sleep(TICK);
        }
    }

    /// Whether the deployment has its first user.
    pub(crate) fn has_first_user(&self) -> Result<bool> {
        let answer = self.get("/api/v2/users/first")?;
        match answer.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => answer.expect("asking for the first user", &[]).map(|_| false),
        }
    }

    pub(crate) fn create_first_user(&self, admin: &Admin<'_>) -> Result<()> {
        let body = json!({
            "email": admin.email, "username": admin.username, "password": admin.password,
            "name": "Administrator", "trial": false,
        });
        self.post("/api/v2/users/first", &body)?.expect("creating the first user", &[201])?;
        Ok(())
    }

    /// Signs in and returns a long-lived token of that user.
    pub(crate) fn make_token(&self, admin: &Admin<'_>, name: &str) -> Result<String> {
        let body = json!({"email": admin.email, "password": admin.password});
        let body = self.post("/api/v2/users/login", &body)?.expect("signing in", &[201])?;
        let session: SessionToken =
            serde_json::from_value(body).context("the login answered without a session token")?;
        let signed = self.with_token(&session.session_token);
        let life = u64::try_from(TOKEN_LIFE.as_nanos()).context("the life of a token")?;
        let body = json!({"token_name": name, "lifetime": life});
        let body =
            signed.post("/api/v2/users/me/keys/tokens", &body)?.expect("making a token", &[201])?;
        let key: Key = serde_json::from_value(body).context("no token in the answer")?;
        // The session has done its work.
        signed.post("/api/v2/users/logout", &json!({}))?;
        Ok(key.key)
    }

    /// The id of the user whose credential this is.
    pub(crate) fn user_id(&self) -> Result<String> {
        let body = self.get("/api/v2/users/me")?.expect("asking who this is", &[200])?;
        let id = body.get("id").and_then(Value::as_str).context("a user without an id")?;
        Ok(id.to_owned())
    }

    /// Whether the credential is still good.
    pub(crate) fn signed_in(&self) -> Result<bool> {
        let answer = self.get("/api/v2/users/me")?;
        match answer.status {
            200 => Ok(true),
            401 => Ok(false),
            _ => answer.expect("checking the token", &[]).map(|_| false),
        }
    }

    /// Makes a key by which a gateway daemon proves who it is.
    pub(crate) fn make_gateway_key(&self, name: &str) -> Result<String> {
        let body = self.post("/api/v2/aibridge/coderd-keys", &json!({"name": name}))?;
        let body = body.expect("making a gateway key", &[201])?;
        let key: Key = serde_json::from_value(body).context("no gateway key in the answer")?;
        Ok(key.key)
    }

    /// Whether a gateway key is still good: whose token `none` is, only a gateway may ask.
    pub(crate) fn accepts_gateway_key(&self, key: &str) -> Result<bool> {
        let path = "/api/v2/ai-gateway/daemon/v1/resolve";
        let request = self.agent.post(format!("{}{path}", self.url));
        let request = request
            .header("Authorization", format!("Bearer {key}"))
            .header("X-Coder-Gateway-Version", "1.0");
        let answer = self.settle(path, request.send_json(json!({"token": "none"})))?;
        match answer.status {
            200 => Ok(true),
            401 => Ok(false),
            _ => answer.expect("checking the gateway key", &[]).map(|_| false),
        }
    }

    /// Makes sure that a provider of that name exists and points at `base_url`.
    pub(crate) fn put_provider(&self, kind: &str, base_url: &str, key: &str) -> Result<()> {
        let path = format!("/api/v2/ai/providers/{kind}");
        let have = self.get(&path)?;
        if have.status == 404 {
            let body = json!({
                "type": kind, "name": kind, "display_name": format!("Demo {kind}"),
                "enabled": true, "base_url": base_url, "api_keys": [key],
            });
            self.post("/api/v2/ai/providers", &body)?.expect("creating a provider", &[201])?;
            return Ok(());
        }
        let have = have.expect("reading a provider", &[200])?;
        if have.get("base_url").and_then(Value::as_str) != Some(base_url) {
            self.patch(&path, &json!({"base_url": base_url}))?
                .expect("changing a provider", &[200])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_api_is_told_with_its_fields() {
        let answer = Answer {
            status: 400,
            body: json!({"message": "Bad.", "detail": "why",
                "validations": [{"field": "name", "detail": "taken"}]}),
        };
        let error = answer.expect("asking", &[200, 201]).unwrap_err().to_string();
        assert_eq!(error, "asking: coderd answered 400: Bad.; name: taken (why)");
        let fine = Answer { status: 201, body: json!({"a": 1}) };
        assert_eq!(fine.expect("asking", &[200, 201]).unwrap(), json!({"a": 1}));
    }

    #[test]
    fn a_taken_port_is_passed_over() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(free_port(port).unwrap(), port);
    }
}
