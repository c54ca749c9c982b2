use std::io::{self, Read as _, Write as _};
use std::time::Instant;

use bench::http1::{Reader, Side};
use bench::sse;
use mio::net::TcpStream;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The next request, or its rest.
    Request,
    /// The end of its delay.
    Delayed,
    /// A mode that releases it.
    Held,
    /// The time of its next frame; how many were sent, and of how many.
    Streaming { sent: u32, of: u32 },
    /// The socket, to take the rest of the answer.
    Flushing,
}

/// One client.
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    pub(crate) reader: Reader,
    pub(crate) phase: Phase,
    /// When the next frame of a stream, or the end of a delay, is due.
    pub(crate) due: Instant,
    /// Tells it from an earlier connection in the same place.
    pub(crate) serial: u64,
    pub(crate) out: Vec<u8>,
    written: usize,
}

/// How much room is kept for the next answer; what a large one took is given back.
const KEPT_BYTES_MAX: usize = 4096;

impl Connection {
    pub(crate) fn new(socket: TcpStream, serial: u64, now: Instant) -> Self {
        Self {
            socket,
            reader: Reader::new(Side::Requests),
            phase: Phase::Request,
            due: now,
            serial,
            out: Vec::new(),
            written: 0,
        }
    }

    /// Reads what there is, up to a whole request. Whether the connection is still open.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        while !self.reader.is_done() {
            let count = match self.socket.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            let taken = self.reader.push(bytes, |_| {}).map_err(io::Error::other)?;
            if taken < count {
                return Err(io::Error::other("a request before the answer to the last one"));
            }
            if count < buffer.len() {
                // The socket is empty: the next bytes come with an event of their own.
                break;
            }
        }
        Ok(true)
    }

    /// Writes what there is to write. Whether everything is written.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.written = 0;
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES_MAX);
        Ok(true)
    }

    /// Adds the frames that are due: one, or all that are left. Whether the stream is complete.
    pub(crate) fn add_frames(&mut self, all: bool) -> bool {
        let Phase::Streaming { mut sent, of } = self.phase else {
            return true;
        };
        let until = if all { of } else { of.min(sent + 1) };
        while sent < until {
            sse::text(&mut self.out, sent);
            sent += 1;
        }
        self.phase = Phase::Streaming { sent, of };
        if sent == of {
            sse::close(&mut self.out);
        }
        sent == of
    }
}
