//! The log of a server. A thread of its own writes the lines, several at once. So no request waits for the reader of the log.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

mod escape;

/// The most bytes that wait to be written. Further lines are lost, and the log reports their number.
const MOST_WAITING: usize = 1 << 20;

/// How long the thread gathers lines before it writes.
const PAUSE: Duration = Duration::from_millis(5);

/// How long the end of the program waits for a reader that does not read.
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
}

/// Starts the log. `access` adds a line for each request. The result must live until the last line is logged.
pub(crate) fn start(format: LogFormat, access: bool) -> Log {
    let log = Log::new(io::stderr());
    let lines = tracing_subscriber::fmt().with_writer(log.lines()).with_ansi(false);
    let wanted = filter_fn(move |metadata| access || metadata.target() != "access");
    match format {
        LogFormat::Text => lines.finish().with(wanted).init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().with(wanted).init(),
    }
    log
}

/// A log. Dropping it waits until all lines are written.
pub(crate) struct Log(Lines);

/// The writer that takes lines.
#[derive(Clone)]
struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// The number of lines that did not fit.
    lost: u64,
    /// Whether the thread is writing.
    writing: bool,
}

impl Log {
    fn new(to: impl Write + Send + 'static) -> Self {
        let lines = Lines(Arc::default());
        let shared = Arc::clone(&lines.0);
        thread::spawn(move || shared.write_all(to));
        Self(lines)
    }

    fn lines(&self) -> Lines {
        self.0.clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let shared = &self.0.0;
        let left = |waiting: &mut Waiting| waiting.writing || !waiting.bytes.is_empty();
        // A reader that does not read must not prevent the end of the program.
        drop(shared.changed.wait_timeout_while(shared.lock(), LAST_PAUSE, left));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.bytes.len() + line.len() > MOST_WAITING {
            waiting.lost += 1;
            return;
        }
        let first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        drop(waiting);
        if first {
            self.changed.notify_all();
        }
    }

    fn write_all(&self, mut to: impl Write) {
        let mut bytes = Vec::new();
        loop {
            let waiting = self.lock();
            let waiting = self.changed.wait_while(waiting, |waiting| waiting.bytes.is_empty());
            drop(waiting);
            thread::sleep(PAUSE);
            let lost = {
                let mut waiting = self.lock();
                std::mem::swap(&mut waiting.bytes, &mut bytes);
                waiting.writing = true;
                std::mem::take(&mut waiting.lost)
            };
            // There is no place to report that the log cannot be written. The server continues.
            let _ = to.write_all(&bytes);
            bytes.clear();
            self.lock().writing = false;
            self.changed.notify_all();
            if lost > 0 {
                tracing::warn!(lost, "lines of the log were lost, because its reader is too slow");
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Lines;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.take(&escape::escaped(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// A writer that waits for the mutex, and sends what is written to the channel.
    struct Slow(Arc<Mutex<()>>, Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _allowed = self.0.lock().unwrap();
            self.1.send(bytes.to_owned()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_blocks_no_writer_and_memory_stays_bounded() {
        let (gate, (sent, written)) = (Arc::new(Mutex::new(())), channel());
        let closed = gate.lock().unwrap();
        let log = Log::new(Slow(Arc::clone(&gate), sent));
        let line = [b'x'; 1024];
        for _ in 0..5 * MOST_WAITING / line.len() {
            (&log.lines()).write_all(&line).unwrap();
        }
        assert!(log.0.0.lock().lost > 0);
        drop(closed);
        drop(log);
        let bytes: usize = written.try_iter().map(|bytes| bytes.len()).sum();
        assert!((MOST_WAITING..=2 * MOST_WAITING).contains(&bytes), "{bytes}");
    }
}
