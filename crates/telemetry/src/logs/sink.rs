use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use super::line::Format;

/// Most lines that wait for the writing thread. About 4 MiB of usual lines.
const QUEUE_LINES_MAX: usize = 16_384;

/// The near end of the queue. Never blocks.
#[derive(Clone, Debug)]
pub(super) struct Sink {
    lines: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

/// The far end: a thread that writes. Dropping it writes what is queued.
#[derive(Debug)]
pub(super) struct Writer {
    lines: SyncSender<Message>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Stop,
}

impl Sink {
    pub(super) fn start(out: Box<dyn Write + Send>, format: Format) -> io::Result<(Self, Writer)> {
        Self::start_with_queue(out, format, QUEUE_LINES_MAX)
    }

    pub(super) fn start_with_queue(
        out: Box<dyn Write + Send>,
        format: Format,
        lines_max: usize,
    ) -> io::Result<(Self, Writer)> {
        let (sender, receiver) = sync_channel(lines_max);
        let lost = Arc::new(AtomicU64::new(0));
        let stopped = Arc::new(AtomicBool::new(false));
        let (counter, flag) = (Arc::clone(&lost), Arc::clone(&stopped));
        let thread = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || write_lines(&receiver, out, format, &counter, &flag))?;
        let writer = Writer { lines: sender.clone(), stopped, thread: Some(thread) };
        Ok((Self { lines: sender, lost }, writer))
    }

    /// Queues a line that ends in a newline. If the queue is full, the line is counted as lost.
    pub(super) fn send(&self, line: Vec<u8>) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Message::Line(line)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Sinks may outlive the writer inside the subscriber, so the thread is told rather than left
        // to notice that nobody sends any more. The flag is for a queue that is full at this moment.
        self.stopped.store(true, Ordering::Release);
        let _ = self.lines.try_send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            // The thread cannot panic by itself; if the output did, there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

fn write_lines(
    lines: &Receiver<Message>,
    mut out: Box<dyn Write + Send>,
    format: Format,
    lost: &AtomicU64,
    stopped: &AtomicBool,
) {
    while let Ok(message) = lines.recv() {
        let Message::Line(line) = message else { break };
        // A log that cannot be written must not end the process; there is no other place to say so.
        let _ = out.write_all(&line);
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            let _ = out.write_all(format.lost(count).as_bytes());
        }
        if stopped.load(Ordering::Acquire) {
            // The end: write what is queued now, but do not wait for more.
            while let Ok(Message::Line(line)) = lines.try_recv() {
                let _ = out.write_all(&line);
            }
            break;
        }
    }
    let count = lost.swap(0, Ordering::Relaxed);
    if count > 0 {
        let _ = out.write_all(format.lost(count).as_bytes());
    }
    let _ = out.flush();
}
