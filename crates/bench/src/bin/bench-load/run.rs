use std::io;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bench::processes::cpu_micros;
use bench::stamp::now_ns;
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use crate::Args;
use crate::client::{Client, Phase, Wanted};
use crate::request;
use crate::tally::{Report, Spans, Tally, Watched, float};

const READ_BYTES: usize = 64 * 1024;
/// How often the clock is looked at when nothing happens.
const TICK: Duration = Duration::from_millis(5);
const MS: u64 = 1_000_000;

/// Everything of one run.
struct Run<'a> {
    args: &'a Args,
    poll: Poll,
    request: Vec<u8>,
    wanted: Wanted,
    clients: Vec<Client>,
    tally: Tally,
    /// When measuring begins and ends.
    begin_ns: u64,
    end_ns: u64,
    /// When the next request may be sent, with a rate.
    turn_ns: u64,
    answered: u64,
    /// Clients that send no more.
    over: usize,
    /// When overdue answers are looked for next.
    look_ns: u64,
    watched: Option<Vec<Watched>>,
    /// CPU time of this process within the measured span.
    own_us: u64,
    span_ns: u64,
}

/// CPU time in microseconds.
struct Used {
    own: u64,
    watched: Vec<u64>,
}

pub(crate) fn run(args: &Args) -> Result<Report> {
    let began = now_ns();
    let begin_ns = began + nanos(args.warmup);
    let end_ns = match args.each {
        Some(_) => u64::MAX,
        None => begin_ns + nanos(args.seconds),
    };
    let mut run = Run {
        args,
        poll: Poll::new()?,
        request: request::bytes(args),
        wanted: Wanted {
            frames: args.frames,
            every_ns: args.frame_every_us * 1_000,
            body_bytes: args.answer_bytes,
        },
        clients: Vec::new(),
        tally: Tally::new()?,
        begin_ns,
        end_ns,
        turn_ns: began,
        answered: 0,
        over: 0,
        look_ns: 0,
        watched: None,
        own_us: 0,
        span_ns: 0,
    };
    run.work(began)?;
    let spans = Spans {
        answered: run.answered,
        seconds: float(run.span_ns) / 1e9,
        busy: float(run.own_us) * 1e3 / float(run.span_ns.max(1)),
        watched: run.watched.unwrap_or_default(),
    };
    Ok(run.tally.report(spans))
}

fn nanos(seconds: f64) -> u64 {
    u64::try_from(Duration::from_secs_f64(seconds).as_nanos()).unwrap_or(u64::MAX)
}

impl Run<'_> {
    fn work(&mut self, began: u64) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; READ_BYTES];
        let mut before: Option<(u64, Used)> = None;
        while self.over < self.args.connections {
            let now = now_ns();
            if before.is_none() && now >= self.begin_ns {
                before = Some((now, self.cpu()?));
            }
            if now >= self.end_ns {
                self.measure(&mut before, now)?;
            }
            self.connect(now.saturating_sub(began))?;
            self.turns(now);
            if self.late(now) {
                break;
            }
            match self.poll.poll(&mut events, Some(self.nap())) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                done => done.context("cannot wait for events")?,
            }
            for event in &events {
                self.serve(event, &mut buffer);
            }
        }
        self.measure(&mut before, now_ns())
    }

    /// How long to wait for events at most.
    fn nap(&self) -> Duration {
        let ramping = self.clients.len() < self.args.connections;
        if ramping || self.args.rate.is_some() { Duration::from_millis(1) } else { TICK }
    }

    /// CPU time so far: of this process, and of those it watches.
    fn cpu(&self) -> Result<Used> {
        let watched =
            self.args.watched.iter().map(|pid| cpu_micros(*pid)).collect::<Result<_>>()?;
        Ok(Used { own: cpu_micros(std::process::id())?, watched })
    }

    /// Closes the measured span, once.
    fn measure(&mut self, before: &mut Option<(u64, Used)>, now: u64) -> Result<()> {
        if self.watched.is_some() {
            return Ok(());
        }
        let Some((begun, used)) = before.take() else {
            self.watched = Some(Vec::new());
            return Ok(());
        };
        self.span_ns = now.saturating_sub(begun);
        let after = self.cpu()?;
        self.own_us = after.own.saturating_sub(used.own);
        let watched = self.args.watched.iter().zip(after.watched).zip(used.watched);
        let watched = watched.map(|((pid, after), before)| Watched {
            pid: *pid,
            cpu_us: after.saturating_sub(before),
        });
        self.watched = Some(watched.collect());
        Ok(())
    }

    /// Opens the connections that are due.
    fn connect(&mut self, since: u64) -> Result<()> {
        let ramp = u64::try_from(self.args.ramp).unwrap_or(u64::MAX);
        let due = usize::try_from((since / MS + 1).saturating_mul(ramp)).unwrap_or(usize::MAX);
        while self.clients.len() < self.args.connections.min(due) {
            let mut client = Client::connect(self.args.target).context("cannot connect")?;
            self.register(&mut client, self.clients.len())?;
            self.clients.push(client);
        }
        Ok(())
    }

    fn register(&self, client: &mut Client, at: usize) -> Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        Ok(self.poll.registry().register(&mut client.socket, Token(at), both)?)
    }

    fn serve(&mut self, event: &Event, buffer: &mut [u8]) {
        let Token(at) = event.token();
        let measured = self.watched.is_none() && now_ns() >= self.begin_ns;
        let Some(client) = self.clients.get_mut(at) else {
            return;
        };
        if client.phase == Phase::Sending
            && let Err(error) = client.send(&self.request)
        {
            return self.failed(at, &error.to_string());
        }
        // An answer may come before the request is written to the end: a refusal.
        if !matches!(client.phase, Phase::Sending | Phase::Waiting) || !event.is_readable() {
            return;
        }
        match client.read(buffer, self.wanted, &mut self.tally, measured) {
            Ok(None) => {}
            Ok(Some(answered)) => {
                self.answered += 1;
                if measured {
                    self.tally.latency.saturating_record(answered.latency_ns);
                    self.tally.first_byte.saturating_record(answered.first_byte_ns);
                }
                if self.args.rate.is_none() {
                    self.next(at);
                }
            }
            Err(error) => self.failed(at, &error),
        }
    }

    /// Sends the next request of a client, or ends it.
    fn next(&mut self, at: usize) {
        let Some(client) = self.clients.get_mut(at) else {
            return;
        };
        let more = match self.args.each {
            Some(each) => client.started < each,
            None => now_ns() < self.end_ns,
        };
        if !more {
            client.phase = Phase::Over;
            self.over += 1;
            return;
        }
        if client.closes() {
            return self.reconnect(at);
        }
        client.again();
        if let Err(error) = client.send(&self.request) {
            self.failed(at, &error.to_string());
        }
    }

    fn reconnect(&mut self, at: usize) {
        self.tally.reconnects += 1;
        let started = self.clients.get(at).map_or(0, |client| client.started);
        let fresh = Client::connect(self.args.target).map_err(anyhow::Error::from);
        let fresh = fresh.and_then(|mut client| {
            self.register(&mut client, at)?;
            client.started = started + 1;
            Ok(client)
        });
        match (fresh, self.clients.get_mut(at)) {
            (Ok(fresh), Some(client)) => *client = fresh,
            (Err(error), Some(client)) => {
                client.phase = Phase::Over;
                self.over += 1;
                self.tally.error(format!("cannot connect again: {error:#}"));
            }
            (_, None) => {}
        }
    }

    /// Counts an error and ends the client: a run with errors is void, so it need not go on at full load.
    fn failed(&mut self, at: usize, why: &str) {
        self.tally.error(why);
        if let Some(client) = self.clients.get_mut(at)
            && client.phase != Phase::Over
        {
            client.phase = Phase::Over;
            self.over += 1;
        }
    }

    /// With a rate: sends what is due, on the clients that are idle.
    fn turns(&mut self, now: u64) {
        let Some(rate) = self.args.rate else {
            return;
        };
        let ending = now >= self.end_ns;
        for at in 0..self.clients.len() {
            let idle = self.clients.get(at).is_some_and(|client| client.phase == Phase::Idle);
            if idle && (ending || self.turn_ns <= now) {
                self.turn_ns = self.turn_ns.max(now) + nanos(1.0 / rate);
                self.next(at);
            }
        }
    }

    /// Whether some answer is overdue; what is missing then is counted.
    fn late(&mut self, now: u64) -> bool {
        if now < self.look_ns {
            return false;
        }
        self.look_ns = now + 100 * MS;
        let patience = self.args.patience().as_nanos();
        let waiting = |client: &&Client| matches!(client.phase, Phase::Sending | Phase::Waiting);
        let oldest = self.clients.iter().filter(waiting).map(|client| client.sent_ns).min();
        let late = oldest.is_some_and(|sent| u128::from(now.saturating_sub(sent)) > patience);
        if late {
            for _ in self.clients.iter().filter(waiting) {
                self.tally.error("no answer in time");
            }
        }
        late
    }
}
