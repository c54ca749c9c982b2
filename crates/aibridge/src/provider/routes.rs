use http::Method;

use super::ProviderKind;
use crate::dialect::Dialect;

/// An intercepted wire API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// Anthropic Messages.
    Messages,
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI Responses.
    Responses,
}

impl Api {
    /// How this API words its errors.
    #[must_use]
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::Messages => Dialect::Anthropic,
            Self::Chat => Dialect::OpenAiChat,
            Self::Responses => Dialect::OpenAiResponses,
        }
    }
}

/// What a path of a provider leads to. The text is the route as metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Recorded; only by `POST`.
    Intercept(Api, &'static str),
    /// Relayed unread, by any method.
    Passthrough(&'static str),
}

/// The routes of a family of kinds.
struct Table {
    /// What stands between the provider's name and the path that goes upstream.
    prefix: &'static str,
    intercepted: &'static [(&'static str, Api)],
    /// `/*` at the end stands for anything below.
    passthrough: &'static [&'static str],
}

const OPENAI: Table = Table {
    prefix: "/v1",
    intercepted: &[("/chat/completions", Api::Chat), ("/responses", Api::Responses)],
    passthrough: &["/conversations", "/conversations/*", "/models", "/models/*", "/responses/*"],
};

const ANTHROPIC: Table = Table {
    prefix: "",
    intercepted: &[("/v1/messages", Api::Messages)],
    passthrough: &[
        "/v1/models",
        "/v1/models/*",
        "/v1/messages/count_tokens",
        "/api/event_logging/*",
    ],
};

const COPILOT: Table = Table {
    prefix: "",
    intercepted: &[("/chat/completions", Api::Chat), ("/responses", Api::Responses)],
    passthrough: &["/models", "/models/*", "/agents/*", "/mcp/*", "/.well-known/*"],
};

const fn table(kind: ProviderKind) -> &'static Table {
    match kind {
        ProviderKind::Anthropic | ProviderKind::Bedrock => &ANTHROPIC,
        ProviderKind::Copilot => &COPILOT,
        ProviderKind::OpenAi
        | ProviderKind::Azure
        | ProviderKind::Google
        | ProviderKind::OpenAiCompat
        | ProviderKind::OpenRouter
        | ProviderKind::Vercel => &OPENAI,
    }
}

/// Finds the route of `rest`, the path after the provider's name. Also returns what is appended to the
/// base URL. The path must have passed [`super::clean`].
pub(super) fn find<'a>(
    kind: ProviderKind,
    method: &Method,
    rest: &'a str,
) -> Option<(Route, &'a str)> {
    let table = table(kind);
    let rest = rest.strip_prefix(table.prefix)?;
    let exact = table.intercepted.iter().find(|(path, _)| *path == rest);
    if let Some(&(path, api)) = exact {
        let posted = *method == Method::POST;
        return posted.then_some((Route::Intercept(api, path), rest));
    }
    let pattern = table.passthrough.iter().find(|pattern| match pattern.strip_suffix('*') {
        Some(below) => rest.starts_with(below),
        None => **pattern == rest,
    })?;
    Some((Route::Passthrough(pattern), rest))
}

/// The API whose clients ask `rest` of a provider that is not known.
pub(super) fn looks_like(rest: &str) -> Option<Api> {
    [&ANTHROPIC, &OPENAI, &COPILOT].into_iter().find_map(|table| {
        let path = rest.strip_prefix(table.prefix)?;
        table.intercepted.iter().find(|(known, _)| *known == path).map(|&(_, api)| api)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_the_api_without_its_provider() {
        for (path, want) in [
            ("/v1/messages", Some(Api::Messages)),
            ("/v1/chat/completions", Some(Api::Chat)),
            ("/chat/completions", Some(Api::Chat)),
            ("/v1/responses", Some(Api::Responses)),
            ("/v1/models", None),
            ("", None),
        ] {
            assert_eq!(looks_like(path), want, "{path}");
        }
    }

    #[test]
    fn only_listed_routes_exist() {
        use ProviderKind::{Anthropic, Copilot, Google, OpenAi};
        let chat = Some(Route::Intercept(Api::Chat, "/chat/completions"));
        let messages = Some(Route::Intercept(Api::Messages, "/v1/messages"));
        for (kind, method, path, want) in [
            (OpenAi, "POST", "/v1/chat/completions", chat),
            (Google, "POST", "/v1/chat/completions", chat),
            (Copilot, "POST", "/chat/completions", chat),
            (OpenAi, "GET", "/v1/chat/completions", None),
            (OpenAi, "POST", "/chat/completions", None),
            (OpenAi, "POST", "/v1/completions", None),
            (OpenAi, "POST", "/v1/embeddings", None),
            (OpenAi, "GET", "/v1/models", Some(Route::Passthrough("/models"))),
            (OpenAi, "GET", "/v1/models/gpt", Some(Route::Passthrough("/models/*"))),
            (OpenAi, "GET", "/v1/modelsx", None),
            (OpenAi, "POST", "/v1/responses/r/cancel", Some(Route::Passthrough("/responses/*"))),
            (OpenAi, "GET", "/v1", None),
            (Anthropic, "POST", "/v1/messages", messages),
            (Anthropic, "POST", "/v1/messages/", None),
            (
                Anthropic,
                "POST",
                "/v1/messages/count_tokens",
                Some(Route::Passthrough("/v1/messages/count_tokens")),
            ),
            (Anthropic, "POST", "/v1/messages/batches", None),
            (Anthropic, "HEAD", "", None),
            (Copilot, "POST", "/agents/x", Some(Route::Passthrough("/agents/*"))),
            (Copilot, "POST", "/v1/messages", None),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let found = find(kind, &method, path).map(|(route, _)| route);
            assert_eq!(found, want, "{kind:?} {method} {path}");
        }
    }
}
