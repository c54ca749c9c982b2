use std::io;

/// Whether facts are being taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Yes.
    Writable,
    /// No: the bound is reached, until what waits has been shipped.
    Full,
    /// No: the disk has no room for what the bound would allow.
    DiskFull,
    /// No: the directory cannot be written.
    ReadOnly,
    /// No: the disk failed; a fresh file has to be written and synced first.
    Failing,
    /// No: the process is ending.
    Closed,
}

impl Health {
    /// The name used in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Writable => "writable",
            Self::Full => "full",
            Self::DiskFull => "disk_full",
            Self::ReadOnly => "read_only",
            Self::Failing => "failing",
            Self::Closed => "closed",
        }
    }

    /// What a failure to make or write a file means.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::DiskFull,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::ReadOnly,
            _ => Self::Failing,
        }
    }
}

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no room, or none that can be used.
    NoRoom(Health),
    /// It can never be taken.
    TooLarge,
    /// The spool has been closed.
    Closed,
}
