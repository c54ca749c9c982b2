use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Bytes read ahead.
const CHUNK: usize = 256 * 1024;
/// What cannot be read is skipped by this much.
const PAGE: u64 = 4096;

/// A part of a file in memory. What the disk cannot read is taken for zeros, which nothing valid is, and
/// remembered as an error.
#[derive(Debug, Default)]
pub(crate) struct Window {
    start: u64,
    bytes: Vec<u8>,
    /// The first place that could not be read, and why.
    failed: Option<(u64, io::Error)>,
}

impl Window {
    /// Up to `len` bytes at `offset`, less at the end of the file or at `limit`.
    pub(crate) fn read(&mut self, file: &File, offset: u64, len: usize, limit: u64) -> &[u8] {
        let len = len.min(usize::try_from(limit.saturating_sub(offset)).unwrap_or(usize::MAX));
        let at = offset.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let held = at.filter(|at| self.bytes.len().saturating_sub(*at) >= len);
        let at = held.unwrap_or_else(|| {
            self.fill(file, offset, len.max(CHUNK), limit);
            0
        });
        let end = (at + len).min(self.bytes.len());
        self.bytes.get(at..end).unwrap_or_default()
    }

    /// What the disk said when something before `end` could not be read, once.
    pub(crate) fn take_error(&mut self, end: u64) -> Option<io::Error> {
        self.failed.take_if(|(at, _)| *at < end).map(|(_, error)| error)
    }

    fn fill(&mut self, file: &File, offset: u64, len: usize, limit: u64) {
        let len = len.min(usize::try_from(limit.saturating_sub(offset)).unwrap_or(usize::MAX));
        self.start = offset;
        self.bytes.clear();
        if len <= CHUNK {
            self.bytes.shrink_to(CHUNK);
        }
        self.bytes.resize(len, 0);
        let read = match read_full(file, &mut self.bytes, offset) {
            Ok(read) => read,
            Err(_) => self.fill_by_pages(file),
        };
        self.bytes.truncate(read);
    }

    fn fill_by_pages(&mut self, file: &File) -> usize {
        let mut read = 0;
        let mut at = self.start;
        let mut rest = self.bytes.as_mut_slice();
        while !rest.is_empty() {
            let step = usize::try_from(PAGE - at % PAGE).unwrap_or(1).min(rest.len());
            let (page, behind) = rest.split_at_mut(step);
            match read_full(file, page, at) {
                Ok(got) if got < step => return read + got,
                Ok(_) => {}
                Err(error) => {
                    page.fill(0);
                    if self.failed.as_ref().is_none_or(|(first, _)| at < *first) {
                        self.failed = Some((at, error));
                    }
                }
            }
            read += step;
            at += step as u64;
            rest = behind;
        }
        read
    }
}

/// Reads until `out` is full or the file ends.
pub(crate) fn read_full(file: &File, out: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
        #[cfg(test)]
        faults::check(file, offset + done as u64, rest.len())?;
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(got) => done += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Lets a test have the disk fail.
#[cfg(test)]
pub(crate) mod faults {
    use std::fs::File;
    use std::io;
    use std::ops::Range;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;
    use std::sync::{Mutex, PoisonError};

    type Key = (u64, u64);

    static BAD: Mutex<Vec<(Key, Range<u64>)>> = Mutex::new(Vec::new());

    /// A range of a file that cannot be read as long as this lives.
    pub(crate) struct Bad(Key);

    impl Bad {
        pub(crate) fn range(path: &Path, range: Range<u64>) -> Self {
            let key = key(&File::open(path).unwrap());
            BAD.lock().unwrap_or_else(PoisonError::into_inner).push((key, range));
            Self(key)
        }
    }

    /// Where no file has bytes: stands for its syncs.
    const SYNC: Range<u64> = u64::MAX - 1..u64::MAX;

    impl Bad {
        /// A file that cannot be synced as long as this lives.
        pub(crate) fn sync(path: &Path) -> Self {
            Self::range(path, SYNC)
        }
    }

    pub(crate) fn check_sync(file: &File) -> io::Result<()> {
        check(file, SYNC.start, 1)
    }

    impl Drop for Bad {
        fn drop(&mut self) {
            BAD.lock().unwrap_or_else(PoisonError::into_inner).retain(|(key, _)| *key != self.0);
        }
    }

    fn key(file: &File) -> Key {
        let metadata = file.metadata().unwrap();
        (metadata.dev(), metadata.ino())
    }

    pub(super) fn check(file: &File, offset: u64, len: usize) -> io::Result<()> {
        let bad = BAD.lock().unwrap_or_else(PoisonError::into_inner);
        if bad.is_empty() {
            return Ok(());
        }
        let key = key(file);
        let hit = |range: &Range<u64>| offset < range.end && range.start < offset + len as u64;
        if bad.iter().any(|(of, range)| *of == key && hit(range)) {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }
}
