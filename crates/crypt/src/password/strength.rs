/// Longest password taken, in bytes.
const BYTES_MAX: usize = 64;
/// Least estimated entropy, in bits.
const BITS_MIN: f64 = 52.0;

/// Rows in which neighbours are easy to guess: alphabet, digits and the rows of a keyboard.
const ROWS: [&str; 5] =
    ["abcdefghijklmnopqrstuvwxyz", "0123456789", "qwertyuiop", "asdfghjkl", "zxcvbnm"];

/// Judges a password by the pool of characters it draws from: bits = length × log2(pool), at least 52.
///
/// Pools: lower case 26, upper case 26, digits 10, `!@$&*` 5, `_-., ` 5, other ASCII symbols 22, and 64
/// for characters beyond ASCII. Of a run of equal characters, or of neighbours in the alphabet or on a
/// keyboard in either direction, only the first two count. At most 64 bytes.
///
/// # Errors
/// What to change, as a sentence for people; never contains the password.
pub fn check_strength(password: &str) -> Result<(), String> {
    if password.len() > BYTES_MAX {
        return Err(format!("must be no more than {BYTES_MAX} characters"));
    }
    let kept = collapse(password);
    let pools = Pools::of(&kept);
    // At most 64 characters and a pool of 158: exact in a double.
    let bits = kept.iter().map(|_| f64::from(pools.size()).log2()).sum::<f64>();
    if bits >= BITS_MIN {
        return Ok(());
    }
    let advice = pools.missing();
    Err(if advice.is_empty() {
        "insecure password, try using a longer password".to_owned()
    } else {
        format!("insecure password, try {} or using a longer password", advice.join(", "))
    })
}

/// The characters that count.
fn collapse(password: &str) -> Vec<char> {
    let mut kept = Vec::new();
    let mut before: Option<char> = None;
    let mut step_before: Option<i8> = None;
    for this in password.chars() {
        let step = before.and_then(|before| step(before, this));
        if step.is_none() || step != step_before {
            kept.push(this);
        }
        before = Some(this);
        step_before = step;
    }
    kept
}

/// 0 for the same character, 1 or -1 for neighbours in a row (ignoring case), `None` for strangers.
fn step(from: char, to: char) -> Option<i8> {
    if from == to {
        return Some(0);
    }
    let (from, to) = (from.to_ascii_lowercase(), to.to_ascii_lowercase());
    ROWS.iter().find_map(|row| {
        let (from, to) = (row.find(from)?, row.find(to)?);
        match (from.checked_add(1), to.checked_add(1)) {
            (Some(next), _) if next == to => Some(1),
            (_, Some(next)) if next == from => Some(-1),
            _ => None,
        }
    })
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "seven independent kinds of characters")]
struct Pools {
    lower: bool,
    upper: bool,
    digit: bool,
    replacing: bool,
    separating: bool,
    symbol: bool,
    foreign: bool,
}

impl Pools {
    fn of(characters: &[char]) -> Self {
        let mut pools = Self::default();
        for character in characters {
            match character {
                'a'..='z' => pools.lower = true,
                'A'..='Z' => pools.upper = true,
                '0'..='9' => pools.digit = true,
                '!' | '@' | '$' | '&' | '*' => pools.replacing = true,
                '_' | '-' | '.' | ',' | ' ' => pools.separating = true,
                other if other.is_ascii() => pools.symbol = true,
                _ => pools.foreign = true,
            }
        }
        pools
    }

    fn size(&self) -> u32 {
        [
            (self.lower, 26),
            (self.upper, 26),
            (self.digit, 10),
            (self.replacing, 5),
            (self.separating, 5),
            (self.symbol, 22),
            (self.foreign, 64),
        ]
        .into_iter()
        .filter_map(|(used, size)| used.then_some(size))
        .sum::<u32>()
        .max(1)
    }

    fn missing(&self) -> Vec<&'static str> {
        [
            (self.replacing && self.separating && self.symbol, "including more special characters"),
            (self.lower, "using lowercase letters"),
            (self.upper, "using uppercase letters"),
            (self.digit, "using numbers"),
        ]
        .into_iter()
        .filter_map(|(used, advice)| (!used).then_some(advice))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn weak_passwords_are_refused() {
        for password in [
            "",
            "password",
            "Passwor1",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "abcdefghijklmnopqrstuvwxyz",
            "zyxwvutsrqponmlkjihgfedcba",
            "AbCdEfGhIjKlMnOpQrStUvWxYz",
            "qwertyuiopasdfghjkl",
            "01234567890123456789",
            "\u{65e5}\u{672c}\u{8a9e}",
        ] {
            let advice = check_strength(password).expect_err(password);
            assert!(advice.ends_with("using a longer password"), "{password}: {advice}");
        }
    }

    #[test]
    fn strong_passwords_are_taken() {
        for password in [
            "SomeSecurePassword!",
            "tundra-violet-anchor",
            "xkmwpzvbrtlq",
            "T7#kq!zP9v",
            "\u{65e5}\u{672c}\u{8a9e}\u{306e}\u{5408}\u{8a00}\u{8449}\u{4f8b}\u{3060}",
        ] {
            assert_eq!(check_strength(password), Ok(()), "{password}");
        }
    }

    #[test]
    fn length_is_counted_in_bytes_up_to_64() {
        let fits = "Ab1!xK9_".repeat(8);
        assert_eq!(check_strength(&fits), Ok(()));
        assert_eq!(
            check_strength(&format!("{fits}x")),
            Err("must be no more than 64 characters".to_owned())
        );
        assert!(check_strength(&"\u{e4}".repeat(33)).is_err());
    }

    #[test]
    fn advice_names_only_what_is_missing() {
        assert_eq!(
            check_strength("abUV12").unwrap_err(),
            "insecure password, try including more special characters or using a longer password"
        );
        assert_eq!(
            check_strength("ab").unwrap_err(),
            "insecure password, try including more special characters, using uppercase letters, \
             using numbers or using a longer password"
        );
    }

    #[test]
    fn runs_count_their_first_two_characters() {
        for (password, kept) in [
            ("aaaa", "aa"),
            ("abcd", "ab"),
            ("dcba", "dc"),
            ("abab", "abab"),
            ("aabbcc", "aabbcc"),
            ("x999y", "x99y"),
        ] {
            assert_eq!(collapse(password).into_iter().collect::<String>(), kept, "{password}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gets_a_verdict_that_does_not_repeat_it(password in "[PLANTED]{7,20}") {
            if let Err(advice) = check_strength(&password) {
                prop_assert!(!advice.contains(&password));
            }
        }
    }
}
