//! One request over a connection of its own, read to the last byte that comes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A gateway that says nothing for this long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// No answer takes longer.
const ANSWER_MAX: Duration = Duration::from_mins(1);
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// 0 if no whole head came.
    pub(super) status: u16,
    /// By lower-case name.
    pub(super) headers: Vec<(String, String)>,
    /// What came of the body.
    pub(super) body: Vec<u8>,
    /// Why nothing more came.
    pub(super) end: End,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    /// There was no connection.
    #[default]
    Refused,
    /// The body ended as HTTP says that it should.
    Whole,
    /// The connection ended first.
    Broken,
    /// We had enough.
    Left,
    /// Nothing came in time.
    Silent,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }
}

/// What to send, and how long to stay.
pub(super) struct Send<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a str,
    /// Goes away after this many bytes of the body.
    pub(super) leave_after: Option<usize>,
}

/// Sends the request and reads the answer.
pub(super) fn send(to: SocketAddr, send: &Send<'_>) -> Reply {
    let mut reply = Reply::default();
    let Ok(mut stream) = TcpStream::connect_timeout(&to, Duration::from_secs(5)) else {
        return reply;
    };
    let _ = (stream.set_nodelay(true), stream.set_read_timeout(Some(SILENCE_MAX)));
    let _ = stream.set_write_timeout(Some(SILENCE_MAX));
    let mut text = format!(
        "{} {} HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        send.method,
        send.path,
        send.body.len()
    );
    for (name, value) in send.headers {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.push_str(send.body);
    reply.end = End::Broken;
    if stream.write_all(text.as_bytes()).is_ok() {
        let until = Instant::now() + ANSWER_MAX;
        reply.end = read(&mut stream, &mut reply, send.leave_after, until);
    }
    reply
}

fn read(stream: &mut TcpStream, reply: &mut Reply, leave: Option<usize>, until: Instant) -> End {
    let mut decoder = Decoder::default();
    let mut buffer = [0; 16 << 10];
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => return decoder.closed(),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return End::Silent;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return End::Broken,
        };
        match decoder.push(buffer.get(..count).unwrap_or_default(), reply) {
            Ok(false) => {}
            Ok(true) => return End::Whole,
            Err(Malformed) => return End::Broken,
        }
        if leave.is_some_and(|bytes| reply.body.len() >= bytes) {
            return End::Left;
        }
        if Instant::now() > until {
            return End::Silent;
        }
    }
}

/// What is no HTTP.
#[derive(Debug, PartialEq, Eq)]
struct Malformed;

/// Takes an HTTP/1.1 answer apart as it comes in.
#[derive(Debug, Default)]
struct Decoder {
    /// A line that is not yet whole, or the head.
    rest: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// This many bytes of the body are missing.
    Length(usize),
    /// The body lasts as long as the connection.
    UntilClosed,
    ChunkSize,
    /// This many bytes of the chunk are missing.
    Chunk(usize),
    ChunkEnd,
    Trailer,
    Done,
}

impl Decoder {
    /// Takes over what was read; true when the answer is whole.
    fn push(&mut self, mut bytes: &[u8], reply: &mut Reply) -> Result<bool, Malformed> {
        while !bytes.is_empty() || self.state == State::Length(0) {
            match self.state {
                State::Done => return Ok(true),
                State::UntilClosed => {
                    reply.body.extend_from_slice(bytes);
                    return Ok(false);
                }
                State::Length(missing) | State::Chunk(missing) => {
                    let (now, later) = bytes.split_at(missing.min(bytes.len()));
                    reply.body.extend_from_slice(now);
                    bytes = later;
                    let missing = missing - now.len();
                    self.state = match self.state {
                        State::Length(_) if missing == 0 => State::Done,
                        State::Length(_) => State::Length(missing),
                        _ if missing == 0 => State::ChunkEnd,
                        _ => State::Chunk(missing),
                    };
                }
                State::Head | State::ChunkSize | State::ChunkEnd | State::Trailer => {
                    let Some((byte, later)) = bytes.split_first() else { break };
                    bytes = later;
                    self.rest.push(*byte);
                    if self.rest.len() > HEAD_BYTES_MAX {
                        return Err(Malformed);
                    }
                    self.line(reply)?;
                }
            }
        }
        Ok(self.state == State::Done)
    }

    /// Looks whether the line, or the head, is whole.
    fn line(&mut self, reply: &mut Reply) -> Result<(), Malformed> {
        let end: &[u8] = if self.state == State::Head { b"\r\n\r\n" } else { b"\r\n" };
        let Some(line) = self.rest.strip_suffix(end) else { return Ok(()) };
        let line = std::str::from_utf8(line).map_err(|_| Malformed)?;
        self.state = match self.state {
            State::Head => head(line, reply)?,
            State::ChunkSize => {
                let size = line.split(';').next().unwrap_or_default().trim();
                match usize::from_str_radix(size, 16).map_err(|_| Malformed)? {
                    0 => State::Trailer,
                    size => State::Chunk(size),
                }
            }
            State::ChunkEnd if line.is_empty() => State::ChunkSize,
            State::Trailer if line.is_empty() => State::Done,
            State::Trailer => State::Trailer,
            _ => return Err(Malformed),
        };
        self.rest.clear();
        Ok(())
    }

    /// What the end of the connection means.
    const fn closed(&self) -> End {
        if matches!(self.state, State::UntilClosed | State::Done) {
            End::Whole
        } else {
            End::Broken
        }
    }
}

fn head(text: &str, reply: &mut Reply) -> Result<State, Malformed> {
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status: u16 = status.and_then(|code| code.parse().ok()).ok_or(Malformed)?;
    if status == 100 {
        return Ok(State::Head);
    }
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Malformed)?;
        reply.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    reply.status = status;
    if reply.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        return Ok(State::ChunkSize);
    }
    match reply.header("content-length") {
        Some(length) => Ok(State::Length(length.parse().map_err(|_| Malformed)?)),
        None if status == 204 || status == 304 => Ok(State::Length(0)),
        None => Ok(State::UntilClosed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str, step: usize) -> (Result<bool, Malformed>, Reply, End) {
        let (mut decoder, mut reply) = (Decoder::default(), Reply::default());
        let mut whole = Ok(false);
        for piece in text.as_bytes().chunks(step) {
            whole = decoder.push(piece, &mut reply);
            if whole.is_err() {
                break;
            }
        }
        let end = decoder.closed();
        (whole, reply, end)
    }

    #[test]
    fn an_answer_is_whole_when_its_framing_says_so_wherever_it_is_torn() {
        let cases = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", End::Whole),
            ("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello", 200, "hello", End::Broken),
            ("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", 503, "", End::Whole),
            ("HTTP/1.1 204 No\r\n\r\n", 204, "", End::Whole),
            (
                "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
                200,
                "x",
                End::Whole,
            ),
            ("HTTP/1.0 200 OK\r\n\r\nas long as it lasts", 200, "as long as it lasts", End::Whole),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\nA\r\n, world!!!\r\n0\r\n\r\n",
                200,
                "hello, world!!!",
                End::Whole,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                200,
                "hello",
                End::Broken,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Le", 0, "", End::Broken),
        ];
        for (text, status, body, end) in cases {
            for step in [1, 2, 3, 7, text.len()] {
                let (whole, reply, ended) = decode(text, step);
                assert!(whole.is_ok(), "{text:?}");
                assert_eq!((reply.status, ended), (status, end), "{text:?} by {step}");
                assert_eq!(String::from_utf8(reply.body).unwrap(), body);
            }
        }
    }

    #[test]
    fn what_is_no_http_is_told_apart_from_a_torn_answer() {
        for text in [
            "garbage\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxyz\r\n",
        ] {
            assert_eq!(decode(text, text.len()).0, Err(Malformed), "{text:?}");
        }
    }
}
