use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::settings::OpenError;

/// A file is filled in steps of this. They become the units in which the system caches it, and a short write
/// into a large one costs more than it should.
const FILL_BYTES: usize = 16 * 1024;
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const SEGMENT_PREFIX: &str = "segment-";
const SEGMENT_SUFFIX: &str = ".spool";
const DAMAGED_SUFFIX: &str = ".damaged";

/// How the blocks of a new file are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Written with zeros and synced, so that later writes change nothing but data.
    Zeros,
    /// Reserved only: quick, and a little dearer to sync later.
    Reserved,
}

/// The directory of a spool, locked for this process.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Held open for its lock.
    _lock: File,
}

/// A file that segments are written to, one after the other.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) index: u32,
    pub(crate) file: File,
    pub(crate) bytes: u32,
    /// It could not be opened for writing.
    pub(crate) read_only: bool,
    /// Lets a test have the disk fail.
    #[cfg(test)]
    pub(crate) sync_fails: std::sync::atomic::AtomicBool,
}

impl Folder {
    /// Makes the directory if there is none and takes its lock.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let dir = path.to_owned();
        let missing: Vec<_> = path
            .ancestors()
            .take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists())
            .collect();
        let made = DirBuilder::new().recursive(true).mode(DIR_MODE).create(path);
        if let Err(source) = made
            && !path.is_dir()
        {
            return Err(OpenError::Directory { dir, source });
        }
        for made in missing {
            let parent = made.parent().filter(|dir| !dir.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new("."));
            if let Err(error) = File::open(parent).and_then(|parent| parent.sync_all()) {
                tracing::warn!(error = %error, dir = %made.display(), "cannot sync the name of a directory");
            }
        }
        let lock = path.join("lock");
        let file = open_file(&lock, true).or_else(|_| File::open(&lock));
        let file = match file {
            Ok(file) => file,
            Err(source) => return Err(OpenError::Directory { dir, source }),
        };
        match file.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir }),
            Err(TryLockError::Error(source)) => Err(OpenError::Directory { dir, source }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file of the cursor, made if there is none. In a directory that cannot be written it is opened
    /// for reading only.
    ///
    /// # Errors
    /// There is none and none can be made.
    pub(crate) fn cursor(&self) -> io::Result<File> {
        let path = self.path.join(CURSOR);
        open_file(&path, true).or_else(|_| File::open(&path))
    }

    /// Opens all files of segments, those for reading only that cannot be written.
    pub(crate) fn slots(&self) -> io::Result<Vec<Slot>> {
        let mut slots = Vec::new();
        for (index, path) in segment_files(&self.path)? {
            let writable = open_file(&path, false);
            let read_only = writable.is_err();
            let file = writable.or_else(|_| File::open(&path))?;
            let bytes = u32::try_from(file.metadata()?.len()).unwrap_or(u32::MAX);
            slots.push(Slot::new(index, file, bytes, read_only));
        }
        Ok(slots)
    }

    /// Makes a file for segments.
    pub(crate) fn create(&self, index: u32, bytes: u32, fill: Fill) -> io::Result<Slot> {
        let path = self.segment(index);
        let slot = (|| {
            let mut made = options().create_new(true).open(&path)?;
            match fill {
                Fill::Reserved => reserve(&made, u64::from(bytes))?,
                Fill::Zeros => {
                    reserve(&made, u64::from(bytes))?;
                    let zeros = vec![0; FILL_BYTES];
                    let mut left = bytes as usize;
                    while left > 0 {
                        let some = zeros.get(..left.min(zeros.len())).unwrap_or_default();
                        made.write_all(some)?;
                        left -= some.len();
                    }
                    made.sync_all()?;
                    self.sync()?;
                }
            }
            Ok(Slot::new(index, made, bytes, false))
        })();
        if slot.is_err() {
            let _ = fs::remove_file(&path);
        }
        slot
    }

    pub(crate) fn remove(&self, index: u32) -> io::Result<()> {
        fs::remove_file(self.segment(index))
    }

    /// Makes the names of new files survive the machine.
    pub(crate) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    pub(crate) fn segment(&self, index: u32) -> PathBuf {
        self.path.join(format!("{SEGMENT_PREFIX}{index:04}{SEGMENT_SUFFIX}"))
    }

    /// Copies a damaged segment aside, unless there are copies of so many bytes already. Returns the bytes
    /// that it takes.
    pub(crate) fn set_aside(&self, slot: &Slot, number: u32, budget: u64) -> io::Result<u64> {
        let bytes = u64::from(slot.bytes);
        if self.set_aside_bytes()? + bytes > budget {
            return Ok(0);
        }
        let path = self.path.join(format!("{SEGMENT_PREFIX}{number:010}{DAMAGED_SUFFIX}"));
        let copied = (|| {
            let mut to = options().create_new(true).open(&path)?;
            io::copy(&mut File::open(self.segment(slot.index))?, &mut to)
        })();
        match copied {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(0),
            Err(error) => {
                let _ = fs::remove_file(&path);
                Err(error)
            }
            Ok(copied) => Ok(copied),
        }
    }

    /// Takes a file that holds nothing of use out of the spool: under another name, for people to look at, or
    /// for good when so many bytes lie aside already.
    pub(crate) fn put_aside(&self, slot: &Slot, budget: u64) -> io::Result<()> {
        let from = self.segment(slot.index);
        if self.set_aside_bytes()? + u64::from(slot.bytes) > budget {
            return fs::remove_file(from);
        }
        // Indexes are used again, and an earlier file may lie there.
        let names =
            (0..u32::MAX).map(|n| self.path.join(format!("file-{:04}-{n}.damaged", slot.index)));
        for to in names {
            if !to.try_exists()? {
                return fs::rename(&from, to);
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn set_aside_bytes(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with(DAMAGED_SUFFIX) {
                bytes += entry.metadata()?.len();
            }
        }
        Ok(bytes)
    }
}

/// Name of the file that keeps the cursor.
pub(crate) const CURSOR: &str = "cursor";

/// Files of segments by their indexes.
pub(crate) fn segment_files(dir: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let index = name
            .to_str()
            .and_then(|name| name.strip_prefix(SEGMENT_PREFIX)?.strip_suffix(SEGMENT_SUFFIX))
            .and_then(|index| index.parse().ok());
        if let Some(index) = index {
            files.push((index, entry.path()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(FILE_MODE);
    options
}

fn open_file(path: &Path, create: bool) -> io::Result<File> {
    options().create(create).open(path)
}

/// Takes the blocks of a file from the disk, so that writing to it cannot fail for want of room. A file
/// system that cannot do that gets a file of that length.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => file.set_len(bytes),
        done => Ok(done?),
    }
}

impl Slot {
    fn new(index: u32, file: File, bytes: u32, read_only: bool) -> Self {
        Self {
            index,
            file,
            bytes,
            read_only,
            #[cfg(test)]
            sync_fails: std::sync::atomic::AtomicBool::new(false),
        }
    }

    /// Makes what was written to the file survive the machine.
    pub(crate) fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.sync_fails.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.file.sync_data()
    }
}
