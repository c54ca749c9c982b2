//! `CODER_AI_GATEWAY_PROVIDER_<N>_<KEY>` and its older spelling.

use std::collections::BTreeMap;

use stdx::Secret;
use url::Url;

use super::{
    AwsCredentials, BedrockSettings, EnvProvider, Found, KEYS_MAX, ProviderSource, ProviderType,
    bedrock_url, name_refusal,
};
use crate::check;
use crate::environment::Environment;
use crate::report::Problem;
use crate::resolve::read_secret;
use crate::table;
use crate::value::Raw;

const PREFIX: &str = "CODER_AI_GATEWAY_PROVIDER_";
const OLD_PREFIX: &str = "CODER_AIBRIDGE_PROVIDER_";

const PLAIN_FIELDS: [&str; 7] = [
    "TYPE",
    "NAME",
    "BASE_URL",
    "BEDROCK_BASE_URL",
    "BEDROCK_REGION",
    "BEDROCK_MODEL",
    "BEDROCK_SMALL_FAST_MODEL",
];
/// These may also be given as `<field>_FILE`.
const SECRET_FIELDS: [&str; 6] = [
    "KEY",
    "KEYS",
    "BEDROCK_ACCESS_KEY",
    "BEDROCK_ACCESS_KEYS",
    "BEDROCK_ACCESS_KEY_SECRET",
    "BEDROCK_ACCESS_KEY_SECRETS",
];

/// What follows either prefix, in whatever case the name is written.
fn stripped(name: &str) -> Option<(String, bool)> {
    let upper = name.to_ascii_uppercase();
    let new = upper.strip_prefix(PREFIX).map(|rest| (rest.to_owned(), false));
    new.or_else(|| upper.strip_prefix(OLD_PREFIX).map(|rest| (rest.to_owned(), true)))
}

/// Whether a variable describes a provider.
pub(crate) fn is_variable(name: &str) -> bool {
    stripped(name).is_some()
}

/// The fields of one provider. No `Debug`: some are secret.
type Fields = BTreeMap<String, String>;

pub(super) fn read(env: &Environment, found: &mut Found) {
    let (mut old, mut new) = (false, false);
    let mut entries: BTreeMap<u32, Fields> = BTreeMap::new();
    for (name, value) in env.iter().filter(|(_, value)| !value.is_empty()) {
        let Some((rest, is_old)) = stripped(name) else {
            continue;
        };
        if is_old {
            old = true;
        } else {
            new = true;
        }
        match place(&rest) {
            Ok((index, field)) => field_of(index, field, name, value, &mut entries, found),
            Err(reason) => found.problems.push(Problem::general(
                format!("{reason}: {name}"),
                format!("write {PREFIX}<number>_<field>"),
            )),
        }
    }
    if old && new {
        found.problems.push(Problem::general(
            format!("cannot mix {OLD_PREFIX}* and {PREFIX}* environment variables"),
            format!("please consolidate onto {PREFIX}*"),
        ));
        return;
    }
    if old {
        let text = format!("{OLD_PREFIX}* is deprecated, please use {PREFIX}* instead.");
        found.warnings.push(text);
    }
    if old || new {
        found.warnings.push(
            "Provider variables only seed the database; once seeded, remove them and manage \
             providers there."
                .to_owned(),
        );
    }
    contiguous(&entries, found);
    for (index, fields) in &entries {
        match provider(*index, fields, &mut found.warnings) {
            Ok(Some(provider)) => found.providers.push(provider),
            Ok(None) => {}
            Err(mut problems) => found.problems.append(&mut problems),
        }
    }
}

/// Index and field.
fn place(rest: &str) -> Result<(u32, &str), &'static str> {
    let (index, field) = rest.split_once('_').ok_or("invalid env var")?;
    if field.is_empty() {
        return Err("invalid env var");
    }
    let plain = index.bytes().all(|b| b.is_ascii_digit());
    let index = index.parse().ok().filter(|_| plain).ok_or("parse number")?;
    Ok((index, field))
}

fn field_of(
    index: u32,
    field: &str,
    name: &str,
    value: &str,
    entries: &mut BTreeMap<u32, Fields>,
    found: &mut Found,
) {
    let fields = entries.entry(index).or_default();
    let by_file = field.strip_suffix("_FILE").filter(|base| SECRET_FIELDS.contains(base));
    let (field, value) = match by_file {
        Some(base) => match read_secret(value) {
            Ok(secret) => (base, secret),
            Err(reason) => {
                let source = format!("{name} = {value:?}");
                let fix = "name a readable file that holds nothing but the secret";
                found.problems.push(Problem::at(source, reason, fix));
                return;
            }
        },
        None => (field, value.to_owned()),
    };
    if !PLAIN_FIELDS.contains(&field) && !SECRET_FIELDS.contains(&field) {
        found
            .warnings
            .push(format!("{name}: ignoring unknown AI provider field (check for typos)."));
        return;
    }
    if fields.insert(field.to_owned(), value).is_some() {
        let reason = format!("provider {index}: {field} is given twice");
        found.problems.push(Problem::general(reason, "keep one of plain, file and upper case"));
    }
}

/// Indices start at 0 and have no gap: a gap is usually an entry that was forgotten or misspelt.
fn contiguous(entries: &BTreeMap<u32, Fields>, found: &mut Found) {
    let gap = (0..).zip(entries.keys()).find(|(expected, index)| expected != *index);
    if let Some((expected, index)) = gap {
        found.problems.push(Problem::general(
            format!("provider num {expected} skipped: {PREFIX}{index}_* is set"),
            "number the providers from 0 without a gap",
        ));
    }
}

/// One description on its way to a provider; collects what is wrong with it.
struct Draft<'a> {
    index: u32,
    fields: &'a Fields,
    shown_type: &'a str,
    problems: Vec<Problem>,
}

impl Draft<'_> {
    fn refuse(&mut self, reason: impl Into<String>, fix: impl Into<String>) {
        let source = match self.shown_type {
            "" => format!("provider {}", self.index),
            shown => format!("provider {} ({shown})", self.index),
        };
        self.problems.push(Problem::at(source, reason, fix));
    }

    fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", |value| value.trim())
    }

    fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// The entries of a list that may be given in the singular or in the plural.
    fn secrets(&mut self, singular: &str, plural: &str, noun: &str) -> Vec<String> {
        if self.has(singular) && self.has(plural) {
            let reason =
                format!("{singular} and {plural} are mutually exclusive, use one or the other");
            self.refuse(reason, format!("remove {singular}"));
            return Vec::new();
        }
        let field = if self.has(plural) { plural } else { singular };
        let Some(text) = self.fields.get(field) else {
            return Vec::new();
        };
        let items: Vec<String> = text.split(',').map(|item| item.trim().to_owned()).collect();
        if items.len() > KEYS_MAX {
            let reason = format!("too many {noun}s ({}), maximum is {KEYS_MAX}", items.len());
            self.refuse(reason, format!("shorten {field}"));
        }
        for (index, item) in items.iter().enumerate() {
            if item.is_empty() {
                self.refuse(
                    format!("{noun} at index {index} is empty"),
                    format!("correct {field}"),
                );
            } else if items.iter().take(index).any(|before| before == item) {
                self.refuse(
                    format!("duplicate {noun} at index {index}"),
                    format!("correct {field}"),
                );
            }
        }
        items
    }

    fn url(&mut self, field: &str) -> Option<Url> {
        let text = self.get(field).to_owned();
        if text.is_empty() {
            return None;
        }
        let checked = check::http_url(&Raw::text(&text))
            .and_then(|()| Url::parse(&text).map_err(|err| format!("not an absolute URL: {err}")));
        match checked {
            Ok(url) => Some(url),
            Err(reason) => {
                let fix = "give an absolute URL such as https://api.example.com/v1/";
                self.refuse(format!("{field}: {reason}"), fix);
                None
            }
        }
    }
}

/// `None` for a type that is not known.
fn provider(
    index: u32,
    fields: &Fields,
    warnings: &mut Vec<String>,
) -> Result<Option<EnvProvider>, Vec<Problem>> {
    let shown_type = fields.get("TYPE").map_or("", |text| text.trim());
    let mut draft = Draft { index, fields, shown_type, problems: Vec::new() };
    let known: Vec<&str> = ProviderType::ALL.iter().map(|known| known.as_str()).collect();
    if shown_type.is_empty() {
        let fix = format!("set {PREFIX}{index}_TYPE to one of {}", known.join(", "));
        draft.refuse("TYPE is required", fix);
        return Err(draft.problems);
    }
    let Some(provider_type) = ProviderType::parse(shown_type) else {
        warnings.push(format!(
            "provider {index}: the TYPE {shown_type:?} is not known and the entry is skipped (known: {}).",
            known.join(", ")
        ));
        return Ok(None);
    };
    let name = match draft.get("NAME") {
        "" => provider_type.as_str().to_owned(),
        name => name.to_owned(),
    };
    if let Some(reason) = name_refusal(&name) {
        draft.refuse(format!("NAME {name:?} {reason}"), "give a name such as openai-eu");
    }
    let keys = draft.secrets("KEY", "KEYS", "key");
    let bedrock = bedrock(&mut draft, provider_type, !keys.is_empty(), warnings);
    let base_url = base_url(&mut draft, provider_type, bedrock.as_ref());
    match base_url {
        Some(base_url) if draft.problems.is_empty() => Ok(Some(EnvProvider {
            provider_type,
            name,
            base_url,
            keys: keys.into_iter().map(Secret::from).collect(),
            bedrock,
            source: ProviderSource::Indexed { index },
        })),
        _ => Err(draft.problems),
    }
}

/// Judges keys against Bedrock fields, and reads the latter where they count.
fn bedrock(
    draft: &mut Draft<'_>,
    provider_type: ProviderType,
    has_keys: bool,
    warnings: &mut Vec<String>,
) -> Option<BedrockSettings> {
    use ProviderType::{Anthropic, Bedrock, Copilot};
    if has_keys && matches!(provider_type, Bedrock | Copilot) {
        let reason = format!("KEY/KEYS are not supported for TYPE {:?}", provider_type.as_str());
        draft.refuse(reason, "remove KEY and KEYS");
    }
    let any = draft.fields.keys().any(|field| field.starts_with("BEDROCK_"));
    if any && !matches!(provider_type, Anthropic | Bedrock) {
        draft.refuse(
            "BEDROCK_* fields are only supported with TYPE \"anthropic\" or \"bedrock\"",
            "remove them, or change TYPE",
        );
        return None;
    }
    let credentials = credentials(draft, warnings);
    let has_credentials = draft.fields.keys().any(|field| field.starts_with("BEDROCK_ACCESS_KEY"));
    let configured =
        has_credentials || draft.has("BEDROCK_REGION") || draft.has("BEDROCK_BASE_URL");
    if provider_type == Bedrock && !configured {
        draft.refuse(
            "TYPE \"bedrock\" requires BEDROCK_* fields to be configured",
            "set BEDROCK_REGION",
        );
        return None;
    }
    if provider_type == Anthropic && has_keys {
        if has_credentials {
            draft.refuse(
                "KEY/KEYS and BEDROCK_* fields are mutually exclusive",
                "keep the key for Anthropic itself, or the AWS credentials for Bedrock",
            );
        }
        return None; // region, base URL and models beside a key mean nothing
    }
    let or_default = |given: &str, field: &str| match given {
        "" => table::row(field).map_or_else(String::new, |row| row.default.to_owned()),
        given => given.to_owned(),
    };
    configured.then(|| BedrockSettings {
        region: draft.get("BEDROCK_REGION").to_owned(),
        model: or_default(draft.get("BEDROCK_MODEL"), "gateway_seed.bedrock_model"),
        small_fast_model: or_default(
            draft.get("BEDROCK_SMALL_FAST_MODEL"),
            "gateway_seed.bedrock_small_fast_model",
        ),
        credentials,
    })
}

fn credentials(draft: &mut Draft<'_>, warnings: &mut Vec<String>) -> Option<AwsCredentials> {
    let ids = draft.secrets("BEDROCK_ACCESS_KEY", "BEDROCK_ACCESS_KEYS", "access key");
    let secrets = draft.secrets(
        "BEDROCK_ACCESS_KEY_SECRET",
        "BEDROCK_ACCESS_KEY_SECRETS",
        "access key secret",
    );
    if ids.len() != secrets.len() {
        let reason = format!(
            "BEDROCK_ACCESS_KEYS count ({}) must match BEDROCK_ACCESS_KEY_SECRETS count ({})",
            ids.len(),
            secrets.len()
        );
        draft.refuse(reason, "give one secret for each access key, in the same order");
        return None;
    }
    if ids.len() > 1 {
        let index = draft.index;
        warnings.push(format!(
            "provider {index}: a Bedrock provider stores one pair of AWS credentials; the first is used."
        ));
    }
    let (access_key, access_key_secret) = ids.into_iter().zip(secrets).next()?;
    Some(AwsCredentials {
        access_key: Secret::new(access_key),
        access_key_secret: Secret::new(access_key_secret),
    })
}

fn base_url(
    draft: &mut Draft<'_>,
    provider_type: ProviderType,
    bedrock: Option<&BedrockSettings>,
) -> Option<Url> {
    let plain = draft.url("BASE_URL");
    if let Some(settings) = bedrock {
        let own = draft.url("BEDROCK_BASE_URL").or(plain);
        return match bedrock_url(own, &settings.region) {
            Ok(url) => Some(url),
            Err(reason) => {
                draft.refuse(reason, "set BEDROCK_REGION to a region such as us-east-1");
                None
            }
        };
    }
    let default = provider_type.default_base_url().and_then(|text| Url::parse(text).ok());
    let url = plain.or(default);
    if url.is_none() && draft.problems.is_empty() {
        let reason = format!("BASE_URL is required for TYPE {:?}", provider_type.as_str());
        draft.refuse(reason, "set BASE_URL to where the provider is");
    }
    url
}
