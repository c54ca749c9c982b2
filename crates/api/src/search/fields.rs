use std::collections::BTreeMap;

use sdk::Validation;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, UtcOffset};
use uuid::Uuid;

use crate::error::{ApiError, ApiResult};

/// Largest number of a query: clients and servers agree on 32 bits with a sign.
const NUMBER_MAX: u32 = i32::MAX.unsigned_abs();

/// Named values of one request, and what is wrong with them.
///
/// A getter takes its key out; what is left over when all getters ran is unknown. An empty value counts as
/// absent, and so does one that is at fault.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    values: BTreeMap<String, Vec<String>>,
    faults: Vec<Validation>,
}

/// Whom a value names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Person {
    /// The caller.
    Me,
    /// By identifier.
    Id(Uuid),
    /// By name.
    Named(String),
}

impl Fields {
    pub(crate) fn add(&mut self, key: String, value: String) {
        self.values.entry(key).or_default().push(value);
    }

    pub(crate) fn fault(&mut self, field: &str, detail: impl Into<String>) {
        self.faults.push(Validation { field: field.to_owned(), detail: detail.into() });
    }

    fn wrong(&mut self, key: &str, must_be: impl std::fmt::Display) {
        self.fault(key, format!("Query param {key:?} must be {must_be}"));
    }

    /// Text as it came.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        let mut given = self.values.remove(key)?;
        if given.len() > 1 {
            self.fault(
                key,
                format!(
                    "Query param {key:?} provided more than once, found {} times. Only provide 1 \
                     instance of this query param.",
                    given.len()
                ),
            );
            return None;
        }
        let text = given.pop().filter(|text| !text.is_empty())?;
        // The database has no such character; without this line it would be our fault.
        if text.contains('\0') {
            self.wrong(key, "text without NUL characters");
            return None;
        }
        Some(text)
    }

    /// A UUID.
    pub(crate) fn uuid(&mut self, key: &str) -> Option<Uuid> {
        let text = self.text(key)?;
        let id = Uuid::parse_str(&text).ok();
        if id.is_none() {
            self.wrong(key, "a valid uuid");
        }
        id
    }

    /// From 0 to 2147483647.
    pub(crate) fn number(&mut self, key: &str) -> Option<i64> {
        let text = self.text(key)?;
        match text.parse::<u32>() {
            Ok(number) if number <= NUMBER_MAX => return Some(i64::from(number)),
            Ok(_) => self.wrong(key, format!("a valid integer: {text} is above {NUMBER_MAX}")),
            Err(error) => self.wrong(key, format!("a valid integer: {error}")),
        }
        None
    }

    /// Any integer of 64 bits.
    pub(crate) fn integer(&mut self, key: &str) -> Option<i64> {
        let text = self.text(key)?;
        text.parse().map_err(|error| self.wrong(key, format!("a valid integer: {error}"))).ok()
    }

    /// Several values: the key as often as one likes, or commas between them.
    pub(crate) fn list(&mut self, key: &str) -> Vec<String> {
        let given = self.values.remove(key).unwrap_or_default();
        if given.iter().any(|text| text.contains('\0')) {
            self.wrong(key, "text without NUL characters");
            return Vec::new();
        }
        let parts = given.iter().flat_map(|text| text.split(',')).map(str::trim);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// The same, each one of a few words.
    pub(crate) fn list_of(&mut self, key: &str, words: &[&str]) -> Vec<String> {
        let given = self.list(key);
        if let Some(other) = given.iter().find(|text| !words.contains(&text.as_str())) {
            let words = words.join(", ");
            self.fault(
                key,
                format!("Query param {key:?} has invalid values: {other:?} is none of {words}"),
            );
            return Vec::new();
        }
        given
    }

    /// A switch that may be absent, in the words of [`flag`](Self::flag).
    pub(crate) fn optional_flag(&mut self, key: &str) -> Option<bool> {
        self.values.contains_key(key).then(|| self.flag(key))
    }

    /// A switch, off when absent: `1 t T TRUE true True` and `0 f F FALSE false False`.
    pub(crate) fn flag(&mut self, key: &str) -> bool {
        match self.text(key).as_deref() {
            Some("1" | "t" | "T" | "TRUE" | "true" | "True") => true,
            None | Some("0" | "f" | "F" | "FALSE" | "false" | "False") => false,
            Some(text) => {
                self.wrong(key, format!("a valid boolean: {text:?} is neither true nor false"));
                false
            }
        }
    }

    /// `me`, a UUID or a name.
    pub(crate) fn person(&mut self, key: &str) -> Option<Person> {
        let text = self.text(key)?;
        Some(match Uuid::parse_str(&text) {
            Ok(id) => Person::Id(id),
            Err(_) if text == "me" => Person::Me,
            Err(_) => Person::Named(text),
        })
    }

    /// RFC 3339 with a zone, as UTC.
    pub(crate) fn time(&mut self, key: &str) -> Option<OffsetDateTime> {
        // Upper case, because some queries come here in lower case.
        let text = self.text(key)?.to_uppercase();
        let parsed = OffsetDateTime::parse(&text, &Rfc3339).map_err(|error| error.to_string());
        let utc = parsed.and_then(|at| {
            at.checked_to_offset(UtcOffset::UTC).ok_or_else(|| "out of range".to_owned())
        });
        utc.map_err(|why| {
            self.wrong(key, format!("a valid date format (2006-01-02T15:04:05Z07:00): {why}"));
        })
        .ok()
    }

    /// A day, `YYYY-MM-DD`.
    pub(crate) fn date(&mut self, key: &str) -> Option<Date> {
        let text = self.text(key)?;
        let day = Date::parse(&text, format_description!("[year]-[month]-[day]"));
        let day = day.map_err(|error| error.to_string());
        // The database's calendar ends some millennia before ours.
        let day = day
            .and_then(|day| if day.year() < 0 { Err("out of range".to_owned()) } else { Ok(day) });
        day.map_err(|why| self.wrong(key, format!("a valid date format (2006-01-02): {why}"))).ok()
    }

    /// One of a few words.
    pub(crate) fn one_of(
        &mut self,
        key: &str,
        words: impl IntoIterator<Item = &'static str>,
    ) -> Option<String> {
        let text = self.text(key)?;
        if words.into_iter().any(|word| word == text) {
            return Some(text);
        }
        self.fault(
            key,
            format!("Query param {key:?} has invalid value: {text:?} is not a valid value"),
        );
        None
    }

    /// 400 with all faults. What nobody asked for is ignored: clients send extras.
    pub(crate) fn finish_lenient(self, message: &str) -> ApiResult<()> {
        refuse(message, self.faults)
    }

    /// 400 with all faults, to which every unknown key adds one.
    pub(crate) fn finish(self, message: &str) -> ApiResult<()> {
        refuse(message, self.into_faults())
    }

    pub(crate) fn into_faults(mut self) -> Vec<Validation> {
        for key in self.values.into_keys() {
            let detail = format!("{key:?} is not a valid query param");
            self.faults.push(Validation { field: key, detail });
        }
        self.faults
    }
}

fn refuse(message: &str, faults: Vec<Validation>) -> ApiResult<()> {
    if faults.is_empty() { Ok(()) } else { Err(ApiError::invalid_as(message, faults)) }
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    fn with(value: &str) -> Fields {
        let mut fields = Fields::default();
        fields.add("x".to_owned(), value.to_owned());
        fields
    }

    fn only_fault(fields: Fields) -> String {
        let mut faults = fields.into_faults();
        assert_eq!(faults.len(), 1, "{faults:?}");
        let fault = faults.remove(0);
        assert_eq!(fault.field, "x");
        fault.detail
    }

    #[test]
    fn a_value_given_twice_is_refused() {
        let mut fields = with("a");
        fields.add("x".to_owned(), "b".to_owned());
        assert_eq!(fields.text("x"), None);
        assert_eq!(
            only_fault(fields),
            "Query param \"x\" provided more than once, found 2 times. Only provide 1 instance of \
             this query param."
        );
    }

    #[test]
    fn values_of_the_wrong_type_are_refused() {
        type Getter = fn(&mut Fields) -> bool;
        let number: Getter = |fields| fields.number("x").is_none();
        let time: Getter = |fields| fields.time("x").is_none();
        let date: Getter = |fields| fields.date("x").is_none();
        let cases: [(&str, Getter, &str); 14] = [
            ("a\0b", |fields| fields.text("x").is_none(), "text without NUL characters"),
            ("1234", |fields| fields.uuid("x").is_none(), "must be a valid uuid"),
            ("-1", number, "must be a valid integer: "),
            ("1.5", number, "must be a valid integer: "),
            ("2147483648", number, "is above 2147483647"),
            ("99999999999", number, "must be a valid integer: "),
            ("2026-01-02", time, "must be a valid date format (2006-01-02T15:04:05Z07:00): "),
            ("2026-01-02T03:04:05", time, "must be a valid date format"),
            ("-9999-01-01", date, "must be a valid date format"),
            ("9999-12-31T23:59:59-23:59", time, "out of range"),
            ("2026-13-01", date, "must be a valid date format (2006-01-02): "),
            ("2026-02-30", date, "must be a valid date format"),
            ("02-03-2026", date, "must be a valid date format"),
            (
                "c",
                |fields| fields.one_of("x", ["a", "b"]).is_none(),
                "has invalid value: \"c\" is not",
            ),
        ];
        for (value, refused, why) in cases {
            let mut fields = with(value);
            assert!(refused(&mut fields), "{value:?}");
            let detail = only_fault(fields);
            assert!(detail.contains(why), "{value:?}: {detail}");
        }
    }

    #[test]
    fn lists_are_read_from_commas_and_repeated_keys() {
        let mut fields = with("a, b,,a");
        fields.add("x".to_owned(), "c".to_owned());
        assert_eq!(fields.list("x"), ["a", "b", "a", "c"]);
        assert!(fields.into_faults().is_empty());
        assert_eq!(with("a,b").list_of("x", &["b", "a"]), ["a", "b"]);
        let mut fields = with("a,d");
        assert!(fields.list_of("x", &["a", "b"]).is_empty());
        assert_eq!(
            only_fault(fields),
            "Query param \"x\" has invalid values: \"d\" is none of a, b"
        );
        let mut fields = with("a\0b");
        assert!(fields.list("x").is_empty());
        assert!(only_fault(fields).contains("NUL"));
        assert_eq!(with("true").optional_flag("x"), Some(true));
        assert_eq!(with("0").optional_flag("x"), Some(false));
        assert_eq!(Fields::default().optional_flag("x"), None);
        assert_eq!(with("-9223372036854775808").integer("x"), Some(i64::MIN));
        let mut fields = with("9223372036854775808");
        assert_eq!(fields.integer("x"), None);
        assert!(only_fault(fields).contains("must be a valid integer"));
    }

    #[test]
    fn values_of_the_right_type_are_read() {
        let id = Uuid::from_u128(7);
        assert_eq!(with(&id.to_string()).uuid("x"), Some(id));
        assert_eq!(with("0").number("x"), Some(0));
        assert_eq!(with("2147483647").number("x"), Some(2_147_483_647));
        let instant = datetime!(2026-01-02 01:04:05.123456789 UTC);
        assert_eq!(with("2026-01-02t03:04:05.123456789+02:00").time("x"), Some(instant));
        assert_eq!(with("2026-01-02t01:04:05.123456789z").time("x"), Some(instant));
        assert_eq!(with("2026-01-02").date("x"), Some(date!(2026 - 01 - 02)));
        assert_eq!(with("b").one_of("x", ["a", "b"]).as_deref(), Some("b"));
        assert_eq!(with("me").person("x"), Some(Person::Me));
        assert_eq!(with("Ann").person("x"), Some(Person::Named("Ann".to_owned())));
        assert_eq!(with(&id.to_string()).person("x"), Some(Person::Id(id)));
    }

    #[test]
    fn an_empty_value_is_an_absent_one() {
        let mut fields = with("");
        assert_eq!(fields.uuid("x"), None);
        assert!(fields.into_faults().is_empty());
    }

    #[test]
    fn only_the_strict_end_refuses_unknown_keys() {
        assert!(with("a").finish_lenient("no").is_ok());
        assert!(with("a").finish("no").is_err());
        assert_eq!(only_fault(with("a")), "\"x\" is not a valid query param");
    }
}
