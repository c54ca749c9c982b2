use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use time::OffsetDateTime;
use uuid::{Builder, Uuid};

/// Where random bytes come from. The operating system in production, a seeded stream in tests.
pub trait Rng: Send + Sync + fmt::Debug + 'static {
    /// Fills `out` with random bytes.
    fn fill(&self, out: &mut [u8]);

    /// Fills `out` with random bytes for an identifier that is no secret. May come out of a stock kept in
    /// memory, which secrets must not.
    fn fill_id(&self, out: &mut [u8]) {
        self.fill(out);
    }

    /// A random UUID (version 4, RFC 9562 section 5.4).
    fn uuid_v4(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill_id(&mut bytes);
        Builder::from_random_bytes(bytes).into_uuid()
    }

    /// A UUID that sorts by its time of creation (version 7, RFC 9562 section 5.7).
    fn uuid_v7(&self, at: OffsetDateTime) -> Uuid {
        let mut bytes = [0; 10];
        self.fill_id(&mut bytes);
        version_7(at, &bytes)
    }

    /// The same for the `place`-th of several made at one instant: they sort by place, up to 4,096 of them
    /// (the dedicated counter of RFC 9562 section 6.2, method 1).
    fn uuid_v7_at(&self, at: OffsetDateTime, place: usize) -> Uuid {
        let mut bytes = [0; 10];
        self.fill_id(&mut bytes);
        let counter = u16::try_from(place).unwrap_or(u16::MAX).min(0x0FFF).to_be_bytes();
        for (to, from) in bytes.iter_mut().zip(counter) {
            *to = from;
        }
        version_7(at, &bytes)
    }

    /// `len` characters drawn evenly from `A-Z`, `a-z`, `0-9`.
    fn alphanumeric(&self, len: usize) -> String {
        const ALPHABET: &[u8; 62] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut text = String::with_capacity(len);
        let mut buf = [0; 64];
        while text.len() < len {
            self.fill(&mut buf);
            for byte in buf {
                // 248 is the largest multiple of 62 that fits a byte: reject the rest, or some letters
                // would be drawn more often than others.
                if byte < 248
                    && text.len() < len
                    && let Some(letter) = ALPHABET.get(usize::from(byte % 62))
                {
                    text.push(char::from(*letter));
                }
            }
        }
        text
    }
}

fn version_7(at: OffsetDateTime, bytes: &[u8; 10]) -> Uuid {
    let millis = u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    Builder::from_unix_timestamp_millis(millis, bytes).into_uuid()
}

/// A generator that many parts share.
pub type SharedRng = Arc<dyn Rng>;

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRng;

impl SystemRng {
    /// The operating system's generator, ready to be shared.
    #[must_use]
    pub fn shared() -> SharedRng {
        Arc::new(Self)
    }
}

impl Rng for SystemRng {
    #[expect(clippy::panic, reason = "a process without randomness must not go on making secrets")]
    fn fill(&self, out: &mut [u8]) {
        if let Err(error) = getrandom::fill(out) {
            panic!("the operating system gave no random bytes: {error}");
        }
    }

    fn fill_id(&self, out: &mut [u8]) {
        STOCK.with_borrow_mut(|stock| stock.take(out));
    }
}

/// A call to the operating system per identifier is a large part of what a small request costs, so each
/// thread keeps some bytes in stock.
struct Stock {
    bytes: [u8; 1024],
    used: usize,
}

thread_local! {
    static STOCK: RefCell<Stock> = const { RefCell::new(Stock { bytes: [0; 1024], used: 1024 }) };
}

impl Stock {
    fn take(&mut self, out: &mut [u8]) {
        if self.bytes.len() - self.used < out.len() {
            SystemRng.fill(&mut self.bytes);
            self.used = 0;
        }
        let to = self.used + out.len();
        match self.bytes.get(self.used..to) {
            Some(bytes) => {
                out.copy_from_slice(bytes);
                self.used = to;
            }
            // More than the stock ever holds.
            None => SystemRng.fill(out),
        }
    }
}

/// A repeatable stream of bytes (`SplitMix64`) for tests. Never a source of secrets.
#[derive(Debug)]
pub struct SeededRng(Mutex<u64>);

impl SeededRng {
    /// A stream that depends on `seed` alone.
    #[must_use]
    pub fn shared(seed: u64) -> SharedRng {
        Arc::new(Self(Mutex::new(seed)))
    }
}

impl Rng for SeededRng {
    fn fill(&self, out: &mut [u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in out.chunks_mut(8) {
            *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut word = *state;
            word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            word ^= word >> 31;
            for (to, from) in chunk.iter_mut().zip(word.to_le_bytes()) {
                *to = from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_v7_sorts_by_time_and_carries_its_version() {
        let rng = SeededRng::shared(1);
        let early = rng.uuid_v7(OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000));
        let late = rng.uuid_v7(OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_001));
        assert!(early < late);
        assert_eq!(early.get_version_num(), 7);
        assert_eq!(rng.uuid_v4().get_version_num(), 4);
    }

    #[test]
    fn identifiers_of_one_instant_sort_by_their_place() {
        let made: Vec<Uuid> =
            (0..300).map(|place| SystemRng.uuid_v7_at(OffsetDateTime::UNIX_EPOCH, place)).collect();
        assert!(made.is_sorted());
        assert!(made.iter().all(|id| id.get_version_num() == 7));
    }

    #[test]
    fn identifiers_do_not_repeat_when_the_stock_is_refilled() {
        let mut made: Vec<Uuid> = (0..1_000).map(|_| SystemRng.uuid_v4()).collect();
        made.sort_unstable();
        made.dedup();
        assert_eq!(made.len(), 1_000);
        let mut long = [0; 4_096];
        SystemRng.fill_id(&mut long);
        assert!(long.iter().any(|byte| *byte != 0));
    }

    #[test]
    fn alphanumeric_has_the_asked_length_and_alphabet() {
        let text = SystemRng.alphanumeric(200);
        assert_eq!(text.len(), 200);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric()));
    }
}
