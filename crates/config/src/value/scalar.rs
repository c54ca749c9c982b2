//! Texts, truth values, numbers, URLs, paths, byte counts and secrets.

use std::path::PathBuf;

use serde_json::Value as Json;
use stdx::Secret;
use url::Url;

use super::{Kind, Raw, Value};

impl Value for String {
    const KIND: Kind = Kind::Text;
    const EMPTY: bool = true;

    fn parse(raw: &Raw) -> Result<Self, String> {
        raw.single().map(str::to_owned)
    }

    fn to_raw(&self) -> Raw {
        Raw::text(self)
    }
}

impl Value for bool {
    const KIND: Kind = Kind::Bool;

    fn parse(raw: &Raw) -> Result<Self, String> {
        match raw.single()? {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err("not a truth value".to_owned()),
        }
    }

    fn to_raw(&self) -> Raw {
        Raw::text(self.to_string())
    }

    fn to_json(&self) -> Json {
        Json::Bool(*self)
    }
}

macro_rules! integers {
    ($($ty:ty),+) => { $(
        impl Value for $ty {
            const KIND: Kind = Kind::Integer;

            fn parse(raw: &Raw) -> Result<Self, String> {
                let number: i128 =
                    raw.single()?.parse().map_err(|_| "not a whole number".to_owned())?;
                Self::try_from(number)
                    .map_err(|_| format!("must be between {} and {}", Self::MIN, Self::MAX))
            }

            fn to_raw(&self) -> Raw {
                Raw::text(self.to_string())
            }

            fn to_json(&self) -> Json {
                Json::from(*self)
            }

            fn number(&self) -> Option<i128> {
                Some(i128::from(*self))
            }
        }
    )+ };
}

integers!(u32, i64);

impl Value for Url {
    const KIND: Kind = Kind::Url;

    fn parse(raw: &Raw) -> Result<Self, String> {
        Self::parse(raw.single()?).map_err(|err| format!("not an absolute URL: {err}"))
    }

    fn to_raw(&self) -> Raw {
        Raw::text(self.as_str())
    }
}

impl Value for PathBuf {
    const KIND: Kind = Kind::Path;
    const EMPTY: bool = true;

    fn parse(raw: &Raw) -> Result<Self, String> {
        let text = raw.single()?;
        if text.contains('\0') {
            return Err("a path cannot contain a NUL character".to_owned());
        }
        Ok(Self::from(text))
    }

    fn to_raw(&self) -> Raw {
        Raw::text(self.to_string_lossy())
    }
}

impl Value for Secret<String> {
    const KIND: Kind = Kind::Text;
    const SECRET: bool = true;

    fn parse(raw: &Raw) -> Result<Self, String> {
        match raw.single()? {
            "" => Err("is empty".to_owned()),
            text => Ok(Self::from(text)),
        }
    }

    fn to_raw(&self) -> Raw {
        Raw::text("")
    }
}

/// A number of bytes. Text forms: `1048576`, `64KiB`, `512MiB`, `1GiB`, `2TiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

impl Value for ByteSize {
    const KIND: Kind = Kind::Size;

    fn parse(raw: &Raw) -> Result<Self, String> {
        let text = raw.single()?;
        let (digits, shift) = UNITS
            .iter()
            .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?.trim_end(), *shift)))
            .unwrap_or((text, 0));
        let number: u64 = digits.parse().map_err(|_| "not a number of bytes".to_owned())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(|| "too large".to_owned())
    }

    fn to_raw(&self) -> Raw {
        let text = UNITS
            .iter()
            .find(|(_, shift)| self.0 > 0 && self.0.trailing_zeros() >= *shift)
            .map_or_else(
                || self.0.to_string(),
                |(unit, shift)| format!("{}{unit}", self.0 >> shift),
            );
        Raw::text(text)
    }

    fn to_json(&self) -> Json {
        Json::from(self.0)
    }

    fn number(&self) -> Option<i128> {
        Some(i128::from(self.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn truth_values_are_the_six_usual_spellings() {
        for (text, want) in [("1", true), ("t", true), ("TRUE", true), ("0", false), ("f", false)] {
            assert_eq!(bool::parse(&Raw::text(text)), Ok(want), "{text}");
        }
        for text in ["", "yes", "2", "tRUE"] {
            assert!(bool::parse(&Raw::text(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn integers_refuse_what_does_not_fit() {
        assert_eq!(u32::parse(&Raw::text(" 7 ")), Ok(7));
        for text in ["-1", "4294967296", "1.5", "", "x"] {
            assert!(u32::parse(&Raw::text(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_refused_value_is_not_repeated_in_the_reason() {
        let text = Raw::text("planted-secret");
        for reason in [
            bool::parse(&text).err(),
            u32::parse(&text).err(),
            <Url as Value>::parse(&text).err(),
            ByteSize::parse(&text).err(),
        ] {
            assert!(!reason.expect("refused").contains("planted-secret"));
        }
    }

    proptest! {
        #[test]
        fn byte_sizes_survive_their_text(bytes in any::<u64>()) {
            prop_assert_eq!(ByteSize::parse(&ByteSize(bytes).to_raw()), Ok(ByteSize(bytes)));
        }
    }
}
