use serde::{Deserialize, Serialize};
use store::audit_chain::{Checkpoint, Entry, Kind, Link};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

/// Version of the file.
const VERSION: u32 = 1;

/// One line of an exported log.
///
/// A file is a `log` line, `key` lines, then `row` and `checkpoint` lines in the order of the chain, and an `end` line
/// if the export came to the end. A part that was resumed begins with its own `log` line and may be put behind the
/// part before.
#[derive(Clone, Debug)]
pub enum Line {
    /// What follows.
    Log {
        /// Rows begin after this one.
        after: i64,
    },
    /// A key that signs.
    Key {
        /// Which.
        id: Uuid,
        /// 32 bytes.
        public_key: Vec<u8>,
    },
    /// A row.
    Row(Box<(Link, Entry)>),
    /// A checkpoint.
    Checkpoint(Checkpoint),
    /// The last row of all.
    End {
        /// Its number.
        sequence: i64,
        /// Its hash.
        hash: Vec<u8>,
    },
}

/// A line is none of an exported log.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// No JSON, or not in our words.
    #[error("not a line of an exported audit log")]
    Json(#[from] serde_json::Error),
    /// A hash, key, signature or time is none.
    #[error("{0} has an impossible value")]
    Field(&'static str),
    /// From a newer program.
    #[error("version {0} of the file is not known: run a newer program")]
    Version(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
enum Wire {
    Log {
        version: u32,
        after: i64,
    },
    Key {
        id: Uuid,
        public_key: String,
    },
    Checkpoint {
        sequence: i64,
        kind: String,
        hash: String,
        time: String,
        signing_key_id: Uuid,
        signature: String,
    },
    End {
        sequence: i64,
        hash: String,
    },
}

/// Rows have documents that must keep their text, which a tagged enum would not let them.
#[derive(Serialize, Deserialize)]
struct WireRow {
    line: RowTag,
    sequence: i64,
    previous_hash: String,
    hash: String,
    row: Entry,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RowTag {
    Row,
}

#[derive(Deserialize)]
struct Tag {
    line: String,
}

impl Line {
    /// As text, without the line feed.
    ///
    /// # Errors
    /// [`LineError::Json`] if a value has no text.
    pub fn write(&self) -> Result<String, LineError> {
        let wire = match self {
            Self::Log { after } => Wire::Log { version: VERSION, after: *after },
            Self::Key { id, public_key } => {
                Wire::Key { id: *id, public_key: crypt::hex(public_key) }
            }
            Self::Row(row) => {
                let (link, entry) = &**row;
                return Ok(serde_json::to_string(&WireRow {
                    line: RowTag::Row,
                    sequence: link.sequence,
                    previous_hash: crypt::hex(&link.previous_hash),
                    hash: crypt::hex(&link.hash),
                    row: entry.clone(),
                })?);
            }
            Self::Checkpoint(checkpoint) => Wire::Checkpoint {
                sequence: checkpoint.sequence,
                kind: checkpoint.kind.as_str().to_owned(),
                hash: crypt::hex(&checkpoint.hash),
                time: checkpoint.time.format(&Rfc3339).map_err(|_| LineError::Field("time"))?,
                signing_key_id: checkpoint.signing_key_id,
                signature: crypt::hex(&checkpoint.signature),
            },
            Self::End { sequence, hash } => {
                Wire::End { sequence: *sequence, hash: crypt::hex(hash) }
            }
        };
        Ok(serde_json::to_string(&wire)?)
    }

    /// The line of this text.
    ///
    /// # Errors
    /// [`LineError`].
    pub fn read(text: &str) -> Result<Self, LineError> {
        let Tag { line } = serde_json::from_str(text)?;
        if line == "row" {
            let row: WireRow = serde_json::from_str(text)?;
            let link = Link {
                sequence: row.sequence,
                previous_hash: bytes(&row.previous_hash, "previous_hash")?,
                hash: bytes(&row.hash, "hash")?,
            };
            return Ok(Self::Row(Box::new((link, row.row))));
        }
        Ok(match serde_json::from_str(text)? {
            Wire::Log { version: VERSION, after } => Self::Log { after },
            Wire::Log { version, .. } => return Err(LineError::Version(version)),
            Wire::Key { id, public_key } => {
                Self::Key { id, public_key: bytes(&public_key, "public_key")? }
            }
            Wire::Checkpoint { sequence, kind, hash, time, signing_key_id, signature } => {
                Self::Checkpoint(Checkpoint {
                    sequence,
                    kind: Kind::of(&kind).ok_or(LineError::Field("kind"))?,
                    hash: bytes(&hash, "hash")?,
                    time: OffsetDateTime::parse(&time, &Rfc3339)
                        .map_err(|_| LineError::Field("time"))?,
                    signing_key_id,
                    signature: bytes(&signature, "signature")?,
                })
            }
            Wire::End { sequence, hash } => Self::End { sequence, hash: bytes(&hash, "hash")? },
        })
    }
}

/// Of lower-case hexadecimal text.
fn bytes(text: &str, field: &'static str) -> Result<Vec<u8>, LineError> {
    crypt::unhex(text).ok_or(LineError::Field(field))
}
