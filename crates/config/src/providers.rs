//! The AI providers that the environment describes, from which the database is seeded once.
//!
//! There are two notations: the legacy options for one OpenAI and one Anthropic (or Bedrock) provider,
//! and indexed variables `CODER_AI_GATEWAY_PROVIDER_<N>_<KEY>`. Both end up as [`EnvProvider`]s.

mod indexed;

use std::fmt;

use stdx::Secret;
use url::Url;

use crate::environment::Environment;
use crate::report::{Problem, Report};
use crate::table::Options;

/// Most keys that one provider may have.
pub(crate) const KEYS_MAX: usize = 5;

/// Names that the gateway's own routes take.
const RESERVED_NAMES: [&str; 10] = [
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

macro_rules! provider_types {
    ($( $(#[doc = $doc:literal])+ $variant:ident = $text:literal, $base:expr; )+) => {
        /// Whose protocol a provider speaks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ProviderType { $( $(#[doc = $doc])+ $variant, )+ }

        impl ProviderType {
            /// All types in the order of their names.
            pub const ALL: &'static [Self] = &[ $( Self::$variant ),+ ];

            /// The type as it is written in the configuration and on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )+ }
            }

            /// Where providers of this type are found if nothing else is said.
            const fn default_base_url(self) -> Option<&'static str> {
                match self { $( Self::$variant => $base, )+ }
            }
        }
    };
}

provider_types! {
    /// Anthropic Messages.
    Anthropic = "anthropic", Some("https://api.anthropic.com/");
    /// OpenAI on Azure.
    Azure = "azure", None;
    /// Anthropic models on AWS Bedrock, signed requests.
    Bedrock = "bedrock", None;
    /// GitHub Copilot; users bring their own token.
    Copilot = "copilot", Some("https://api.individual.githubcopilot.com");
    /// Google's OpenAI-compatible interface.
    Google = "google", None;
    /// OpenAI.
    OpenAi = "openai", Some("https://api.openai.com/v1/");
    /// Anything else that speaks OpenAI's protocol.
    OpenAiCompat = "openai-compat", None;
    /// The service of openrouter.ai.
    OpenRouter = "openrouter", None;
    /// The gateway of vercel.com.
    Vercel = "vercel", None;
}

impl ProviderType {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut all = Self::ALL.iter().copied();
        all.find(|known| known.as_str().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for ProviderType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which notation described a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderSource {
    /// The options for one provider, such as `CODER_AI_GATEWAY_OPENAI_KEY`.
    Legacy,
    /// `CODER_AI_GATEWAY_PROVIDER_<N>_*`.
    Indexed {
        /// The `N`.
        index: u32,
    },
}

/// What AWS asks for besides a URL.
#[derive(Debug, Clone)]
pub struct AwsCredentials {
    /// The access key id.
    pub access_key: Secret<String>,
    /// The secret access key.
    pub access_key_secret: Secret<String>,
}

/// What makes a provider a Bedrock one.
#[derive(Debug, Clone)]
pub struct BedrockSettings {
    /// AWS region; may be empty if the base URL says it.
    pub region: String,
    /// Model that is asked for.
    pub model: String,
    /// Model that is asked for when the client wants a small, fast one.
    pub small_fast_model: String,
    /// `None`: the credentials of the machine are used.
    pub credentials: Option<AwsCredentials>,
}

/// One provider that the environment describes.
#[derive(Debug, Clone)]
pub struct EnvProvider {
    /// Whose protocol it speaks.
    pub provider_type: ProviderType,
    /// Its name in the deployment: `^[a-z0-9]+(-[a-z0-9]+)*$`.
    pub name: String,
    /// Where it is.
    pub base_url: Url,
    /// Its keys in fail-over order, at most five. Empty for Bedrock and Copilot.
    pub keys: Vec<Secret<String>>,
    /// Set if it is reached through Bedrock.
    pub bedrock: Option<BedrockSettings>,
    /// Which notation described it.
    pub source: ProviderSource,
}

/// The providers that the environment describes, sorted by name.
///
/// Types that are not known are left out; [`crate::load()`] warns about them.
///
/// # Errors
/// Everything that is wrong with the variables, at once. [`crate::load()`] of coderd has already
/// reported the same.
pub fn ai_providers(env: &Environment, options: &Options) -> Result<Vec<EnvProvider>, Report> {
    let found = read(env, options);
    if found.problems.is_empty() {
        Ok(found.providers)
    } else {
        Err(Report { problems: found.problems })
    }
}

/// Everything that was found, good and bad.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) providers: Vec<EnvProvider>,
    pub(crate) warnings: Vec<String>,
    pub(crate) problems: Vec<Problem>,
}

pub(crate) use indexed::is_variable;

pub(crate) fn read(env: &Environment, options: &Options) -> Found {
    let mut found = Found::default();
    legacy_openai(options, &mut found);
    legacy_anthropic(options, &mut found);
    indexed::read(env, &mut found);
    duplicates(&mut found);
    found.providers.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn legacy(provider_type: ProviderType, base_url: Url) -> EnvProvider {
    EnvProvider {
        provider_type,
        name: provider_type.as_str().to_owned(),
        base_url,
        keys: Vec::new(),
        bedrock: None,
        source: ProviderSource::Legacy,
    }
}

fn legacy_openai(options: &Options, found: &mut Found) {
    let seed = &options.gateway_seed;
    if let Some(key) = &seed.openai_key {
        found.providers.push(EnvProvider {
            keys: vec![key.clone()],
            ..legacy(ProviderType::OpenAi, seed.openai_base_url.clone())
        });
    }
}

/// A bearer key makes it a plain provider, load-bearing Bedrock options a Bedrock one. Models alone
/// count for nothing, because they have defaults.
fn legacy_anthropic(options: &Options, found: &mut Found) {
    let seed = &options.gateway_seed;
    let credentials = (&seed.bedrock_access_key, &seed.bedrock_access_key_secret);
    let any_credential = credentials.0.is_some() || credentials.1.is_some();
    if let Some(key) = &seed.anthropic_key {
        if any_credential {
            found.problems.push(Problem::general(
                "CODER_AI_GATEWAY_ANTHROPIC_KEY and CODER_AI_GATEWAY_BEDROCK_* are mutually exclusive",
                "keep the key for Anthropic itself, or the AWS credentials for Bedrock",
            ));
            return;
        }
        found.providers.push(EnvProvider {
            keys: vec![key.clone()],
            ..legacy(ProviderType::Anthropic, seed.anthropic_base_url.clone())
        });
        return;
    }
    if !any_credential && seed.bedrock_region.is_empty() && seed.bedrock_base_url.is_none() {
        return;
    }
    let credentials = match credentials {
        (Some(access_key), Some(secret)) => Some(AwsCredentials {
            access_key: access_key.clone(),
            access_key_secret: secret.clone(),
        }),
        (None, None) => None,
        _ => {
            found.problems.push(Problem::general(
                "CODER_AI_GATEWAY_BEDROCK_ACCESS_KEY and CODER_AI_GATEWAY_BEDROCK_ACCESS_KEY_SECRET \
                 belong together",
                "set both or neither",
            ));
            return;
        }
    };
    match bedrock_url(seed.bedrock_base_url.clone(), &seed.bedrock_region) {
        Ok(base_url) => found.providers.push(EnvProvider {
            bedrock: Some(BedrockSettings {
                region: seed.bedrock_region.clone(),
                model: seed.bedrock_model.clone(),
                small_fast_model: seed.bedrock_small_fast_model.clone(),
                credentials,
            }),
            ..legacy(ProviderType::Anthropic, base_url)
        }),
        Err(reason) => found.problems.push(Problem::general(
            format!("Bedrock: {reason}"),
            "set CODER_AI_GATEWAY_BEDROCK_REGION to a region such as us-east-1",
        )),
    }
}

/// The base URL that is set, else the one of the region.
fn bedrock_url(base_url: Option<Url>, region: &str) -> Result<Url, String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !region.bytes().all(plain) {
        return Err("the region is not the name of an AWS region".to_owned());
    }
    match base_url {
        Some(url) => Ok(url),
        None if region.is_empty() => Err("neither region nor base URL is set".to_owned()),
        None => Url::parse(&format!("https://bedrock-runtime.{region}.amazonaws.com"))
            .map_err(|err| format!("the region gives no valid URL: {err}")),
    }
}

/// Why a name cannot be used, if it cannot.
fn name_refusal(name: &str) -> Option<&'static str> {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    if !name.split('-').all(part) {
        return Some("is not lower-case letters and digits, in words joined by single hyphens");
    }
    RESERVED_NAMES.contains(&name).then_some("is taken by the gateway's own routes")
}

/// Refuses names that two descriptions claim.
fn duplicates(found: &mut Found) {
    let mut problems = Vec::new();
    for (index, later) in found.providers.iter().enumerate() {
        let mut before = found.providers.iter().take(index);
        let Some(first) = before.find(|first| first.name == later.name) else {
            continue;
        };
        let reason = match (first.source, later.source) {
            (ProviderSource::Indexed { index: a }, ProviderSource::Indexed { index: b }) => {
                format!("providers {a} and {b} have duplicate NAME {:?}", later.name)
            }
            (_, ProviderSource::Indexed { index }) => format!(
                "provider {index} has the NAME {:?}, which the legacy variables CODER_AI_GATEWAY_{}_* \
                 define already",
                later.name,
                later.name.to_ascii_uppercase()
            ),
            _ => continue,
        };
        problems.push(Problem::general(reason, "give each provider a NAME of its own"));
    }
    found.problems.append(&mut problems);
}
