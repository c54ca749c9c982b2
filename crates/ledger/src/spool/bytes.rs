//! Numbers in fixed places. What lies beyond the end reads as zero.

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(chunk(bytes, at))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(chunk(bytes, at))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(chunk(bytes, at))
}

/// Copies `from` to a place in `out`, as far as it fits.
pub(crate) fn put(out: &mut [u8], at: usize, from: &[u8]) {
    for (to, from) in out.iter_mut().skip(at).zip(from) {
        *to = *from;
    }
}
