//! Providers as the gateway sees them: a row given from outside, checked once and made ready to serve.

use std::sync::OnceLock;

use http::Uri;
use http::uri::{Authority, Scheme};
use prometheus_client::metrics::histogram::Histogram;
use stdx::Secret;
use stdx::ids::ProviderId;

use crate::dialect::Dialect;
use crate::keys::KeyPool;

mod path;
mod routes;
mod snapshot;

pub use path::{BadPath, clean};
pub use routes::{Api, Route};
pub use snapshot::{Found, Snapshot};

/// Which service a provider is, and so which wire API, header and routes it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderKind {
    /// OpenAI itself.
    OpenAi,
    /// Azure's OpenAI-compatible endpoint.
    Azure,
    /// Google's OpenAI-compatible endpoint.
    Google,
    /// Anything that speaks OpenAI's API.
    OpenAiCompat,
    /// `OpenRouter`.
    OpenRouter,
    /// Vercel's AI gateway.
    Vercel,
    /// Anthropic itself, or what speaks its API.
    Anthropic,
    /// Anthropic's models on AWS.
    Bedrock,
    /// GitHub Copilot: each user brings a GitHub token.
    Copilot,
}

impl ProviderKind {
    /// All kinds, in the order of the provider table of the documentation.
    pub const ALL: [Self; 9] = [
        Self::OpenAi,
        Self::Azure,
        Self::Google,
        Self::OpenAiCompat,
        Self::OpenRouter,
        Self::Vercel,
        Self::Anthropic,
        Self::Bedrock,
        Self::Copilot,
    ];

    /// The name on the wire, in tables and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Azure => "azure",
            Self::Google => "google",
            Self::OpenAiCompat => "openai-compat",
            Self::OpenRouter => "openrouter",
            Self::Vercel => "vercel",
            Self::Anthropic => "anthropic",
            Self::Bedrock => "bedrock",
            Self::Copilot => "copilot",
        }
    }

    /// The kind with this wire name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Where requests go when the row names no base URL; absent when the row must name one.
    #[must_use]
    pub const fn default_base_url(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => Some("https://api.openai.com/v1/"),
            Self::Anthropic => Some("https://api.anthropic.com/"),
            Self::Copilot => Some("https://api.individual.githubcopilot.com"),
            _ => None,
        }
    }

    /// The header that carries the credential upstream.
    #[must_use]
    pub const fn auth(self) -> AuthHeader {
        match self {
            Self::Anthropic | Self::Bedrock => AuthHeader::XApiKey,
            _ => AuthHeader::Bearer,
        }
    }

    /// How errors outside of an intercepted route are worded.
    #[must_use]
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::Anthropic | Self::Bedrock => Dialect::Anthropic,
            _ => Dialect::OpenAiChat,
        }
    }

    /// Whether the provider can have keys of its own.
    #[must_use]
    pub const fn has_keys(self) -> bool {
        !matches!(self, Self::Bedrock | Self::Copilot)
    }
}

/// How a credential travels upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthHeader {
    /// `Authorization: Bearer …`.
    Bearer,
    /// `X-Api-Key: …`.
    XApiKey,
}

/// One provider row, as stored; nothing of it has been checked.
#[derive(Clone, Debug)]
pub struct ProviderSpec {
    /// Of the row.
    pub id: ProviderId,
    /// Which service.
    pub kind: ProviderKind,
    /// First segment of the provider's paths; unique among the rows.
    pub name: String,
    /// A disabled provider answers 503.
    pub enabled: bool,
    /// Absolute http or https URL; empty for the kind's default.
    pub base_url: String,
    /// Central keys in the order in which they are tried, or why they cannot be read.
    pub keys: Result<Vec<Secret<String>>, String>,
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderState {
    /// It serves.
    Enabled,
    /// It answers 503 on purpose.
    Disabled,
    /// It cannot be used and its paths answer 404; the text names field and fix.
    Error(String),
}

impl ProviderState {
    /// The name used in metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Error(_) => "error",
        }
    }
}

/// What became of a row, with the row's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderStatus {
    /// Of the row.
    pub id: ProviderId,
    /// Of the row.
    pub name: String,
    /// Of the row.
    pub kind: ProviderKind,
    /// What became of it.
    pub state: ProviderState,
}

/// A provider that can serve.
#[derive(Debug)]
pub struct Provider {
    pub(crate) id: ProviderId,
    pub(crate) kind: ProviderKind,
    pub(crate) name: String,
    pub(crate) base: BaseUrl,
    pub(crate) pool: KeyPool,
    /// How many keys requests have tried, once it was looked up.
    pub(crate) tried: OnceLock<Histogram>,
}

impl Provider {
    /// Checks a row. `before` is the same row as it was served so far; cool-downs of keys that stay are
    /// carried over, so that a reload does not send a refused key out again.
    pub(crate) fn build(
        spec: &ProviderSpec,
        before: Option<&Self>,
        allow_byok: bool,
    ) -> Result<Self, String> {
        let kind = spec.kind;
        let keys = spec.keys.as_ref().map_err(Clone::clone)?;
        if kind == ProviderKind::Bedrock {
            return Err("type bedrock is not supported yet: its requests need AWS signatures, which this \
                        gateway cannot make; disable the provider, or reach Claude through type anthropic"
                .to_owned());
        }
        if !kind.has_keys() && !keys.is_empty() {
            return Err(format!(
                "keys: type {} takes none, each user brings a token; remove the {} stored",
                kind.as_str(),
                keys.len()
            ));
        }
        if kind.has_keys() && keys.is_empty() && !allow_byok {
            return Err(
                "keys: none stored, and users may not bring their own; add a key or allow \
                        bring-your-own-key"
                    .to_owned(),
            );
        }
        let pool = KeyPool::build(kind.auth(), keys, before.map(|provider| &provider.pool))?;
        Ok(Self {
            id: spec.id,
            kind,
            name: spec.name.clone(),
            base: BaseUrl::parse(kind, &spec.base_url)?,
            pool,
            tried: OnceLock::new(),
        })
    }
}

/// Where a provider's requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at the end.
    path: String,
}

impl BaseUrl {
    fn parse(kind: ProviderKind, text: &str) -> Result<Self, String> {
        let text = match (text.trim(), kind.default_base_url()) {
            ("", Some(default)) => default,
            ("", None) => {
                return Err(format!(
                    "base_url: required for type {}, e.g. https://host/v1",
                    kind.as_str()
                ));
            }
            (text, _) => text,
        };
        let url = url::Url::parse(text)
            .map_err(|error| format!("base_url: not an absolute URL ({error})"))?;
        let scheme = match url.scheme() {
            "http" => Scheme::HTTP,
            "https" => Scheme::HTTPS,
            other => return Err(format!("base_url: scheme {other:?}, must be http or https")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "base_url: must not contain a user or password; store a key instead".to_owned()
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("base_url: must not contain a query or fragment".to_owned());
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| "base_url: names no host".to_owned())?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let authority = Authority::try_from(authority)
            .map_err(|error| format!("base_url: its host cannot be asked ({error})"))?;
        Ok(Self { scheme, authority, path: url.path().trim_end_matches('/').to_owned() })
    }

    /// The URL of `rest` (starting with a slash) below the base.
    ///
    /// # Errors
    /// `rest` or `query` contain what a URL cannot.
    pub(crate) fn join(&self, rest: &str, query: Option<&str>) -> Result<Uri, http::Error> {
        let path = match query {
            Some(query) => format!("{}{rest}?{query}", self.path),
            None => format!("{}{rest}", self.path),
        };
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(kind: ProviderKind, base_url: &str, keys: &[&str]) -> ProviderSpec {
        ProviderSpec {
            id: ProviderId::nil(),
            kind,
            name: "p".to_owned(),
            enabled: true,
            base_url: base_url.to_owned(),
            keys: Ok(keys.iter().map(|&key| Secret::from(key)).collect()),
        }
    }

    #[test]
    fn a_bad_row_says_which_field_is_wrong_and_what_to_do() {
        use ProviderKind::{Anthropic, Azure, Bedrock, Copilot, OpenAi};
        for (spec, allow_byok, want) in [
            (spec(Bedrock, "", &[]), true, "bedrock is not supported yet"),
            (spec(Copilot, "", &["k"]), true, "keys: type copilot takes none"),
            (spec(OpenAi, "", &[]), false, "keys: none stored"),
            (spec(Anthropic, "", &["a", "a"]), true, "duplicate key"),
            (spec(Anthropic, "", &["a", "b\nc"]), true, "keys: number 2"),
            (spec(Anthropic, "", &[" "]), true, "keys: number 1"),
            (spec(Azure, "", &["k"]), true, "base_url: required for type azure"),
            (spec(OpenAi, "ftp://x", &["k"]), true, "base_url: scheme \"ftp\""),
            (spec(OpenAi, "api.openai.com", &["k"]), true, "base_url: not an absolute URL"),
            (spec(OpenAi, "https://u:p@x/", &["k"]), true, "user or password"),
            (spec(OpenAi, "https://x/?a=1", &["k"]), true, "query or fragment"),
        ] {
            let error = Provider::build(&spec, None, allow_byok).unwrap_err();
            assert!(error.contains(want), "{error:?} lacks {want:?}");
        }
    }

    #[test]
    fn the_base_path_is_kept_and_joined_with_one_slash() {
        for (kind, base, rest, query, want) in [
            (ProviderKind::OpenAi, "", "/models", None, "https://api.openai.com/v1/models"),
            (
                ProviderKind::Anthropic,
                "http://127.0.0.1:9",
                "/v1/messages",
                Some("beta=true"),
                "http://127.0.0.1:9/v1/messages?beta=true",
            ),
            (ProviderKind::OpenAi, "https://[::1]/a/b/", "/x", None, "https://[::1]/a/b/x"),
        ] {
            let base = BaseUrl::parse(kind, base).unwrap();
            assert_eq!(base.join(rest, query).unwrap().to_string(), want);
        }
    }

    #[test]
    fn wire_names_read_back() {
        for kind in ProviderKind::ALL {
            assert_eq!(ProviderKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(ProviderKind::parse("OpenAI"), None);
    }
}
