//! A link between two servers on loopback that can be cut and silenced.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// How often a connection without traffic looks at the state of the link.
const LOOK: Duration = Duration::from_millis(20);
/// A peer that takes nothing for this long is gone.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// The link. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) addr: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    cut: AtomicBool,
    silent: AtomicBool,
    closed: AtomicBool,
    /// Counts cuts: connections of an earlier age end.
    age: AtomicU64,
}

impl Relay {
    /// Listens on a free port of loopback and passes connections on to `to`.
    pub(super) fn start(to: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot open the link")?;
        listener.set_nonblocking(true).context("cannot open the link")?;
        let addr = listener.local_addr().context("cannot open the link")?;
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || accept(&listener, to, &shared));
        Ok(Self { addr, state })
    }

    /// Resets all connections, and new ones until the link is mended.
    pub(super) fn cut(&self) {
        self.state.cut.store(true, Ordering::SeqCst);
        self.state.age.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes connections and bytes, and passes nothing on until the link is mended.
    pub(super) fn silence(&self) {
        self.state.silent.store(true, Ordering::SeqCst);
    }

    /// Works again; what was held back goes on.
    pub(super) fn mend(&self) {
        self.state.cut.store(false, Ordering::SeqCst);
        self.state.silent.store(false, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
    }
}

impl State {
    fn over(&self, age: u64) -> bool {
        self.closed.load(Ordering::SeqCst) || self.age.load(Ordering::SeqCst) != age
    }
}

fn accept(listener: &TcpListener, to: SocketAddr, state: &Arc<State>) {
    while !state.closed.load(Ordering::SeqCst) {
        let Ok((near, _)) = listener.accept() else {
            thread::sleep(LOOK);
            continue;
        };
        if !state.cut.load(Ordering::SeqCst) {
            let state = Arc::clone(state);
            thread::spawn(move || connect(&near, to, &state));
        }
    }
}

fn connect(near: &TcpStream, to: SocketAddr, state: &Arc<State>) {
    let age = state.age.load(Ordering::SeqCst);
    while state.silent.load(Ordering::SeqCst) && !state.over(age) {
        thread::sleep(LOOK);
    }
    // The other end is down: so is this connection.
    let Ok(far) = TcpStream::connect_timeout(&to, Duration::from_secs(1)) else { return };
    if near.set_nonblocking(false).is_err() {
        return;
    }
    thread::scope(|scope| {
        scope.spawn(|| pass(near, &far, state, age));
        pass(&far, near, state, age);
    });
}

/// Copies one direction until either end or the link goes away.
fn pass(mut from: &TcpStream, mut to: &TcpStream, state: &State, age: u64) {
    let mut buffer = vec![0; 64 << 10];
    let _ = (from.set_nodelay(true), from.set_read_timeout(Some(LOOK)));
    let _ = to.set_write_timeout(Some(WRITE_LIMIT));
    while !state.over(age) {
        if state.silent.load(Ordering::SeqCst) {
            thread::sleep(LOOK);
            continue;
        }
        match from.read(&mut buffer) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(count) => {
                // What was read just before the silence began is held back, too.
                while state.silent.load(Ordering::SeqCst) && !state.over(age) {
                    thread::sleep(LOOK);
                }
                let read = buffer.get(..count).unwrap_or_default();
                if state.over(age) || to.write_all(read).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Relay, TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Relay::start(listener.local_addr().unwrap()).unwrap();
        let near = TcpStream::connect(relay.addr).unwrap();
        let (far, _) = listener.accept().unwrap();
        for stream in [&near, &far] {
            stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        }
        (relay, near, far)
    }

    fn read(stream: &mut TcpStream) -> Result<String, ErrorKind> {
        let mut buffer = [0; 16];
        let count = stream.read(&mut buffer).map_err(|error| error.kind())?;
        Ok(String::from_utf8(buffer[..count].to_vec()).unwrap())
    }

    #[test]
    fn a_silent_link_holds_bytes_back_and_a_cut_one_ends_them() {
        let (relay, mut near, mut far) = pair();
        near.write_all(b"one").unwrap();
        assert_eq!(read(&mut far).unwrap(), "one");
        relay.silence();
        far.write_all(b"two").unwrap();
        assert!(matches!(read(&mut near), Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)));
        relay.mend();
        assert_eq!(read(&mut near).unwrap(), "two");
        relay.cut();
        assert!(matches!(read(&mut near), Ok(rest) if rest.is_empty()));
        let mut late = TcpStream::connect(relay.addr).unwrap();
        late.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let refused = read(&mut late);
        assert!(!matches!(refused, Ok(ref rest) if !rest.is_empty()), "{refused:?}");
    }

    #[test]
    fn an_end_is_passed_on_and_the_other_direction_stays_open() {
        let (_relay, mut near, mut far) = pair();
        near.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read(&mut far).unwrap(), "");
        far.write_all(b"still").unwrap();
        assert_eq!(read(&mut near).unwrap(), "still");
    }
}
