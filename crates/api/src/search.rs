//! The grammar of `q`, the search box of lists.
//!
//! Elements are separated by spaces outside double quotes. `key:value` narrows by a key; elements without a
//! colon are joined by one space into one free term, which goes to the list's default key. A colon that
//! belongs to a value must be quoted: `started_after:"2026-01-02T03:04:05Z"`.

mod fields;
mod names;

pub(crate) use fields::{Fields, Person};
pub(crate) use names::organization;

/// What happens to letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Values stay as typed.
    Keep,
    /// The whole query is made lower case.
    Lower,
}

/// What happens to the free term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bare {
    /// It is the value of this key.
    Is(&'static str),
    /// It is a fault.
    Refused,
}

/// Splits `query` into its keys and values. Faults travel in the result, so that they are answered together
/// with those of the values.
pub(crate) fn parse(query: &str, case: Case, bare: Bare) -> Fields {
    let lowered;
    let query = match case {
        Case::Keep => query,
        Case::Lower => {
            lowered = query.to_lowercase();
            &lowered
        }
    };
    let mut fields = Fields::default();
    let mut free = String::new();
    for element in split(query, ' ').filter(|element| !element.is_empty()) {
        let mut parts = split(element, ':');
        let (Some(key), value, more) = (parts.next(), parts.next(), parts.next()) else { continue };
        let Some(value) = value else {
            if !free.is_empty() {
                free.push(' ');
            }
            free.push_str(&unquoted(element));
            continue;
        };
        if element.starts_with(':') || element.ends_with(':') {
            fields.fault("q", format!("Query element {element:?} cannot start or end with ':'"));
        } else if more.is_some() {
            fields.fault("q", format!("Query element {element:?} can only contain 1 ':'"));
        } else {
            fields.add(unquoted(key).to_lowercase(), unquoted(value));
        }
    }
    if !free.is_empty() {
        match bare {
            Bare::Is(key) => fields.add(key.to_owned(), free),
            Bare::Refused => fields.fault("q", "no search key specified"),
        }
    }
    fields
}

/// The parts of `text` between delimiters that are not inside quotes. A quote that is never closed reaches to
/// the end.
fn split(text: &str, delimiter: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |letter| {
        quoted ^= letter == '"';
        letter == delimiter && !quoted
    })
}

fn unquoted(text: &str) -> String {
    text.replace('"', "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keep(query: &str) -> Fields {
        parse(query, Case::Keep, Bare::Is("initiator"))
    }

    fn faults(fields: Fields) -> Vec<(String, String)> {
        fields.into_faults().into_iter().map(|fault| (fault.field, fault.detail)).collect()
    }

    #[test]
    fn refuses_elements_out_of_shape_all_at_once() {
        let found = faults(keep("a: :b one:two:three model:x"));
        let details: Vec<&str> = found.iter().map(|(_, detail)| detail.as_str()).collect();
        assert_eq!(
            details,
            [
                "Query element \"a:\" cannot start or end with ':'",
                "Query element \":b\" cannot start or end with ':'",
                "Query element \"one:two:three\" can only contain 1 ':'",
                "\"model\" is not a valid query param",
            ]
        );
        assert!(found.iter().take(3).all(|(field, _)| field == "q"));
        assert_eq!(found.last().map(|(field, _)| field.as_str()), Some("model"));
    }

    #[test]
    fn reads_pairs_quotes_and_free_words() {
        for (query, key, value) in [
            ("model:gpt-5", "model", "gpt-5"),
            ("MODEL:GPT-5", "model", "GPT-5"),
            ("model:\"a b:c\"", "model", "a b:c"),
            ("\"model\":x", "model", "x"),
            ("model:mo\"d e\"l", "model", "mod el"),
            ("model:\"never closed: x", "model", "never closed: x"),
            ("foo bar", "initiator", "foo bar"),
            ("foo model:x bar", "initiator", "foo bar"),
            ("\"foo:bar\"", "initiator", "foo:bar"),
            ("  foo   bar  ", "initiator", "foo bar"),
        ] {
            assert_eq!(keep(query).text(key).as_deref(), Some(value), "{query}");
        }
    }

    #[test]
    fn lowers_the_whole_query_only_where_told() {
        let mut lowered = parse("Model:GPT", Case::Lower, Bare::Refused);
        assert_eq!(lowered.text("model").as_deref(), Some("gpt"));
        assert!(faults(lowered).is_empty());
    }

    #[test]
    fn a_free_term_may_be_refused_and_may_collide_with_its_key() {
        let refused = faults(parse("foo", Case::Keep, Bare::Refused));
        assert_eq!(refused, [("q".to_owned(), "no search key specified".to_owned())]);
        let mut twice = keep("foo initiator:bar");
        assert_eq!(twice.text("initiator"), None);
        assert_eq!(faults(twice).len(), 1);
    }

    #[test]
    fn nothing_asked_is_nothing_found() {
        for query in ["", " ", "\"\"", "model:\"\""] {
            let mut fields = keep(query);
            assert_eq!(fields.text("model"), None, "{query}");
            assert_eq!(fields.text("initiator"), None, "{query}");
            assert!(faults(fields).is_empty(), "{query}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(query in ".{0,200}") {
            for case in [Case::Keep, Case::Lower] {
                for bare in [Bare::Is("initiator"), Bare::Refused] {
                    let fields = parse(&query, case, bare);
                    let holds_more = query.chars().any(|letter| letter != ' ' && letter != '"');
                    if !holds_more {
                        prop_assert!(faults(fields).iter().all(|(field, _)| field != "q"));
                    }
                }
            }
        }

        #[test]
        fn quoted_values_survive(
            terms in prop::collection::btree_map("[a-z_]{1,12}", "[^\"\0]{1,40}", 0..6),
            bare in "[a-z]{0,8}",
        ) {
            let mut query = bare.clone();
            for (key, value) in &terms {
                query.extend([" ", key, ":\"", value, "\""]);
            }
            let mut fields = parse(&query, Case::Keep, Bare::Is("the free term"));
            for (key, value) in &terms {
                let found = fields.text(key);
                prop_assert_eq!(found.as_ref(), Some(value));
            }
            let free = fields.text("the free term").unwrap_or_default();
            prop_assert_eq!(free, bare);
            prop_assert!(faults(fields).is_empty());
        }
    }
}
