//! What may be said about a provider.

use aibridge::ProviderKind;
use sdk::CreateAiProviderRequest;
use stdx::Secret;
use stdx::ids::ProviderId;
use store::ai_providers::{InsertProvider, ProviderRef};
use time::OffsetDateTime;
use url::Url;
use uuid::Uuid;

use super::keys;
use super::settings::{Bedrock, Wanted};
use crate::error::{ApiError, ApiResult};
use crate::rules::{self, Rules};

const NAME_PATTERN: &str = "^[a-z0-9]+(-[a-z0-9]+)*$";
const NAME_CHARS_MAX: usize = 64;
const BASE_URL_CHARS_MAX: usize = 2_048;
const ICON_CHARS_MAX: usize = 2_048;

/// Names that the gateway's own routes take.
const RESERVED: [&str; 10] = [
    "clients",
    "coderd-keys",
    "daemon",
    "interceptions",
    "keys",
    "models",
    "providers",
    "proxy",
    "serve",
    "sessions",
];

/// Reads what a path calls a provider.
pub(super) fn provider_ref(text: &str) -> ApiResult<ProviderRef> {
    if let Ok(id) = Uuid::parse_str(text) {
        return Ok(ProviderRef::Id(ProviderId::new(id)));
    }
    if shaped(text) {
        return Ok(ProviderRef::Name(text.to_owned()));
    }
    Err(ApiError::bad_request(
        format!("Invalid provider id or name: must be a UUID or match {NAME_PATTERN}"),
        "",
    ))
}

fn shaped(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    name.len() <= NAME_CHARS_MAX && name.split('-').all(part)
}

fn name(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is required".to_owned());
    }
    if !shaped(text) {
        return Err(format!(
            "must match {NAME_PATTERN} and have at most {NAME_CHARS_MAX} characters"
        ));
    }
    if RESERVED.contains(&text) {
        return Err(format!("\"{text}\" is reserved, choose another name"));
    }
    if Uuid::parse_str(text).is_ok() {
        return Err("must not look like an identifier".to_owned());
    }
    Ok(())
}

/// An absolute URL to which paths can be appended, and which holds no credential.
pub(super) fn base_url(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is required".to_owned());
    }
    if text.len() > BASE_URL_CHARS_MAX {
        return Err(format!("must have at most {BASE_URL_CHARS_MAX} characters"));
    }
    // The parser drops them silently.
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("must not contain white space".to_owned());
    }
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.is_empty())
    });
    let Some(url) = url else {
        return Err("must be an absolute URL with scheme http or https".to_owned());
    };
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not contain a query or fragment".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user or password; use api_keys".to_owned());
    }
    Ok(())
}

/// The address of a picture, or nothing.
pub(super) fn icon(text: &str) -> Result<(), String> {
    if text.len() > ICON_CHARS_MAX || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("must have at most {ICON_CHARS_MAX} characters and no white space"));
    }
    Ok(())
}

/// The settings that go with a type and keys. A block that only describes Bedrock beside a key of Anthropic
/// itself means nothing and is not kept.
pub(super) fn fitting(
    kind: ProviderKind,
    has_keys: bool,
    settings: Option<Bedrock>,
    rules: &mut Rules,
) -> Option<Bedrock> {
    let Some(bedrock) = settings else {
        if kind == ProviderKind::Bedrock {
            rules.broken("settings", "type=bedrock requires bedrock settings");
        }
        return None;
    };
    if !matches!(kind, ProviderKind::Anthropic | ProviderKind::Bedrock) {
        rules.broken(
            "settings",
            "bedrock settings are only valid for type=anthropic or type=bedrock",
        );
        return None;
    }
    bedrock.check(rules);
    if kind == ProviderKind::Anthropic && has_keys {
        if bedrock.has_credentials() {
            rules.broken("settings", "api_keys and AWS credentials are mutually exclusive");
        }
        return None;
    }
    Some(bedrock)
}

/// A provider to be created, checked.
#[derive(Debug)]
pub(super) struct Draft {
    kind: ProviderKind,
    pub(super) name: String,
    display_name: Option<String>,
    icon: String,
    enabled: bool,
    base_url: String,
    settings: Option<Secret<String>>,
    pub(super) keys: Vec<Secret<String>>,
}

impl Draft {
    /// Checks a request; all broken rules come back at once.
    pub(super) fn check(req: CreateAiProviderRequest) -> ApiResult<Self> {
        let mut rules = Rules::default();
        let kind = ProviderKind::parse(&req.kind);
        if kind.is_none() {
            let known = ProviderKind::ALL.map(ProviderKind::as_str).join(", ");
            rules.broken("type", format!("must be one of {known}"));
        }
        rules.check("name", name(&req.name));
        rules.check("display_name", rules::real_name(req.display_name.as_deref().unwrap_or("")));
        rules.check("icon", icon(&req.icon));
        rules.check("base_url", base_url(&req.base_url));
        keys::check(&[], req.api_keys.iter().enumerate(), &mut rules);
        let parsed = req.settings.map(|raw| Wanted::parse(&raw)).transpose();
        let settings = match (parsed, kind) {
            (Err(detail), _) => {
                rules.broken("settings", detail);
                None
            }
            (Ok(wanted), Some(kind)) => {
                let wanted = wanted.map(|wanted| wanted.over(None));
                fitting(kind, !req.api_keys.is_empty(), wanted, &mut rules)
            }
            (Ok(_), None) => None,
        };
        if let Some(kind) = kind
            && !kind.has_keys()
            && !req.api_keys.is_empty()
        {
            rules.broken("api_keys", format!("type={} does not accept api_keys", kind.as_str()));
        }
        rules.finish()?;
        let Some(kind) = kind else {
            return Err(ApiError::bad_request("type is not known", ""));
        };
        Ok(Self {
            kind,
            name: req.name,
            display_name: req.display_name.filter(|name| !name.is_empty()),
            icon: req.icon,
            enabled: req.enabled.unwrap_or(true),
            base_url: req.base_url,
            settings: settings.map(|bedrock| bedrock.to_stored()),
            keys: req.api_keys,
        })
    }

    /// The row without its keys.
    pub(super) fn insert(&self, id: ProviderId, now: OffsetDateTime) -> InsertProvider {
        InsertProvider {
            id,
            kind: self.kind.as_str().to_owned(),
            name: self.name.clone(),
            display_name: self.display_name.clone(),
            icon: self.icon.clone(),
            enabled: self.enabled,
            base_url: self.base_url.clone(),
            settings: self.settings.clone(),
            now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_parts_of_addresses() {
        for (text, fine) in [
            ("openai", true),
            ("openai-eu-2", true),
            ("7", true),
            ("", false),
            ("OpenAI", false),
            ("-a", false),
            ("a-", false),
            ("a--b", false),
            ("a_b", false),
            ("a/b", false),
            ("ä", false),
            ("providers", false),
            ("proxy", false),
            ("daemon", false),
            ("coderd-keys", false),
            ("5e1f2b5e-2c6a-4a7e-9d61-0c5b8f8a1d11", false),
            (&"a".repeat(64), true),
            (&"a".repeat(65), false),
        ] {
            assert_eq!(name(text).is_ok(), fine, "{text}");
        }
    }

    #[test]
    fn base_urls() {
        for (text, fine) in [
            ("https://api.openai.com/v1/", true),
            ("http://127.0.0.1:8080", true),
            ("https://[::1]/x", true),
            ("", false),
            ("api.openai.com", false),
            ("/v1", false),
            ("ftp://host/", false),
            ("https://", false),
            ("https://host/?a=b", false),
            ("https://host/#", false),
            ("https://user@host/", false),
            ("https://user:pass@host/", false),
            (" https://host/", false),
            ("https://ho\tst/", false),
        ] {
            assert_eq!(base_url(text).is_ok(), fine, "{text}");
        }
    }

    #[test]
    fn a_path_names_a_provider_by_id_or_name() {
        assert!(matches!(provider_ref("openai"), Ok(ProviderRef::Name(name)) if name == "openai"));
        let id = "5e1f2b5e-2c6a-4a7e-9d61-0c5b8f8a1d11";
        assert!(matches!(provider_ref(id), Ok(ProviderRef::Id(found)) if found.to_string() == id));
        for text in ["", "Open AI", "a--b", "ä"] {
            let error = format!("{:?}", provider_ref(text).unwrap_err());
            assert!(error.contains("must be a UUID or match ^[a-z0-9]+(-[a-z0-9]+)*$"), "{error}");
        }
    }
}
