use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context as _, Result};
use bench::sse;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use crate::answers::{Answers, plain};
use crate::connection::{Connection, Phase};
use crate::mode::{Mode, Stats};

/// The listener's token; connections count from 1.
const LISTENER: Token = Token(0);
/// More than a request without attachments, so that one read takes it.
const READ_BYTES: usize = 64 * 1024;

/// How requests begin that are for the upstream itself.
const ORDERS: [&[u8]; 2] = [b"PUT /__mode", b"GET /__stats"];

/// The event loop and everything it knows.
pub(crate) struct Server {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    serial: u64,
    /// Connections whose time comes: when, where, and which one there.
    due: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    mode: Mode,
    stats: Stats,
    answers: Answers,
}

impl Server {
    pub(crate) fn bind(address: SocketAddr) -> Result<Self> {
        let mut listener =
            TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            connections: Vec::new(),
            free: Vec::new(),
            serial: 0,
            due: BinaryHeap::new(),
            mode: Mode::default(),
            stats: Stats::default(),
            answers: Answers::new(),
        })
    }

    pub(crate) fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until waiting for events fails.
    pub(crate) fn run(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let next = self.due.peek().map(|Reverse((at, ..))| *at);
            let patience = next.map(|at| at.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, patience) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                done => done.context("cannot wait for events")?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(place) => {
                        let at = place - 1;
                        let open = !event.is_read_closed()
                            && !event.is_error()
                            && self.serve(at, &mut buffer).unwrap_or(false);
                        if !open {
                            self.close(at);
                        }
                    }
                }
            }
            self.fire();
        }
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let mut socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The client has left again.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error).context("cannot accept a connection"),
            };
            socket.set_nodelay(true)?;
            let at = self.free.pop().unwrap_or(self.connections.len());
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, Token(at + 1), both)?;
            self.serial += 1;
            self.stats.connections += 1;
            let connection = Some(Connection::new(socket, self.serial, Instant::now()));
            match self.connections.get_mut(at) {
                Some(place) => *place = connection,
                None => self.connections.push(connection),
            }
        }
    }

    fn connection(&mut self, at: usize) -> Option<&mut Connection> {
        self.connections.get_mut(at)?.as_mut()
    }

    fn close(&mut self, at: usize) {
        let Some(connection) = self.connections.get_mut(at).and_then(Option::take) else {
            return;
        };
        self.free.push(at);
        self.stats.connections -= 1;
        if connection.phase != Phase::Request {
            self.stats.in_flight -= 1;
        }
    }

    /// Does what an event allows. Whether the connection stays open.
    fn serve(&mut self, at: usize, buffer: &mut [u8]) -> io::Result<bool> {
        let Some(connection) = self.connection(at) else {
            return Ok(true);
        };
        match connection.phase {
            Phase::Request => {
                if !connection.read(buffer)? {
                    return Ok(false);
                }
                if connection.reader.is_done() {
                    self.begin(at)?;
                }
            }
            Phase::Flushing => self.finish(at)?,
            Phase::Streaming { .. } => drop(connection.flush()?),
            Phase::Delayed | Phase::Held => {}
        }
        Ok(true)
    }

    /// A request has been read.
    fn begin(&mut self, at: usize) -> io::Result<()> {
        let mode = self.mode;
        let Some(Some(connection)) = self.connections.get_mut(at) else {
            return Ok(());
        };
        if connection.reader.line().starts_with(ORDERS[0])
            || connection.reader.line().starts_with(ORDERS[1])
        {
            return self.obey(at);
        }
        self.stats.in_flight += 1;
        if mode.hold {
            connection.phase = Phase::Held;
            return Ok(());
        }
        connection.phase = Phase::Delayed;
        if mode.delay.is_zero() {
            return self.answer(at);
        }
        connection.due = Instant::now() + mode.delay;
        self.due.push(Reverse((connection.due, at, connection.serial)));
        Ok(())
    }

    /// Answers a request that is for the upstream itself.
    fn obey(&mut self, at: usize) -> io::Result<()> {
        let Some(connection) = self.connection(at) else {
            return Ok(());
        };
        let line = String::from_utf8_lossy(connection.reader.line()).into_owned();
        connection.reader.next();
        let (status, text) = match line.strip_prefix("PUT ") {
            None => ("200 OK", serde_json::to_string(&self.stats).map_err(io::Error::other)?),
            Some(_) => match Mode::parse(query(&line)) {
                Ok(mode) => {
                    self.mode = mode;
                    self.release();
                    self.hang_up(at);
                    ("200 OK", "set".to_owned())
                }
                Err(error) => ("400 Bad Request", error),
            },
        };
        let Some(connection) = self.connection(at) else {
            return Ok(());
        };
        plain(&mut connection.out, status, &text);
        // An answer as short as these always fits into the socket.
        connection.flush().map(drop)
    }

    /// Answers the requests that were held, if they still are not to be.
    fn release(&mut self) {
        if self.mode.hold {
            return;
        }
        for at in 0..self.connections.len() {
            let held = self.connection(at).is_some_and(|one| one.phase == Phase::Held);
            if held && self.answer(at).is_err() {
                self.close(at);
            }
        }
    }

    /// Closes the connections that gateways keep for later, but for the one on which that is asked for.
    fn hang_up(&mut self, asking: usize) {
        if !self.mode.hang_up {
            return;
        }
        for at in (0..self.connections.len()).filter(|at| *at != asking) {
            if self.connection(at).is_some_and(|one| one.phase == Phase::Request) {
                self.close(at);
            }
        }
    }

    /// Answers by the present mode.
    fn answer(&mut self, at: usize) -> io::Result<()> {
        let mode = self.mode;
        let Some(Some(connection)) = self.connections.get_mut(at) else {
            return Ok(());
        };
        if mode.frames == 0 {
            self.answers.write(connection.reader.line(), &mut connection.out);
            return self.finish(at);
        }
        sse::open(&mut connection.out);
        connection.phase = Phase::Streaming { sent: 0, of: mode.frames };
        connection.due = Instant::now();
        self.stream(at)
    }

    /// Sends what is due of a stream.
    fn stream(&mut self, at: usize) -> io::Result<()> {
        let pace = self.mode.pace;
        let Some(connection) = self.connection(at) else {
            return Ok(());
        };
        if connection.add_frames(pace.is_zero()) {
            return self.finish(at);
        }
        connection.flush()?;
        // From when it was due, so that pauses do not add up.
        connection.due += pace;
        let entry = Reverse((connection.due, at, connection.serial));
        self.due.push(entry);
        Ok(())
    }

    /// Writes the rest of an answer, and waits for the next request once it is written.
    fn finish(&mut self, at: usize) -> io::Result<()> {
        let Some(connection) = self.connection(at) else {
            return Ok(());
        };
        if !connection.flush()? {
            connection.phase = Phase::Flushing;
            return Ok(());
        }
        connection.phase = Phase::Request;
        connection.reader.next();
        self.stats.in_flight -= 1;
        self.stats.answered += 1;
        Ok(())
    }

    /// Does everything whose time has come.
    fn fire(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((due, at, serial))) = self.due.peek().copied() {
            if due > now {
                return;
            }
            self.due.pop();
            let Some(connection) = self.connection(at).filter(|one| one.serial == serial) else {
                continue;
            };
            let done = match connection.phase {
                Phase::Delayed => self.answer(at),
                Phase::Streaming { .. } => self.stream(at),
                _ => Ok(()),
            };
            if done.is_err() {
                self.close(at);
            }
        }
    }
}

/// What stands between the question mark and the end of the path.
fn query(line: &str) -> &str {
    let path = line.split(' ').nth(1).unwrap_or_default();
    path.split_once('?').map_or("", |(_, query)| query)
}
