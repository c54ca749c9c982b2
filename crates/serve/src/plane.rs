use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{io, thread};

use stdx::Lifecycle;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

use crate::accept::{Arrivals, Place};
use crate::connection::Wire;
use crate::listener::Listener;
use crate::make::Make;

/// Connections on their way to a thread. The acceptor waits when they are this many.
const HANDOVER: usize = 256;
/// How long the end of the threads may take, once all that ran on it has ended or has been given up.
const JOIN: Duration = Duration::from_secs(5);
/// Names are resolved on threads of their own; few at a time are enough.
const BLOCKING_THREADS: usize = 8;

/// Serves on `threads` threads (at least one) with a runtime each, in the background. On each, `factory` is
/// called once with its number, from 0, to make what makes its services.
///
/// The runtimes end after every task of `lifecycle` has ended, since tasks that requests spawn run there,
/// too; and before everything whose closer was registered before this was called.
///
/// # Errors
/// No thread, or no runtime, could be had.
pub fn start_threads<F, M>(
    name: &'static str,
    listener: Listener,
    threads: usize,
    factory: F,
    lifecycle: &Lifecycle,
) -> io::Result<()>
where
    F: Fn(usize) -> M + Send + Sync + 'static,
    M: Make + Send + Sync + 'static,
{
    let Listener { tcp, tls, limits, .. } = listener;
    if let Some(tls) = &tls {
        tls.keep_fresh(lifecycle);
    }
    let (wire, factory) = (Arc::new(Wire::new(tls, limits, lifecycle.clone())), Arc::new(factory));
    let (mut lanes, mut ends) = (Vec::new(), Vec::new());
    let mut made = Ok(());
    for number in 0..threads.max(1) {
        match lane(name, number, &wire, &factory, lifecycle) {
            Ok((lane, end)) => {
                lanes.push(lane);
                ends.push(end);
            }
            Err(error) => made = Err(error),
        }
    }
    // All are told before any is waited for, so that they end together; those of half a start, too.
    lifecycle.on_stop(name, JOIN, move || async move {
        let (stops, ends): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        drop(stops);
        for end in ends {
            let _ = end.await;
        }
    });
    made?;
    let mut arrivals = Arrivals::new(tcp, limits.connections_max, lifecycle.stopping());
    let tasks = lifecycle.clone();
    lifecycle.spawn(name, async move {
        while let Some((stream, address, place)) = arrivals.next().await {
            let stopping = tasks.stopping();
            let dealt = tokio::select! {
                dealt = deal(&lanes, stream, address, place) => dealt,
                () = stopping.wait() => return,
            };
            if !dealt {
                tracing::error!(name, "a thread of the server ended; the process stops");
                tasks.begin_stop();
            }
        }
    });
    Ok(())
}

/// The way to one thread.
struct Lane {
    to: mpsc::Sender<Arrival>,
    open: Arc<AtomicUsize>,
}

/// What ends a thread when it is dropped, and what then tells that it has ended.
type End = (oneshot::Sender<()>, oneshot::Receiver<()>);

struct Arrival {
    stream: std::net::TcpStream,
    address: SocketAddr,
    held: Held,
}

/// What a connection counts against for as long as it is open.
struct Held {
    _place: Place,
    open: Arc<AtomicUsize>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Gives a connection to the thread that has the fewest. False if that thread is gone.
async fn deal(lanes: &[Lane], stream: TcpStream, address: SocketAddr, place: Place) -> bool {
    let fewest = lanes.iter().min_by_key(|lane| lane.open.load(Ordering::Relaxed));
    let Some(lane) = fewest else {
        return false;
    };
    let stream = match stream.into_std() {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(%error, "cannot hand a connection over");
            return true;
        }
    };
    lane.open.fetch_add(1, Ordering::Relaxed);
    let held = Held { _place: place, open: Arc::clone(&lane.open) };
    lane.to.send(Arrival { stream, address, held }).await.is_ok()
}

fn lane<F, M>(
    name: &'static str,
    number: usize,
    wire: &Arc<Wire>,
    factory: &Arc<F>,
    lifecycle: &Lifecycle,
) -> io::Result<(Lane, End)>
where
    F: Fn(usize) -> M + Send + Sync + 'static,
    M: Make + Send + Sync + 'static,
{
    let (to, arrivals) = mpsc::channel(HANDOVER);
    let (stop, stopped) = oneshot::channel();
    let (ended, end) = oneshot::channel();
    let thread_name = format!("{name}-{number}");
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name(thread_name.clone())
        .build()?;
    let (wire, factory, tasks) = (Arc::clone(wire), Arc::clone(factory), lifecycle.clone());
    thread::Builder::new().name(thread_name).spawn(move || {
        let make = Arc::new(factory(number));
        run(runtime, arrivals, stopped, &wire, &make, &tasks);
        // Nobody listens when the process gave up waiting.
        let _ = ended.send(());
    })?;
    Ok((Lane { to, open: Arc::default() }, (stop, end)))
}

/// Serves what is dealt to this thread until it is told to end.
fn run<M: Make + Send + Sync + 'static>(
    runtime: Runtime,
    mut arrivals: mpsc::Receiver<Arrival>,
    mut stopped: oneshot::Receiver<()>,
    wire: &Arc<Wire>,
    make: &Arc<M>,
    tasks: &Lifecycle,
) {
    runtime.block_on(async {
        loop {
            let arrival = tokio::select! {
                biased;
                _ = &mut stopped => return,
                arrival = arrivals.recv() => arrival,
            };
            let Some(Arrival { stream, address, held }) = arrival else {
                // The acceptor has ended; what was dealt may still run.
                let _ = (&mut stopped).await;
                return;
            };
            let stream = match TcpStream::from_std(stream) {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection over");
                    continue;
                }
            };
            let (wire, make, stopping) = (Arc::clone(wire), Arc::clone(make), tasks.stopping());
            tasks.spawn_quietly(async move {
                wire.serve(stream, address, &*make, stopping).await;
                drop(held);
            });
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
}
