//! The form of an input: a first line of knobs, one byte each, then the material.
//!
//! Knobs choose sizes and cases. A missing knob is zero, and a space is zero too, so that they can be typed.

/// An input taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    knobs: &'a [u8],
    /// What follows the first line; everything when there is just one.
    pub(crate) material: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        match data.iter().position(|&byte| byte == b'\n') {
            Some(end) => {
                let (knobs, material) = data.split_at(end);
                Self { knobs, material: material.get(1..).unwrap_or_default() }
            }
            None => Self { knobs: &[], material: data },
        }
    }

    /// The knob at this place, 0 to 255.
    pub(crate) fn knob(&self, at: usize) -> usize {
        self.knobs.get(at).map_or(0, |&byte| usize::from(byte ^ b' '))
    }

    /// `material` in chunks whose sizes, 1 to 4,096 bytes, the knobs from `from` on tell, over and over.
    /// Without knobs it is one chunk.
    pub(crate) fn chunks(&self, from: usize, material: &'a [u8]) -> Vec<&'a [u8]> {
        let sizes = self.knobs.get(from..).unwrap_or_default();
        let mut rest = material;
        let mut chunks = Vec::new();
        for byte in sizes.iter().map(|byte| byte ^ b' ').cycle() {
            if rest.is_empty() {
                return chunks;
            }
            let size = (usize::from(byte & 31) + 1) << (byte >> 5);
            let (chunk, behind) = rest.split_at(size.min(rest.len()));
            chunks.push(chunk);
            rest = behind;
        }
        chunks.push(rest);
        chunks
    }
}
