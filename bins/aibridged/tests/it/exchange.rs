//! Asking a gateway as clients do.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::place::WORD;

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A wire API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Messages,
    Chat,
    Responses,
}

impl Api {
    pub(crate) const ALL: [Self; 3] = [Self::Messages, Self::Chat, Self::Responses];

    pub(crate) const fn provider(self) -> &'static str {
        match self {
            Self::Messages => "anthropic",
            Self::Chat | Self::Responses => "openai",
        }
    }

    /// What ends every whole stream.
    pub(crate) const fn terminator(self) -> &'static str {
        match self {
            Self::Messages => "event: message_stop",
            Self::Chat => "data: [DONE]",
            Self::Responses => "event: response.completed",
        }
    }

    /// A request of `words` words through the gateway at `base`.
    pub(crate) fn request(
        self,
        http: &Client,
        base: &str,
        token: &str,
        (words, stream): (usize, bool),
    ) -> RequestBuilder {
        let prompt = format!("{WORD} words:{words}");
        let (path, body) = match self {
            Self::Messages => (
                "anthropic/v1/messages",
                json!({
                    "model": "claude-sonnet-5", "max_tokens": 1000, "stream": stream,
                    "messages": [{ "role": "user", "content": prompt }],
                }),
            ),
            Self::Chat => (
                "openai/v1/chat/completions",
                json!({
                    "model": "gpt-5.1", "stream": stream,
                    "messages": [{ "role": "user", "content": prompt }],
                }),
            ),
            Self::Responses => (
                "openai/v1/responses",
                json!({ "model": "gpt-5.1", "stream": stream, "input": prompt }),
            ),
        };
        let request = http.post(format!("{base}/{path}")).timeout(PATIENCE);
        let request = match self {
            Self::Messages => {
                request.header("x-api-key", token).header("anthropic-version", "2023-06-01")
            }
            Self::Chat | Self::Responses => request.bearer_auth(token),
        };
        request.json(&body)
    }
}

/// What a gateway said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The cause by its header.
    pub(crate) code: String,
    pub(crate) retry_after: Option<u64>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        let header = |name: &str| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        let code = header("x-coder-error-code").unwrap_or_default();
        let retry_after = header("retry-after").map(|seconds| seconds.parse().unwrap());
        let status = response.status().as_u16();
        Self { status, code, retry_after, text: response.text().await.unwrap() }
    }

    /// Whether it is an error in the shape of the API, with this cause.
    pub(crate) fn is_refusal(&self, api: Api, status: u16, code: &str) -> bool {
        let body: Value = serde_json::from_str(&self.text).unwrap_or_default();
        let error = &body["error"];
        let shaped = match api {
            Api::Messages => body["type"] == "error" && error["type"].is_string(),
            Api::Chat | Api::Responses => error["code"] == code,
        };
        shaped && error["message"].is_string() && self.status == status && self.code == code
    }
}

/// One blocking exchange.
pub(crate) async fn ask(http: &Client, base: &str, token: &str, api: Api) -> Answer {
    Answer::of(api.request(http, base, token, (5, false)).send().await.unwrap()).await
}

/// A stream of which the head and the first bytes are here.
pub(crate) struct Open {
    api: Api,
    response: Response,
    text: Vec<u8>,
}

impl Open {
    pub(crate) async fn begin(
        http: &Client,
        base: &str,
        token: &str,
        api: Api,
        words: usize,
    ) -> Self {
        let mut response = api.request(http, base, token, (words, true)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{api:?}");
        let text = response.chunk().await.unwrap().unwrap().to_vec();
        Self { api, response, text }
    }

    /// All of it, and whether it is whole: it ends as the API says and has no error in it.
    pub(crate) async fn rest(mut self) -> (bool, String) {
        let whole = loop {
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.text.extend_from_slice(&chunk),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        let text = String::from_utf8(self.text).unwrap();
        let failed = text.contains("\"error\":{");
        (whole && !failed && text.contains(self.api.terminator()), text)
    }
}
