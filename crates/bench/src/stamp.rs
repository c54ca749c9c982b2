//! Time that two processes of one machine agree about.

use rustix::time::{ClockId, clock_gettime};

/// Length of a stamp as text.
pub const LEN: usize = 20;

/// Nanoseconds of the monotonic clock, the same for all processes of this machine.
#[must_use]
pub fn now_ns() -> u64 {
    let at = clock_gettime(ClockId::Monotonic);
    let (secs, nanos) = (u64::try_from(at.tv_sec), u64::try_from(at.tv_nsec));
    secs.unwrap_or(0) * 1_000_000_000 + nanos.unwrap_or(0)
}

/// Writes `number` over `digits`, with zeros in front.
pub fn write_digits(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        // A remainder of ten always fits.
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// Reads digits; absent if there is anything else among them.
#[must_use]
pub fn read_digits(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |sum, byte| {
        byte.is_ascii_digit().then(|| sum.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_its_text() {
        for number in [0, 7, 1_234_567_890_123_456_789, u64::MAX] {
            let mut text = [0; LEN];
            write_digits(&mut text, number);
            assert_eq!(read_digits(&text), Some(number));
        }
        assert_eq!(read_digits(b"12a4"), None);
    }

    #[test]
    fn the_clock_does_not_go_back() {
        let first = now_ns();
        assert!(first > 0 && now_ns() >= first);
    }
}
