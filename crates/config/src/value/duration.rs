//! Durations in Go's notation, with days added: `1h30m`, `60d`, `0`.

use std::time::Duration;

use serde_json::Value as Json;

use super::{Kind, Raw, Value};

/// Go keeps durations in 63 bits of nanoseconds (292 years); clients cannot represent more.
const NANOS_MAX: u128 = i64::MAX as u128;

/// Longer unit names first where one is the prefix of another.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
];

fn parse(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.starts_with('-') {
        return Err("a negative duration makes no sense here".to_owned());
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err("not a duration".to_owned());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (nanos, after) = component(rest)?;
        total = total.saturating_add(nanos);
        if total > NANOS_MAX {
            return Err("longer than 292 years".to_owned());
        }
        rest = after;
    }
    u64::try_from(total).map(Duration::from_nanos).map_err(|_| "longer than 292 years".to_owned())
}

/// One number with its unit from the front of `text`, in nanoseconds, and what follows.
fn component(text: &str) -> Result<(u128, &str), String> {
    let not_a_duration = || "not a duration".to_owned();
    let (number, rest) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(|| "the unit is missing".to_owned())?,
    );
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(not_a_duration());
    }
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, after) = rest.split_at(unit_end);
    let scale = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, scale)| *scale)
        .ok_or_else(|| "unknown unit (known: ns, us, ms, s, m, h, d)".to_owned())?;
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().map_err(|_| "longer than 292 years".to_owned())?
    };
    let mut nanos = whole.saturating_mul(scale);
    let mut place = scale;
    for digit in fraction.chars() {
        place /= 10;
        nanos = nanos.saturating_add(u128::from(digit.to_digit(10).unwrap_or(0)) * place);
    }
    Ok((nanos, after))
}

/// Go's notation without days, so that other readers of the format understand it: `1h30m0s`.
pub(crate) fn format_duration(duration: Duration) -> String {
    let nanos = duration.subsec_nanos();
    let secs = duration.as_secs();
    if secs == 0 && nanos > 0 {
        let (scale, unit) = match nanos {
            1_000_000.. => (1_000_000, "ms"),
            1_000.. => (1_000, "us"),
            _ => (1, "ns"),
        };
        return format!("{}{unit}", decimal(nanos / scale, nanos % scale, scale));
    }
    let (hours, minutes, secs) = (secs / 3600, secs / 60 % 60, secs % 60);
    let secs = decimal(u32::try_from(secs).unwrap_or(0), nanos, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{secs}s"),
        (0, minutes) => format!("{minutes}m{secs}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{secs}s"),
    }
}

/// `whole` and the decimal fraction `part / scale`, without trailing zeros.
fn decimal(whole: u32, part: u32, scale: u32) -> String {
    if part == 0 {
        return whole.to_string();
    }
    let width = usize::try_from(scale.ilog10()).unwrap_or(0);
    let fraction = format!("{part:0width$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

impl Value for Duration {
    const KIND: Kind = Kind::Duration;

    fn parse(raw: &Raw) -> Result<Self, String> {
        parse(raw.single()?)
    }

    fn to_raw(&self) -> Raw {
        Raw::text(format_duration(*self))
    }

    /// Nanoseconds.
    fn to_json(&self) -> Json {
        Json::from(i64::try_from(self.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Nanoseconds.
    fn number(&self) -> Option<i128> {
        i128::try_from(self.as_nanos()).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_follow_go_with_days_added() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("1h30m", 5_400_000_000_000),
            ("60d", 5_184_000_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("15ms", 15_000_000),
            ("1us2ns", 1_002),
            ("876600h", 3_155_760_000_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "1",
            "-1h",
            "h",
            "1x",
            "1h30",
            ".s",
            "1..5s",
            "1.2.3s",
            "300y",
            "999999999h",
            "1 h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_printed_as_go_prints_them() {
        for (text, want) in [
            ("0", "0s"),
            ("60d", "1440h0m0s"),
            ("90s", "1m30s"),
            ("15ms", "15ms"),
            ("1.5s", "1.5s"),
            ("1500us", "1.5ms"),
            ("1h0.25s", "1h0m0.25s"),
        ] {
            assert_eq!(format_duration(parse(text).expect(text)), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn durations_survive_their_text(nanos in 0..=i64::MAX.unsigned_abs()) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
