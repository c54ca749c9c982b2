//! Options of a provider's type: one JSON object whose `_type` and `_version` say how to read the rest.
//!
//! The same shape is stored (sealed, secrets included), accepted (secrets optional) and shown (secrets
//! never). Nothing here puts a value into an error.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use stdx::Secret;

use crate::rules::Rules;

const TYPE: &str = "bedrock";
const VERSION: i64 = 1;
const REGION_CHARS_MAX: usize = 64;
const MODEL_CHARS_MAX: usize = 256;
const CREDENTIAL_CHARS_MAX: usize = 1_024;

/// What makes a provider a Bedrock one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bedrock {
    /// AWS region; empty if the base URL says it.
    pub(crate) region: String,
    /// Model that is asked for; empty for the default.
    pub(crate) model: String,
    /// The same for clients that want a small, fast one.
    pub(crate) small_fast_model: String,
    /// With its secret, or neither: the credentials of the machine are used then.
    pub(crate) access_key: Option<Secret<String>>,
    pub(crate) access_key_secret: Option<Secret<String>>,
}

/// The same as a request has it: a secret that is absent stays as it is, an empty one is cleared.
#[derive(Debug)]
pub(super) struct Wanted {
    plain: Bedrock,
    access_key: Option<Secret<String>>,
    access_key_secret: Option<Secret<String>>,
}

impl Wanted {
    /// Reads a request's or a row's object. The error says what to change.
    pub(super) fn parse(raw: &RawValue) -> Result<Self, String> {
        parse(raw.get())
    }

    /// What is to be stored in place of `old`.
    pub(super) fn over(self, old: Option<&Bedrock>) -> Bedrock {
        let settle = |wanted: Option<Secret<String>>, old: Option<&Secret<String>>| match wanted {
            None => old.cloned(),
            Some(given) if given.expose().is_empty() => None,
            given => given,
        };
        Bedrock {
            access_key: settle(self.access_key, old.and_then(|old| old.access_key.as_ref())),
            access_key_secret: settle(
                self.access_key_secret,
                old.and_then(|old| old.access_key_secret.as_ref()),
            ),
            ..self.plain
        }
    }
}

impl Bedrock {
    /// Reads what [`Bedrock::to_stored`] wrote.
    pub(crate) fn from_stored(text: &Secret<String>) -> Result<Self, String> {
        parse(text.expose()).map(|wanted| wanted.over(None))
    }

    /// For the row.
    pub(crate) fn to_stored(&self) -> Secret<String> {
        let mut fields = self.shown();
        for (name, secret) in
            [("access_key", &self.access_key), ("access_key_secret", &self.access_key_secret)]
        {
            if let Some(secret) = secret {
                fields.insert(name.to_owned(), json!(secret.expose()));
            }
        }
        Secret::new(Value::Object(fields).to_string())
    }

    /// For an answer.
    pub(super) fn to_wire(&self) -> Value {
        Value::Object(self.shown())
    }

    fn shown(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("_type".to_owned(), json!(TYPE));
        fields.insert("_version".to_owned(), json!(VERSION));
        for (name, text) in [
            ("region", &self.region),
            ("model", &self.model),
            ("small_fast_model", &self.small_fast_model),
        ] {
            if !text.is_empty() {
                fields.insert(name.to_owned(), json!(text));
            }
        }
        fields
    }

    /// Whether AWS is told who asks.
    pub(super) const fn has_credentials(&self) -> bool {
        self.access_key.is_some() || self.access_key_secret.is_some()
    }

    /// Notes what is wrong with the values.
    pub(super) fn check(&self, rules: &mut Rules) {
        let region = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.region.len() > REGION_CHARS_MAX || !self.region.bytes().all(region) {
            rules.broken("settings.region", "must be the name of an AWS region, such as us-east-1");
        }
        for (field, text) in
            [("settings.model", &self.model), ("settings.small_fast_model", &self.small_fast_model)]
        {
            if text.len() > MODEL_CHARS_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                rules.broken(
                    field,
                    format!("must be at most {MODEL_CHARS_MAX} printable ASCII characters, without spaces"),
                );
            }
        }
        for (field, secret) in [
            ("settings.access_key", &self.access_key),
            ("settings.access_key_secret", &self.access_key_secret),
        ] {
            let fits = |text: &str| {
                text.len() <= CREDENTIAL_CHARS_MAX
                    && text.bytes().all(|byte| byte.is_ascii_graphic())
            };
            if secret.as_ref().is_some_and(|secret| !fits(secret.expose())) {
                rules.broken(
                    field,
                    format!(
                        "must be at most {CREDENTIAL_CHARS_MAX} printable ASCII characters, without spaces"
                    ),
                );
            }
        }
        if self.access_key.is_some() != self.access_key_secret.is_some() {
            rules.broken(
                "settings",
                "access_key and access_key_secret belong together: set both or neither",
            );
        }
    }
}

fn parse(text: &str) -> Result<Wanted, String> {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(text) else {
        return Err("must be null or an object with _type and _version".to_owned());
    };
    match fields.get("_type") {
        None | Some(Value::Null) => return Err(format!("_type is required; known: {TYPE}")),
        Some(Value::String(kind)) if kind == TYPE => {}
        Some(_) => return Err(format!("_type is not known; known: {TYPE}")),
    }
    if fields.get("_version").and_then(Value::as_i64) != Some(VERSION) {
        return Err(format!("_version is not supported; _type {TYPE} has version {VERSION}"));
    }
    let mut take = |name: &str| match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} must be a string")),
    };
    Ok(Wanted {
        plain: Bedrock {
            region: take("region")?.unwrap_or_default(),
            model: take("model")?.unwrap_or_default(),
            small_fast_model: take("small_fast_model")?.unwrap_or_default(),
            ..Bedrock::default()
        },
        access_key: take("access_key")?.map(Secret::new),
        access_key_secret: take("access_key_secret")?.map(Secret::new),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Wanted {
        parse(text).unwrap()
    }

    fn exposed(secret: Option<&Secret<String>>) -> Option<&str> {
        secret.map(|secret| secret.expose().as_str())
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_a_cure_and_without_its_values() {
        for (text, want) in [
            ("[]", "must be null or an object with _type and _version"),
            ("\"sk-planted\"", "must be null or an object"),
            ("{}", "_type is required; known: bedrock"),
            (r#"{"_type":"sk-planted","_version":1}"#, "_type is not known; known: bedrock"),
            (r#"{"_type":7,"_version":1}"#, "_type is not known"),
            (r#"{"_type":"bedrock"}"#, "_version is not supported"),
            (r#"{"_type":"bedrock","_version":2}"#, "_type bedrock has version 1"),
            (r#"{"_type":"bedrock","_version":"1"}"#, "_version is not supported"),
            (
                r#"{"_type":"bedrock","_version":1,"region":["sk-planted"]}"#,
                "region must be a string",
            ),
            (r#"{"_type":"bedrock","_version":1,"access_key":7}"#, "access_key must be a string"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
            assert!(!error.contains("planted"), "{error}");
        }
    }

    #[test]
    fn secrets_stay_when_absent_and_go_when_empty() {
        let old = wanted(
            r#"{"_type":"bedrock","_version":1,"region":"eu-west-1","access_key":"AK","access_key_secret":"SK"}"#,
        )
        .over(None);
        let kept = wanted(r#"{"_type":"bedrock","_version":1}"#).over(Some(&old));
        assert_eq!(kept.region, "", "what is not secret is replaced");
        assert_eq!(exposed(kept.access_key.as_ref()), Some("AK"));
        let cleared =
            wanted(r#"{"_type":"bedrock","_version":1,"access_key":"","access_key_secret":""}"#)
                .over(Some(&old));
        assert!(!cleared.has_credentials());
        let changed = wanted(r#"{"_type":"bedrock","_version":1,"access_key_secret":"NEW"}"#)
            .over(Some(&old));
        assert_eq!(exposed(changed.access_key.as_ref()), Some("AK"));
        assert_eq!(exposed(changed.access_key_secret.as_ref()), Some("NEW"));
    }

    #[test]
    fn the_stored_form_comes_back_and_the_wire_form_has_no_secret() {
        let bedrock = Bedrock {
            region: "eu-west-1".to_owned(),
            model: "m".to_owned(),
            small_fast_model: String::new(),
            access_key: Some(Secret::from("AK-planted")),
            access_key_secret: Some(Secret::from("SK-planted")),
        };
        let back = Bedrock::from_stored(&bedrock.to_stored()).unwrap();
        assert_eq!((&back.region, &back.model), (&bedrock.region, &bedrock.model));
        assert_eq!(exposed(back.access_key.as_ref()), Some("AK-planted"));
        assert_eq!(exposed(back.access_key_secret.as_ref()), Some("SK-planted"));
        assert_eq!(
            bedrock.to_wire(),
            json!({"_type": "bedrock", "_version": 1, "region": "eu-west-1", "model": "m"})
        );
        assert!(!format!("{bedrock:?}").contains("planted"));
    }

    #[test]
    fn values_are_checked() {
        let fine = Bedrock { region: "us-east-1".to_owned(), ..Bedrock::default() };
        let with = |change: fn(&mut Bedrock)| {
            let mut bedrock = fine.clone();
            change(&mut bedrock);
            let mut rules = Rules::default();
            bedrock.check(&mut rules);
            rules.finish().is_ok()
        };
        assert!(with(|_| ()));
        assert!(!with(|b| b.region = "us east".to_owned()));
        assert!(!with(|b| b.region = "a".repeat(65)));
        assert!(!with(|b| b.model = "a b".to_owned()));
        assert!(!with(|b| b.small_fast_model = "a".repeat(257)));
        assert!(!with(|b| b.access_key = Some(Secret::from("AK"))));
        assert!(!with(|b| {
            b.access_key = Some(Secret::from("A K"));
            b.access_key_secret = Some(Secret::from("SK"));
        }));
        assert!(with(|b| {
            b.access_key = Some(Secret::from("AK"));
            b.access_key_secret = Some(Secret::from("SK"));
        }));
    }
}
