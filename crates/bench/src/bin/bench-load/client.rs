use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;

use bench::http1::{Reader, Side};
use bench::sse::Frames;
use bench::stamp::now_ns;
use mio::net::TcpStream;

use crate::tally::Tally;

/// A gap between two frames that is longer than the upstream's by this is a stall.
const STALL_NS: u64 = 500_000_000;
/// Most bytes of a refusal that are shown.
const REFUSAL_BYTES_MAX: usize = 200;

/// What a client is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The connection is being made, or the request is not written to the end.
    Sending,
    /// The answer is not whole.
    Waiting,
    /// The answer is whole; the next request may be sent.
    Idle,
    /// It sends no more.
    Over,
}

/// What is known of the answers that are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Frames of a stream; none if the answer is none.
    pub(crate) frames: Option<u64>,
    pub(crate) every_ns: u64,
    /// Length of an answer that is no stream, if it is known.
    pub(crate) body_bytes: Option<u64>,
}

/// One connection and the request it is about.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    pub(crate) phase: Phase,
    pub(crate) sent_ns: u64,
    pub(crate) started: u64,
    reader: Reader,
    frames: Frames,
    /// The beginning of an answer that is no stream, to be shown if it is a refusal.
    refusal: Vec<u8>,
    body_bytes: u64,
    written: usize,
    first_ns: u64,
    last_frame: Option<Frame>,
}

/// The frame before the present one.
#[derive(Clone, Copy)]
struct Frame {
    sent_ns: u64,
    came_ns: u64,
}

/// How an exchange went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) latency_ns: u64,
    pub(crate) first_byte_ns: u64,
}

impl Client {
    pub(crate) fn connect(target: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect(target)?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            phase: Phase::Sending,
            sent_ns: now_ns(),
            started: 1,
            reader: Reader::new(Side::Responses),
            frames: Frames::default(),
            refusal: Vec::new(),
            body_bytes: 0,
            written: 0,
            first_ns: 0,
            last_frame: None,
        })
    }

    /// Begins the next request on the same connection.
    pub(crate) fn again(&mut self) {
        self.phase = Phase::Sending;
        self.sent_ns = now_ns();
        self.started += 1;
        self.reader.next();
        self.frames = Frames::default();
        self.refusal.clear();
        self.body_bytes = 0;
        self.written = 0;
        self.last_frame = None;
    }

    /// Whether the server closes the connection after this answer.
    pub(crate) fn closes(&self) -> bool {
        self.reader.closes() || self.reader.ends_with_connection()
    }

    /// Writes what the socket takes of the request.
    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        while let Some(rest) = request.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.socket.write(rest) {
                Ok(count) => self.written += count,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => return Ok(()),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        self.phase = Phase::Waiting;
        Ok(())
    }

    /// Reads what there is. The exchange, if its answer is whole now.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        wanted: Wanted,
        tally: &mut Tally,
        measured: bool,
    ) -> Result<Option<Answered>, String> {
        loop {
            let count = match self.socket.read(buffer) {
                Ok(0) if self.reader.ends_with_connection() => return self.whole(wanted, tally),
                Ok(0) => return Err("the connection was closed before the answer ended".to_owned()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.to_string()),
            };
            let now = now_ns();
            if !self.reader.has_begun() {
                self.first_ns = now;
            }
            let bytes = buffer.get(..count).unwrap_or_default();
            self.take(bytes, now, wanted, tally, measured)?;
            if self.reader.is_done() {
                return self.whole(wanted, tally);
            }
            if count < buffer.len() {
                // The socket is empty: the next bytes come with an event of their own.
                return Ok(None);
            }
        }
    }

    fn take(
        &mut self,
        bytes: &[u8],
        now: u64,
        wanted: Wanted,
        tally: &mut Tally,
        measured: bool,
    ) -> Result<(), String> {
        let Self { reader, frames, refusal, body_bytes, last_frame, .. } = self;
        let taken = reader.push(bytes, |body| {
            *body_bytes += body.len() as u64;
            if wanted.frames.is_none() {
                let room = REFUSAL_BYTES_MAX.saturating_sub(refusal.len()).min(body.len());
                refusal.extend_from_slice(body.get(..room).unwrap_or_default());
                return;
            }
            frames.push(body, |frame| {
                let before = last_frame.replace(Frame { sent_ns: frame.sent_ns, came_ns: now });
                if let Some(before) = before {
                    let came = now.saturating_sub(before.came_ns);
                    let made = frame.sent_ns.saturating_sub(before.sent_ns);
                    if came > wanted.every_ns + STALL_NS {
                        tally.stalls += 1;
                    }
                    if measured {
                        tally.stretch.saturating_record(came.saturating_sub(made));
                    }
                }
                if measured {
                    tally.frames += 1;
                    tally.frame.saturating_record(now.saturating_sub(frame.sent_ns));
                }
            });
        });
        let taken = taken.map_err(|error| error.to_string())?;
        if taken < bytes.len() {
            return Err("more came than the answer".to_owned());
        }
        Ok(())
    }

    /// The answer is whole: is it the right one?
    fn whole(&mut self, wanted: Wanted, tally: &mut Tally) -> Result<Option<Answered>, String> {
        let status = self.reader.status();
        if status != 200 {
            return Err(format!("status {status}: {}", String::from_utf8_lossy(&self.refusal)));
        }
        if wanted.body_bytes.is_some_and(|length| length != self.body_bytes) {
            return Err(format!("an answer of {} bytes is not the upstream's", self.body_bytes));
        }
        if let Some(frames) = wanted.frames {
            let lost = self.frames.lost() + frames.saturating_sub(self.frames.count());
            tally.lost += lost;
            if lost > 0 || !self.frames.stopped() {
                return Err(format!("a stream came without {lost} frames or without its end"));
            }
        }
        self.phase = Phase::Idle;
        Ok(Some(Answered {
            latency_ns: now_ns().saturating_sub(self.sent_ns),
            first_byte_ns: self.first_ns.saturating_sub(self.sent_ns),
        }))
    }
}
