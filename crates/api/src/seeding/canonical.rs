//! What makes two descriptions of a provider the same.

use std::fmt;

use config::{BedrockSettings, EnvProvider};
use stdx::Secret;
use store::ai_providers::Provider;
use url::Url;

use crate::ai_providers::settings::Bedrock;

/// Part of what is hashed: a hash of another shape never equals one of this.
const SHAPE: u32 = 1;
/// How many hexadecimal digits stand for a secret.
const SHOWN_DIGITS: usize = 12;

/// The fields that are compared, in one spelling. Keys are not among them.
#[derive(Debug)]
pub(super) struct Canonical {
    kind: String,
    base_url: String,
    block: Block,
}

/// The options of the type.
#[derive(Debug)]
enum Block {
    None,
    Bedrock(Bedrock),
    /// The row's settings are of a kind that this release does not know.
    Unreadable,
}

impl Block {
    fn of(bedrock: Option<Bedrock>) -> Self {
        bedrock.map_or(Self::None, Self::Bedrock)
    }

    fn shown(&self) -> String {
        match self {
            Self::None => "not set",
            Self::Bedrock(_) => "bedrock",
            Self::Unreadable => "unreadable",
        }
        .to_owned()
    }
}

/// A field in which environment and database differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Name of the field.
    pub field: &'static str,
    /// Its value in the environment, fit to be shown.
    pub environment: String,
    /// The same in the database.
    pub database: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, environment, database } = self;
        write!(f, "{field} is {environment} in the environment and {database} in the database")
    }
}

/// The settings that a row gets.
pub(super) fn settings(bedrock: &BedrockSettings) -> Bedrock {
    let credentials = bedrock.credentials.as_ref();
    Bedrock {
        region: bedrock.region.clone(),
        model: bedrock.model.clone(),
        small_fast_model: bedrock.small_fast_model.clone(),
        access_key: credentials.map(|pair| pair.access_key.clone()),
        access_key_secret: credentials.map(|pair| pair.access_key_secret.clone()),
    }
}

impl Canonical {
    pub(super) fn of_env(provider: &EnvProvider) -> Self {
        Self {
            kind: provider.provider_type.as_str().to_owned(),
            base_url: one_spelling(provider.base_url.as_str()),
            block: Block::of(provider.bedrock.as_ref().map(settings)),
        }
    }

    pub(super) fn of_row(row: &Provider) -> Self {
        Self {
            kind: row.kind.clone(),
            base_url: one_spelling(&row.base_url),
            block: row
                .settings
                .as_ref()
                .map(Bedrock::from_stored)
                .transpose()
                .map_or(Block::Unreadable, Block::of),
        }
    }

    /// SHA-256 over the versioned form; `None` when a part cannot be read, which equals nothing readable.
    pub(super) fn hash(&self) -> Option<[u8; 32]> {
        let bedrock = match &self.block {
            Block::None => None,
            Block::Bedrock(bedrock) => Some(bedrock),
            Block::Unreadable => return None,
        };
        let secret = |secret: Option<&Secret<String>>| secret.map(|text| text.expose().clone());
        let form = serde_json::json!({
            "shape": SHAPE,
            "type": self.kind,
            "base_url": self.base_url,
            "bedrock": bedrock.map(|bedrock| serde_json::json!({
                "region": bedrock.region,
                "model": bedrock.model,
                "small_fast_model": bedrock.small_fast_model,
                "access_key": secret(bedrock.access_key.as_ref()),
                "access_key_secret": secret(bedrock.access_key_secret.as_ref()),
            })),
        });
        let form = Secret::new(form.to_string());
        Some(crypt::sha256(form.expose().as_bytes()))
    }

    /// Where `self`, the environment, and `row` differ.
    pub(super) fn differences(&self, row: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut compare = |field, environment: String, database: String, same: bool| {
            if !same {
                found.push(Difference { field, environment, database });
            }
        };
        compare("type", quoted(&self.kind), quoted(&row.kind), self.kind == row.kind);
        let same = self.base_url == row.base_url;
        compare("base_url", shown_url(&self.base_url), shown_url(&row.base_url), same);
        let (Block::Bedrock(here), Block::Bedrock(there)) = (&self.block, &row.block) else {
            let same = matches!((&self.block, &row.block), (Block::None, Block::None));
            compare("settings", self.block.shown(), row.block.shown(), same);
            return found;
        };
        for (field, here, there) in [
            ("region", &here.region, &there.region),
            ("model", &here.model, &there.model),
            ("small_fast_model", &here.small_fast_model, &there.small_fast_model),
        ] {
            compare(field, quoted(here), quoted(there), here == there);
        }
        for (field, here, there) in [
            ("access_key", &here.access_key, &there.access_key),
            ("access_key_secret", &here.access_key_secret, &there.access_key_secret),
        ] {
            let (here, there) = (here.as_ref(), there.as_ref());
            let same = here.map(Secret::expose) == there.map(Secret::expose);
            compare(field, shown_secret(here), shown_secret(there), same);
        }
        found
    }
}

/// The URL as the parser writes it, without slashes at its end.
fn one_spelling(url: &str) -> String {
    let parsed = Url::parse(url).map_or_else(|_| url.to_owned(), String::from);
    parsed.trim_end_matches('/').to_owned()
}

fn quoted(text: &str) -> String {
    if text.is_empty() { "not set".to_owned() } else { format!("{text:?}") }
}

/// Without user and password, should there be any.
fn shown_url(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else { return "not a URL".to_owned() };
    if parsed.username().is_empty() && parsed.password().is_none() {
        return quoted(url);
    }
    let hidden = parsed.set_password(None).and_then(|()| parsed.set_username(""));
    match hidden {
        Ok(()) => format!("{} with credentials {}", quoted(parsed.as_str()), digest(url)),
        Err(()) => digest(url),
    }
}

fn shown_secret(secret: Option<&Secret<String>>) -> String {
    secret.map_or_else(|| "not set".to_owned(), |secret| digest(secret.expose()))
}

/// Tells secrets apart without telling them.
fn digest(secret: &str) -> String {
    let hex = crypt::hex(&crypt::sha256(secret.as_bytes()));
    format!("sha256:{}", stdx::cut(&hex, SHOWN_DIGITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bedrock(secret: &str) -> Bedrock {
        Bedrock {
            region: "us-east-1".to_owned(),
            model: "m".to_owned(),
            small_fast_model: "s".to_owned(),
            access_key: Some(Secret::from("AK")),
            access_key_secret: Some(Secret::from(secret)),
        }
    }

    fn canonical(kind: &str, base_url: &str, block: Block) -> Canonical {
        Canonical { kind: kind.to_owned(), base_url: one_spelling(base_url), block }
    }

    #[test]
    fn a_slash_at_the_end_and_the_case_of_a_host_make_no_difference() {
        let one = canonical("openai", "https://API.openai.com/v1/", Block::None);
        let other = canonical("openai", "https://api.openai.com/v1", Block::None);
        assert_eq!(one.hash(), other.hash());
        assert_eq!(one.differences(&other), []);
    }

    #[test]
    fn every_compared_field_moves_the_hash_and_is_named() {
        let base = || canonical("bedrock", "https://a", Block::Bedrock(bedrock("SK")));
        let changed = |change: fn(&mut Bedrock)| {
            let mut changed = bedrock("SK");
            change(&mut changed);
            canonical("bedrock", "https://a", Block::Bedrock(changed))
        };
        for (other, field) in [
            (canonical("anthropic", "https://a", Block::Bedrock(bedrock("SK"))), "type"),
            (canonical("bedrock", "https://b", Block::Bedrock(bedrock("SK"))), "base_url"),
            (canonical("bedrock", "https://a", Block::None), "settings"),
            (canonical("bedrock", "https://a", Block::Unreadable), "settings"),
            (changed(|b| b.region.clear()), "region"),
            (changed(|b| b.model.push('x')), "model"),
            (changed(|b| b.small_fast_model.push('x')), "small_fast_model"),
            (changed(|b| b.access_key = None), "access_key"),
            (changed(|b| b.access_key_secret = Some(Secret::from("x"))), "access_key_secret"),
        ] {
            assert_ne!(base().hash(), other.hash(), "{field}");
            let fields: Vec<_> =
                base().differences(&other).into_iter().map(|found| found.field).collect();
            assert_eq!(fields, [field]);
        }
    }

    #[test]
    fn secrets_are_shown_as_the_beginning_of_a_hash() {
        let one =
            canonical("bedrock", "https://u:planted-p@a", Block::Bedrock(bedrock("planted-1")));
        let other = canonical("bedrock", "https://a", Block::Bedrock(bedrock("planted-2")));
        let lines: Vec<_> = one.differences(&other).iter().map(ToString::to_string).collect();
        let text = lines.join("\n");
        assert!(!text.contains("planted"), "{text}");
        assert_eq!(text.matches("sha256:").count(), 3, "{text}");
    }
}
