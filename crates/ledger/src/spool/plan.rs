use crate::spool::preface::Checkpoint;

const SEGMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;
const SEGMENT_BYTES_MIN: u64 = 64 * 1024;
/// Room kept for what closes one open key: the usage of a request and its end, whatever texts they carry.
pub(crate) const RESERVE_BYTES: u64 = 16 * 1024;
/// Written whole, so that the disk never has to read what is overwritten.
pub(crate) const PAGE_BYTES: u32 = 4096;

/// How the bytes of a spool are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Of an ordinary segment.
    pub(crate) segment_bytes: u32,
    /// Of all segments together.
    pub(crate) segments_bytes: u64,
    /// Of copies of damaged segments.
    pub(crate) aside_bytes: u64,
    /// Of the file with the facts that were refused.
    pub(crate) refused_bytes: u64,
    /// Acknowledged segments that are overwritten only when there is nothing else.
    pub(crate) kept: usize,
    /// See [`RESERVE_BYTES`].
    pub(crate) reserve_bytes: u64,
}

impl Plan {
    pub(crate) fn new(max_bytes: u64) -> Self {
        let segment = (max_bytes / 64).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let segment = segment - segment % u64::from(PAGE_BYTES);
        let aside_bytes = (max_bytes / 32).max(segment);
        let refused_bytes = max_bytes / 32;
        // Cursor and lock take little.
        let rest = max_bytes.saturating_sub(aside_bytes + refused_bytes + 16 * 1024);
        let kept = usize::try_from(rest / segment / 4).unwrap_or(2).max(2);
        Self {
            segment_bytes: u32::try_from(segment).unwrap_or(PAGE_BYTES),
            segments_bytes: rest - rest % segment,
            aside_bytes,
            refused_bytes,
            kept,
            reserve_bytes: RESERVE_BYTES,
        }
    }

    /// Bytes for records in an ordinary segment that begins with so many open keys.
    pub(crate) fn capacity(&self, open: usize) -> u64 {
        u64::from(self.segment_bytes.saturating_sub(Checkpoint::room(open)))
    }

    /// Bytes to be kept for what closes so many keys. What is left over at the end of each segment on the
    /// way is part of it.
    pub(crate) fn reserve(&self, open: usize) -> u64 {
        let net = open as u64 * self.reserve_bytes;
        let segments = net / self.capacity(open).max(1);
        net + segments * self.reserve_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_together_stay_within_the_bound() {
        for max_bytes in [1 << 20, (1 << 20) + 4711, 5 << 20, 1 << 30, 1 << 40] {
            let plan = Plan::new(max_bytes);
            let all = plan.segments_bytes + plan.aside_bytes + plan.refused_bytes;
            assert!(all <= max_bytes, "{plan:?}");
            assert!(plan.segments_bytes / u64::from(plan.segment_bytes) >= 12, "{plan:?}");
            assert_eq!(plan.segment_bytes % PAGE_BYTES, 0);
        }
        assert_eq!(Plan::new(1 << 30).segment_bytes, 16 << 20);
    }
}
