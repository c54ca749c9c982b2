//! A reader of HTTP/1.1 messages that takes bytes as they come from a socket.
//!
//! It knows what the bench meets on loopback: heads up to [`HEAD_BYTES_MAX`], bodies with a length, in chunks
//! or up to the end of the connection. Nothing is kept of a body; it is handed on as it comes.

use std::fmt;

use memchr::memmem;

/// The longest head that is read.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The other side does not speak HTTP/1.1 as the bench does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed message: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// Which messages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Without a length there is no body.
    Requests,
    /// Without a length the body goes on to the end of the connection.
    Responses,
}

/// How far a body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    /// In the line that says how long the chunk is; whether its digits have ended.
    ChunkSize(u64, bool),
    ChunkData(u64),
    /// Bytes of the line ending after a chunk that are still to come.
    ChunkEnd(u8),
    /// In the lines after the last chunk; whether the current one is empty so far.
    Trailer(bool),
    UntilClose,
    Done,
}

/// Reads one message after the other.
#[derive(Debug)]
pub struct Reader {
    side: Side,
    state: State,
    /// A head of which not all has come yet.
    carry: Vec<u8>,
    status: u16,
    closes: bool,
    /// Method and path of a request, or the first line of a response.
    line: Vec<u8>,
}

impl Reader {
    /// A reader at the beginning of a message.
    #[must_use]
    pub const fn new(side: Side) -> Self {
        Self {
            side,
            state: State::Head,
            carry: Vec::new(),
            status: 0,
            closes: false,
            line: Vec::new(),
        }
    }

    /// The status of the response whose head was read last.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The first line of the message whose head was read last.
    #[must_use]
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// Whether the whole message has been read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether a message has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.state != State::Head || !self.carry.is_empty()
    }

    /// Whether the connection's end is the message's.
    #[must_use]
    pub fn ends_with_connection(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Whether the other side said that it closes the connection after this message.
    #[must_use]
    pub const fn closes(&self) -> bool {
        self.closes
    }

    /// Goes to the beginning of the next message.
    pub fn next(&mut self) {
        self.state = State::Head;
        self.carry.clear();
    }

    /// Takes bytes, hands those of the body to `body`, and returns how many belong to this message.
    ///
    /// # Errors
    /// The bytes are no such message.
    pub fn push(&mut self, bytes: &[u8], mut body: impl FnMut(&[u8])) -> Result<usize, Malformed> {
        let mut rest = bytes;
        if self.state == State::Head {
            rest = self.head(rest)?;
        }
        while !rest.is_empty() && self.state != State::Done {
            rest = self.step(rest, &mut body)?;
        }
        Ok(bytes.len() - rest.len())
    }

    /// Takes bytes of a head; what is left belongs to the body.
    fn head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
        if self.carry.is_empty()
            && let Some(at) = memmem::find(bytes, b"\r\n\r\n")
        {
            let (head, rest) = bytes.split_at(at + 4);
            self.understand(head)?;
            return Ok(rest);
        }
        // The end may lie across what came before.
        let before = self.carry.len();
        self.carry.extend_from_slice(bytes);
        let from = before.saturating_sub(3);
        let end = self.carry.get(from..).and_then(|tail| memmem::find(tail, b"\r\n\r\n"));
        let Some(at) = end else {
            if self.carry.len() > HEAD_BYTES_MAX {
                return Err(Malformed("the head is too long"));
            }
            return Ok(&[]);
        };
        let end = from + at + 4;
        let mut carry = std::mem::take(&mut self.carry);
        carry.truncate(end);
        self.understand(&carry)?;
        carry.clear();
        self.carry = carry;
        Ok(bytes.get(end - before..).unwrap_or_default())
    }

    fn understand(&mut self, head: &[u8]) -> Result<(), Malformed> {
        let mut lines = head.split(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default().trim_ascii_end();
        self.line.clear();
        self.line.extend_from_slice(first);
        if self.side == Side::Responses {
            let status = first.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
            self.status = status
                .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
                .ok_or(Malformed("no status line"))?;
        }
        self.state = match self.side {
            Side::Requests => State::Done,
            Side::Responses => State::UntilClose,
        };
        self.closes = false;
        for line in lines {
            // Other headers are told from these by the length of their names.
            match line.iter().position(|byte| *byte == b':') {
                Some(10) => {
                    let value = field(line, b"connection");
                    self.closes |= value.is_some_and(|v| v.eq_ignore_ascii_case(b"close"));
                }
                Some(14) if field(line, b"content-length").is_some() => {
                    let length = field(line, b"content-length").and_then(number);
                    let length = length.ok_or(Malformed("content-length is no number"))?;
                    self.state = if length == 0 { State::Done } else { State::Length(length) };
                }
                Some(17) if field(line, b"transfer-encoding").is_some() => {
                    self.state = State::ChunkSize(0, false);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes a piece of the body.
    fn step<'a>(
        &mut self,
        bytes: &'a [u8],
        body: &mut impl FnMut(&[u8]),
    ) -> Result<&'a [u8], Malformed> {
        let take = |left: u64| {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let (piece, rest) = bytes.split_at(most);
            (piece, rest, left - most as u64)
        };
        let byte = bytes.first().copied().unwrap_or_default();
        let after = bytes.get(1..).unwrap_or_default();
        match self.state {
            State::Head | State::Done => Ok(bytes),
            State::UntilClose => {
                body(bytes);
                Ok(&[])
            }
            State::Length(left) => {
                let (piece, rest, left) = take(left);
                body(piece);
                self.state = if left == 0 { State::Done } else { State::Length(left) };
                Ok(rest)
            }
            State::ChunkData(left) => {
                let (piece, rest, left) = take(left);
                body(piece);
                self.state = if left == 0 { State::ChunkEnd(2) } else { State::ChunkData(left) };
                Ok(rest)
            }
            State::ChunkEnd(left) => {
                self.state = match left {
                    2 if byte == b'\r' => State::ChunkEnd(1),
                    1 if byte == b'\n' => State::ChunkSize(0, false),
                    _ => return Err(Malformed("a chunk is longer than it says")),
                };
                Ok(after)
            }
            State::ChunkSize(size, ended) => {
                self.state = match (byte, char::from(byte).to_digit(16)) {
                    (b'\n', _) if size == 0 => State::Trailer(true),
                    (b'\n', _) => State::ChunkData(size),
                    (_, Some(digit)) if !ended && size < 1 << 40 => {
                        State::ChunkSize(size * 16 + u64::from(digit), false)
                    }
                    (b'\r' | b';' | b' ', _) => State::ChunkSize(size, true),
                    _ if ended => State::ChunkSize(size, true),
                    _ => return Err(Malformed("the size of a chunk is no number")),
                };
                Ok(after)
            }
            State::Trailer(empty) => {
                self.state = match byte {
                    b'\n' if empty => State::Done,
                    b'\n' => State::Trailer(true),
                    b'\r' => State::Trailer(empty),
                    _ => State::Trailer(false),
                };
                Ok(after)
            }
        }
    }
}

/// The value of a header line if it has that name.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (have, value) = line.split_at_checked(name.len())?;
    have.eq_ignore_ascii_case(name).then(|| value.get(1..))?.map(<[u8]>::trim_ascii)
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `wire` in pieces of `step` bytes: the bodies, and how many messages were whole.
    fn read(side: Side, wire: &[u8], step: usize) -> Result<(Vec<Vec<u8>>, bool), Malformed> {
        let mut reader = Reader::new(side);
        let (mut bodies, mut body) = (Vec::new(), Vec::new());
        for piece in wire.chunks(step) {
            let mut piece = piece;
            while !piece.is_empty() {
                let taken = reader.push(piece, |bytes| body.extend_from_slice(bytes))?;
                piece = &piece[taken..];
                if reader.is_done() {
                    bodies.push(std::mem::take(&mut body));
                    reader.next();
                }
            }
        }
        if reader.ends_with_connection() {
            bodies.push(body);
        }
        Ok((bodies, reader.has_begun()))
    }

    #[test]
    fn messages_are_the_same_however_they_are_cut() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            3\r\nabc\r\n1F;x=y\r\n0123456789012345678901234567890\r\n0\r\nA: b\r\n\r\n";
        let cases: [(Side, &[u8], &[&[u8]]); 6] = [
            (Side::Requests, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[b""]),
            (Side::Requests, b"POST / HTTP/1.1\r\ncontent-LENGTH:  3\r\n\r\nabc", &[b"abc"]),
            (Side::Responses, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &[b""]),
            (Side::Responses, chunked, &[b"abc0123456789012345678901234567890"]),
            (Side::Responses, b"HTTP/1.1 200 OK\r\n\r\nuntil the end", &[b"until the end"]),
            (
                Side::Requests,
                b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\naGET / HTTP/1.1\r\n\r\n",
                &[b"a", b""],
            ),
        ];
        for (side, text, wanted) in cases {
            for size in 1..=text.len() {
                let (bodies, _) = read(side, text, size).unwrap();
                assert_eq!(bodies, wanted, "{} by {size}", String::from_utf8_lossy(text));
            }
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let long = vec![b'a'; HEAD_BYTES_MAX + 1];
        for (side, text) in [
            (Side::Responses, b"SSH-2.0-OpenSSH_9.2\r\n\r\n".as_slice()),
            (Side::Responses, b"HTTP/1.1 abc\r\n\r\n"),
            (Side::Requests, b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n"),
            (Side::Responses, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
            (Side::Responses, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n"),
            (Side::Requests, &long),
        ] {
            assert!(read(side, text, 7).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_connection_that_will_close_is_told() {
        let mut reader = Reader::new(Side::Responses);
        for (head, closes) in [("Connection: CLOSE", true), ("Connection: keep-alive", false)] {
            let text = format!("HTTP/1.1 200 OK\r\n{head}\r\nContent-Length: 0\r\n\r\n");
            reader.push(text.as_bytes(), |_| {}).unwrap();
            assert_eq!((reader.is_done(), reader.closes()), (true, closes), "{head}");
            reader.next();
        }
    }

    #[test]
    fn an_unfinished_message_is_seen_as_one() {
        for text in [
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc".as_slice(),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            b"HTTP/1.1 2",
        ] {
            let (bodies, begun) = read(Side::Responses, text, 64).unwrap();
            assert!(bodies.is_empty() && begun, "{}", String::from_utf8_lossy(text));
        }
    }
}
