use std::collections::BTreeMap;
use std::fmt::Write as _;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::audit_logs::AuditLog;

/// Bytes of a hash: SHA-256.
pub const HASH_BYTES: usize = 32;
/// What the first row has for the hash of the row before.
pub const START: [u8; HASH_BYTES] = [0; HASH_BYTES];

/// Version of the encoding, part of what is hashed.
const VERSION: &[u8] = b"audit row 1\0";

/// A row in the words of the hash: documents are texts, so that no number loses digits on the way.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Entry {
    pub id: Uuid,
    /// In microseconds, as the database has it.
    #[serde(with = "rfc3339")]
    pub time: OffsetDateTime,
    pub user_id: Uuid,
    pub organization_id: Uuid,
    #[serde(with = "address")]
    pub ip: Option<IpNet>,
    pub user_agent: Option<String>,
    pub resource_type: String,
    pub resource_id: Uuid,
    pub resource_target: String,
    pub resource_icon: String,
    pub action: String,
    pub diff: Box<RawValue>,
    pub status_code: i32,
    pub additional_fields: Box<RawValue>,
    pub request_id: Uuid,
}

/// Where a row is in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// From 1, without gaps.
    pub sequence: i64,
    /// Of the row before; [`START`] for the first.
    pub previous_hash: Vec<u8>,
    /// Of this row.
    pub hash: Vec<u8>,
}

/// A document is none.
#[derive(Debug, thiserror::Error)]
#[error("a column does not hold a JSON document")]
pub struct NotJson(#[from] serde_json::Error);

impl Entry {
    /// The row as it will be in the database.
    ///
    /// # Errors
    /// [`NotJson`] if a document has no text.
    pub fn of(log: &AuditLog) -> Result<Self, NotJson> {
        Ok(Self {
            id: log.id.0.uuid(),
            time: log.time,
            user_id: log.user_id.0.uuid(),
            organization_id: log.organization_id.0.uuid(),
            ip: log.ip,
            user_agent: log.user_agent.clone(),
            resource_type: log.resource_type.clone(),
            resource_id: log.resource_id,
            resource_target: log.resource_target.clone(),
            resource_icon: log.resource_icon.clone(),
            action: log.action.clone(),
            diff: serde_json::value::to_raw_value(&log.diff)?,
            status_code: log.status_code,
            additional_fields: serde_json::value::to_raw_value(&log.additional_fields)?,
            request_id: log.request_id.0.uuid(),
        })
    }

    /// SHA-256 over what follows, without anything between:
    ///
    /// 1. the bytes `audit row 1` and a zero byte;
    /// 2. the hash of the row before, 32 bytes; the sequence as 8 bytes, big-endian;
    /// 3. every column in the order of [`Entry`], each as 4 bytes with its length, big-endian, and that many bytes;
    ///    `FF FF FF FF` alone for NULL.
    ///
    /// A UUID is its 16 bytes. The time is 8 bytes, big-endian: microseconds since 1970 in UTC, signed. The status is
    /// 4 bytes, big-endian. An address is text with its prefix length, `10.0.0.1/32`. A document is its canonical
    /// JSON: no spaces, keys in the order of their bytes, strings with the fewest escapes, a number as its digits
    /// without zeros at either end, `e`, and the power of ten (`-125e-2`; zero is `0`).
    ///
    /// # Errors
    /// [`NotJson`].
    pub fn hash(&self, sequence: i64, previous: &[u8]) -> Result<[u8; HASH_BYTES], NotJson> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(VERSION);
        out.extend_from_slice(previous);
        out.extend_from_slice(&sequence.to_be_bytes());
        let micros = self.time.unix_timestamp_nanos().div_euclid(1_000);
        put(&mut out, self.id.as_bytes());
        put(&mut out, &i64::try_from(micros).unwrap_or(i64::MAX).to_be_bytes());
        put(&mut out, self.user_id.as_bytes());
        put(&mut out, self.organization_id.as_bytes());
        put_text(&mut out, self.ip.map(|ip| ip.to_string()).as_deref());
        put_text(&mut out, self.user_agent.as_deref());
        put_text(&mut out, Some(&self.resource_type));
        put(&mut out, self.resource_id.as_bytes());
        put_text(&mut out, Some(&self.resource_target));
        put_text(&mut out, Some(&self.resource_icon));
        put_text(&mut out, Some(&self.action));
        put_text(&mut out, Some(&canonical(&self.diff)?));
        put(&mut out, &self.status_code.to_be_bytes());
        put_text(&mut out, Some(&canonical(&self.additional_fields)?));
        put(&mut out, self.request_id.as_bytes());
        Ok(crypt::sha256(&out))
    }
}

fn put(out: &mut Vec<u8>, field: &[u8]) {
    // No column holds four gigabytes.
    let len = u32::try_from(field.len()).unwrap_or(u32::MAX - 1);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(field);
}

fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put(out, text.as_bytes()),
        None => out.extend_from_slice(&u32::MAX.to_be_bytes()),
    }
}

fn canonical(document: &RawValue) -> Result<String, serde_json::Error> {
    let mut out = String::with_capacity(document.get().len());
    write(document.get(), &mut out, 0)?;
    Ok(out)
}

/// Deeper documents are not looked into; their text counts as it is.
const DEPTH_MAX: usize = 100;

fn write(text: &str, out: &mut String, depth: usize) -> Result<(), serde_json::Error> {
    let text = text.trim();
    match text.as_bytes().first() {
        Some(b'{' | b'[') if depth > DEPTH_MAX => out.push_str(text),
        Some(b'{') => {
            let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text)?;
            let mut open = '{';
            for (name, value) in &fields {
                out.push(open);
                out.push_str(&serde_json::to_string(name)?);
                out.push(':');
                write(value.get(), out, depth + 1)?;
                open = ',';
            }
            out.push_str(if fields.is_empty() { "{}" } else { "}" });
        }
        Some(b'[') => {
            let items: Vec<Box<RawValue>> = serde_json::from_str(text)?;
            let mut open = '[';
            for value in &items {
                out.push(open);
                write(value.get(), out, depth + 1)?;
                open = ',';
            }
            out.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        Some(b'"') => {
            let string: String = serde_json::from_str(text)?;
            out.push_str(&serde_json::to_string(&string)?);
        }
        Some(b'-' | b'0'..=b'9') => number(text, out),
        _ => out.push_str(text),
    }
    Ok(())
}

/// `[-]digits[.digits][e[+-]digits]`, as any JSON writer has it.
fn number(text: &str, out: &mut String) {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let kept = all.trim_end_matches('0');
    let places = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    let dropped = places(&all) - places(kept);
    let kept = kept.trim_start_matches('0');
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX);
    let power = exponent.saturating_sub(places(fraction)).saturating_add(dropped);
    if kept.is_empty() {
        out.push('0');
        return;
    }
    // Writing to a String cannot fail.
    let _ = write!(out, "{sign}{kept}e{power}");
}

/// Times as text with microseconds.
mod rfc3339 {
    use serde::{Deserialize as _, Deserializer, Serializer, de, ser};

    use super::{OffsetDateTime, Rfc3339};

    pub(super) fn serialize<S: Serializer>(time: &OffsetDateTime, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&time.format(&Rfc3339).map_err(ser::Error::custom)?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<OffsetDateTime, D::Error> {
        let text = String::deserialize(d)?;
        OffsetDateTime::parse(&text, &Rfc3339).map_err(de::Error::custom)
    }
}

/// Addresses as text with their prefix length.
mod address {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de};

    use super::IpNet;

    #[expect(clippy::ref_option, reason = "serde hands the field over like this")]
    pub(super) fn serialize<S: Serializer>(ip: &Option<IpNet>, s: S) -> Result<S::Ok, S::Error> {
        ip.map(|ip| ip.to_string()).serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<IpNet>, D::Error> {
        Option::<String>::deserialize(d)?
            .map(|text| text.parse().map_err(de::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canon(text: &str) -> String {
        canonical(&RawValue::from_string(text.to_owned()).unwrap()).unwrap()
    }

    #[test]
    fn documents_that_mean_the_same_are_written_alike() {
        for (text, wanted) in [
            ("{ }", "{}"),
            (" [ ] ", "[]"),
            (r#"{"b": 1, "a": [true, null, "x"]}"#, r#"{"a":[true,null,"x"],"b":1e0}"#),
            (r#""\u0041\/""#, r#""A/""#),
            ("0", "0"),
            ("-0.000", "0"),
            ("100", "1e2"),
            ("1e2", "1e2"),
            ("1.00E+2", "1e2"),
            ("-1.250", "-125e-2"),
            ("0.001", "1e-3"),
            ("12345678901234567000", "12345678901234567e3"),
            ("1.2345678901234567e19", "12345678901234567e3"),
        ] {
            assert_eq!(canon(text), wanted, "{text}");
        }
    }

    #[test]
    fn the_encoding_never_changes() {
        let entry = Entry {
            id: Uuid::from_u128(1),
            time: OffsetDateTime::UNIX_EPOCH,
            user_id: Uuid::from_u128(2),
            organization_id: Uuid::nil(),
            ip: Some("10.0.0.1/32".parse().unwrap()),
            user_agent: None,
            resource_type: "user".to_owned(),
            resource_id: Uuid::from_u128(3),
            resource_target: "ann".to_owned(),
            resource_icon: String::new(),
            action: "write".to_owned(),
            diff: RawValue::from_string(r#"{"name":{"old":1,"new":2}}"#.to_owned()).unwrap(),
            status_code: 200,
            additional_fields: RawValue::from_string("{}".to_owned()).unwrap(),
            request_id: Uuid::from_u128(4),
        };
        let hash = crypt::hex(&entry.hash(1, &START).unwrap());
        assert_eq!(hash, "05a71f44dd1c6efc5f9f1087fe03a022f1c469fcfd8002a26a083d1c8bae6f27");
    }

    proptest! {
        #[test]
        fn a_number_has_one_form_wherever_its_point_is(digits in 1..i64::MAX, power in 0..30_usize) {
            let zeros = "0".repeat(power);
            let long = format!("{digits}{zeros}");
            prop_assert_eq!(canon(&long), canon(&format!("{digits}e{power}")));
            prop_assert_eq!(canon(&long), canon(&format!("{digits}{zeros}.{zeros}0")));
            let short = format!("-0.{zeros}{digits}");
            let places = digits.to_string().len() + power;
            prop_assert_eq!(canon(&short), canon(&format!("-{digits}E-{places}")));
            prop_assert_ne!(canon(&long), canon(&short));
        }
    }
}
