//! A provider's own keys: tried in order, set aside for a while when the provider refuses them.
//!
//! No state is for ever: a refused key is tried again after a pause that doubles with every further
//! refusal, a rate-limited one after the time that the provider asked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use stdx::{Secret, mask};
use time::OffsetDateTime;

use crate::provider::AuthHeader;

/// First pause after a refusal, and the pause after a rate limit that names none.
pub const COOL_DOWN: Duration = Duration::from_mins(1);
/// Longest pause after repeated refusals.
pub const REFUSED_MAX: Duration = Duration::from_mins(10);
/// Shortest pause after a rate limit: a provider that says "now" is not asked again at once all the same.
pub const LIMITED_MIN: Duration = Duration::from_secs(1);
/// Longest pause after a rate limit, whatever the provider asks for; then one request finds out.
pub const LIMITED_MAX: Duration = Duration::from_hours(1);

/// Why a provider turned a key away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 429.
    RateLimited,
}

impl Rejection {
    /// Whether an answer with this status is the key's fault, so that another key may do better.
    #[must_use]
    pub const fn of(status: StatusCode) -> Option<Self> {
        match status.as_u16() {
            401 => Some(Self::Unauthorized),
            403 => Some(Self::Forbidden),
            429 => Some(Self::RateLimited),
            _ => None,
        }
    }

    /// The name used in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
        }
    }
}

/// One key and how it fares.
#[derive(Debug)]
pub struct Key {
    secret: Secret<String>,
    hint: String,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Set aside until then, and why.
    aside: Option<(OffsetDateTime, Rejection)>,
    /// Refusals since the last success.
    refusals: u32,
}

impl Key {
    /// Its mask, for records and logs.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn aside(&self, now: OffsetDateTime) -> Option<(Duration, Rejection)> {
        let (until, why) = self.state().aside?;
        let left = Duration::try_from(until - now).ok()?;
        // No pause is that long: the clock went back.
        (!left.is_zero() && left <= LIMITED_MAX).then_some((left, why))
    }

    /// The provider accepted the key.
    pub fn accepted(&self) {
        self.state().refusals = 0;
    }

    /// The provider turned the key away. A shorter pause never shortens a running one.
    pub fn rejected(&self, why: Rejection, retry_after: Option<Duration>, now: OffsetDateTime) {
        let mut state = self.state();
        let pause = match why {
            Rejection::RateLimited => {
                retry_after.unwrap_or(COOL_DOWN).clamp(LIMITED_MIN, LIMITED_MAX)
            }
            Rejection::Unauthorized | Rejection::Forbidden => {
                let pause = COOL_DOWN.saturating_mul(1 << state.refusals.min(8));
                state.refusals = state.refusals.saturating_add(1);
                pause.min(REFUSED_MAX)
            }
        };
        let until = now + pause;
        let still = state.aside.filter(|(running, _)| *running - now <= LIMITED_MAX);
        if still.is_none_or(|(running, _)| running < until) {
            state.aside = Some((until, why));
        }
    }
}

/// Why no key of the pool is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// At least one key is only rate limited.
    pub limited: bool,
    /// When the first key is back.
    pub retry_after: Duration,
}

/// How many keys are usable and how many are set aside, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Usable now.
    pub valid: u32,
    /// Set aside after a rate limit.
    pub limited: u32,
    /// Set aside after a refusal.
    pub refused: u32,
}

/// The keys of one provider, in the order in which they are tried.
#[derive(Debug)]
pub struct KeyPool {
    auth: AuthHeader,
    keys: Vec<Arc<Key>>,
}

impl KeyPool {
    /// Checks the keys. Keys that `before` holds too are shared with it, cool-downs included.
    ///
    /// # Errors
    /// A text that names the number of the offending key: blank, not fit for a header, or a duplicate.
    pub(crate) fn build(
        auth: AuthHeader,
        secrets: &[Secret<String>],
        before: Option<&Self>,
    ) -> Result<Self, String> {
        let mut keys: Vec<Arc<Key>> = Vec::with_capacity(secrets.len());
        for (number, secret) in (1..).zip(secrets) {
            let text = secret.expose().trim();
            if text.is_empty() || HeaderValue::from_str(text).is_err() {
                return Err(format!(
                    "keys: number {number} is blank or has characters that no header can carry; enter it again"
                ));
            }
            if keys.iter().any(|key| key.secret.expose() == text) {
                return Err(format!(
                    "keys: duplicate key (number {number}); remove one of the two"
                ));
            }
            let known =
                before.and_then(|pool| pool.keys.iter().find(|key| key.secret.expose() == text));
            keys.push(known.map_or_else(
                || {
                    Arc::new(Key {
                        secret: Secret::from(text),
                        hint: mask(text),
                        state: Mutex::default(),
                    })
                },
                Arc::clone,
            ));
        }
        Ok(Self { auth, keys })
    }

    /// Whether the provider has no key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys there are: the most attempts that one request makes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The first usable key at or behind `from`, with its position.
    #[must_use]
    pub fn next(&self, from: usize, now: OffsetDateTime) -> Option<(usize, &Arc<Key>)> {
        let rest = self.keys.iter().enumerate().skip(from);
        rest.into_iter().find(|(_, key)| key.aside(now).is_none())
    }

    /// The header that carries `key` upstream.
    #[must_use]
    pub fn header(&self, key: &Key) -> (HeaderName, HeaderValue) {
        auth_header(self.auth, key.secret.expose())
    }

    /// What to tell a client when [`Self::next`] found nothing.
    #[must_use]
    pub fn exhausted(&self, now: OffsetDateTime) -> Exhausted {
        let mut limited = false;
        let mut retry_after = None::<Duration>;
        for (left, why) in self.keys.iter().filter_map(|key| key.aside(now)) {
            limited |= why == Rejection::RateLimited;
            retry_after = Some(retry_after.map_or(left, |least| least.min(left)));
        }
        Exhausted { limited, retry_after: retry_after.unwrap_or(Duration::from_secs(1)) }
    }

    /// Counts the keys by state.
    #[must_use]
    pub fn census(&self, now: OffsetDateTime) -> Census {
        let mut census = Census::default();
        for key in &self.keys {
            match key.aside(now) {
                None => census.valid += 1,
                Some((_, Rejection::RateLimited)) => census.limited += 1,
                Some((_, Rejection::Unauthorized | Rejection::Forbidden)) => census.refused += 1,
            }
        }
        census
    }
}

/// A credential as a header that debug output does not show.
pub(crate) fn auth_header(auth: AuthHeader, secret: &str) -> (HeaderName, HeaderValue) {
    let (name, text) = match auth {
        AuthHeader::Bearer => (header::AUTHORIZATION, Secret::new(format!("Bearer {secret}"))),
        AuthHeader::XApiKey => {
            (HeaderName::from_static("x-api-key"), Secret::new(secret.to_owned()))
        }
    };
    // Checked when the key came in; an empty value is refused upstream like any wrong one.
    let mut value =
        HeaderValue::from_str(text.expose()).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    (name, value)
}

/// Reads `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date in any of the three forms of HTTP.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = OffsetDateTime::from(httpdate::parse_http_date(text).ok()?);
    Some(Duration::try_from(at - now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(keys: &[&str]) -> KeyPool {
        let keys: Vec<_> = keys.iter().map(|&key| Secret::from(key)).collect();
        KeyPool::build(AuthHeader::Bearer, &keys, None).unwrap()
    }

    fn at(seconds: u64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_refused_key_pauses_twice_as_long_each_time_up_to_ten_minutes() {
        let pool = pool(&["a"]);
        let mut now = 0;
        for pause in [60, 120, 240, 480, 600, 600] {
            let (_, key) = pool.next(0, at(now)).expect("usable again");
            key.rejected(Rejection::Unauthorized, None, at(now));
            assert!(pool.next(0, at(now + pause - 1)).is_none(), "{pause}");
            now += pause;
        }
        let (_, key) = pool.next(0, at(now)).unwrap();
        key.accepted();
        key.rejected(Rejection::Forbidden, None, at(now));
        assert!(pool.next(0, at(now + 60)).is_some(), "success starts over");
    }

    #[test]
    fn a_shorter_limit_never_shortens_a_running_one_and_long_ones_are_capped() {
        let pool = pool(&["a"]);
        let (_, key) = pool.next(0, at(0)).unwrap();
        key.rejected(Rejection::RateLimited, Some(Duration::from_secs(100)), at(0));
        key.rejected(Rejection::RateLimited, Some(Duration::from_secs(5)), at(0));
        assert_eq!(pool.exhausted(at(10)).retry_after, Duration::from_secs(90));
        key.rejected(Rejection::RateLimited, Some(Duration::from_secs(1 << 40)), at(0));
        assert_eq!(pool.exhausted(at(0)).retry_after, LIMITED_MAX);
    }

    #[test]
    fn a_provider_that_says_now_or_never_is_asked_again_neither_at_once_nor_never() {
        for (asked, rests) in [(0, LIMITED_MIN), (u64::MAX, LIMITED_MAX)] {
            let pool = pool(&["a"]);
            let (_, key) = pool.next(0, at(0)).unwrap();
            key.rejected(Rejection::RateLimited, Some(Duration::from_secs(asked)), at(0));
            let want = Exhausted { limited: true, retry_after: rests };
            assert_eq!(pool.exhausted(at(0)), want, "{asked}");
            assert!(pool.next(0, at(rests.as_secs())).is_some(), "{asked}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_keeps_no_key_away() {
        let pool = pool(&["a"]);
        let (_, key) = pool.next(0, at(0)).unwrap();
        key.rejected(Rejection::RateLimited, Some(LIMITED_MAX), at(1_000_000));
        assert!(pool.next(0, at(0)).is_some());
        key.rejected(Rejection::RateLimited, None, at(0));
        assert_eq!(pool.exhausted(at(0)).retry_after, COOL_DOWN);
    }

    #[test]
    fn exhaustion_is_a_limit_if_one_key_is_only_limited() {
        let pool = pool(&["a", "b"]);
        let (first, key) = pool.next(0, at(0)).unwrap();
        key.rejected(Rejection::Unauthorized, None, at(0));
        let (second, key) = pool.next(first + 1, at(0)).unwrap();
        assert_eq!((first, second), (0, 1));
        key.rejected(Rejection::RateLimited, Some(Duration::from_secs(7)), at(0));
        let want = Exhausted { limited: true, retry_after: Duration::from_secs(7) };
        assert_eq!(pool.exhausted(at(0)), want);
        let want = Census { valid: 1, limited: 0, refused: 1 };
        assert_eq!(pool.census(at(7)), want);
    }

    #[test]
    fn a_rebuilt_pool_remembers_keys_that_stay() {
        let old = pool(&["a", "b"]);
        old.next(0, at(0)).unwrap().1.rejected(Rejection::Unauthorized, None, at(0));
        let keys = [Secret::from("c"), Secret::from("a")];
        let new = KeyPool::build(AuthHeader::XApiKey, &keys, Some(&old)).unwrap();
        assert_eq!(new.census(at(1)), Census { valid: 1, limited: 0, refused: 1 });
        assert_eq!(new.next(1, at(1)).map(|(at, _)| at), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (text, want) in [
            ("7", Some(7)),
            ("Thu, 01 Jan 1970 00:01:40 GMT", Some(90)),
            ("Thursday, 01-Jan-70 00:01:40 GMT", Some(90)),
            ("Thu Jan  1 00:01:40 1970", Some(90)),
            ("Thu, 01 Jan 1970 00:00:01 GMT", Some(0)),
            ("", None),
            ("99999999999999999999", None),
            ("soon", None),
            ("-1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            let got = retry_after(&headers, at(10)).map(|pause| pause.as_secs());
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn debug_output_shows_no_key() {
        let pool = pool(&["sk-planted-secret-0123456789"]);
        let (_, key) = pool.next(0, at(0)).unwrap();
        let shown = format!("{pool:?} {:?}", pool.header(key));
        assert!(!shown.contains("planted"), "{shown}");
    }
}
