//! Lists: comma-separated with CSV quoting, a repeated flag, or a YAML list.

use ipnet::IpNet;
use serde_json::Value as Json;
use std::net::IpAddr;

use super::{Kind, LIST_ITEMS_MAX, Raw, Value};

/// Splits one CSV record. Unquoted entries are trimmed, empty ones dropped.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut items = Vec::new();
    let mut chars = text.chars().peekable();
    while chars.peek().is_some() {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let mut item = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next() {
                    Some('"') if chars.next_if_eq(&'"').is_some() => item.push('"'),
                    Some('"') => break,
                    Some(c) => item.push(c),
                    None => return Err("a quotation mark is not closed".to_owned()),
                }
            }
            while chars.next_if(|c| c.is_whitespace()).is_some() {}
            if chars.peek().is_some_and(|c| *c != ',') {
                return Err("text follows a closed quotation mark".to_owned());
            }
            items.push(item);
        } else {
            while let Some(c) = chars.next_if(|c| *c != ',') {
                if c == '"' {
                    return Err("a quotation mark stands inside an unquoted entry".to_owned());
                }
                item.push(c);
            }
            let trimmed = item.trim();
            if !trimmed.is_empty() {
                items.push(trimmed.to_owned());
            }
        }
        chars.next();
        if items.len() > LIST_ITEMS_MAX {
            return Err(format!("more than {LIST_ITEMS_MAX} entries"));
        }
    }
    Ok(items)
}

/// The CSV record that [`split`] reads as `items`.
pub(super) fn join(items: &[String]) -> String {
    let quoted: Vec<String> = items
        .iter()
        .map(|item| {
            let plain = !item.is_empty() && item.trim() == item && !item.contains([',', '"']);
            if plain { item.clone() } else { format!("\"{}\"", item.replace('"', "\"\"")) }
        })
        .collect();
    quoted.join(",")
}

impl<T: Value> Value for Vec<T> {
    const KIND: Kind = Kind::List;
    const EMPTY: bool = true;
    const SECRET: bool = T::SECRET;

    fn parse(raw: &Raw) -> Result<Self, String> {
        let items = raw.items()?;
        if items.len() > LIST_ITEMS_MAX {
            return Err(format!("more than {LIST_ITEMS_MAX} entries"));
        }
        let numbered = items.into_iter().enumerate();
        numbered
            .map(|(index, item)| {
                T::parse(&Raw::Text(item))
                    .map_err(|reason| format!("entry {}: {reason}", index + 1))
            })
            .collect()
    }

    fn to_raw(&self) -> Raw {
        if T::SECRET {
            return Raw::Items(Vec::new());
        }
        Raw::Items(self.iter().map(|item| item.to_raw().to_string()).collect())
    }

    fn to_json(&self) -> Json {
        if T::SECRET {
            return Json::Array(Vec::new());
        }
        Json::Array(self.iter().map(Value::to_json).collect())
    }
}

impl Value for IpNet {
    const KIND: Kind = Kind::Text;

    /// A network such as `10.0.0.0/8`, or one address.
    fn parse(raw: &Raw) -> Result<Self, String> {
        let text = raw.single()?;
        text.parse::<Self>()
            .or_else(|_| text.parse::<IpAddr>().map(Self::from))
            .map_err(|_| "neither an IP address nor a network such as 10.0.0.0/8".to_owned())
    }

    fn to_raw(&self) -> Raw {
        Raw::text(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_csv_with_forgiving_blanks() {
        for (text, want) in [
            ("", vec![]),
            ("a", vec!["a"]),
            ("a, b ,c", vec!["a", "b", "c"]),
            ("a,,b,", vec!["a", "b"]),
            ("\"a,b\",c", vec!["a,b", "c"]),
            ("\"say \"\"hi\"\"\" , x", vec!["say \"hi\"", "x"]),
            ("\"\"", vec![""]),
        ] {
            assert_eq!(split(text).expect(text), want, "{text}");
        }
    }

    #[test]
    fn broken_quoting_is_refused() {
        for text in ["\"a", "\"a\"b", "a\"b"] {
            assert!(split(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_may_be_single_addresses() {
        let raw = Raw::text("10.0.0.0/8,192.0.2.1,::1");
        let nets = Vec::<IpNet>::parse(&raw).expect("valid");
        assert_eq!(nets.len(), 3);
        let refused = Vec::<IpNet>::parse(&Raw::text("10.0.0.0/8,nonsense")).unwrap_err();
        assert!(refused.starts_with("entry 2: "), "{refused}");
    }

    proptest! {
        #[test]
        fn lists_survive_their_text(items in proptest::collection::vec("\\PC{0,12}", 0..6)) {
            prop_assert_eq!(split(&join(&items)), Ok(items));
        }
    }
}
