//! The log of a server: lines are gathered, and written by a thread of their own. So no request waits for whoever reads
//! the log, and many lines are one write.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How many bytes wait to be written at most. What comes then is lost, and told of.
const MOST: usize = 1 << 20;

/// How long lines are gathered.
const PAUSE: Duration = Duration::from_millis(5);

/// How long the end of the program waits for a reader that takes nothing.
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
}

/// Starts the log, with or without a line for each request. What is logged until the result is dropped is written.
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

/// A log, written to its end when this is dropped.
pub(crate) struct Log(Lines);

/// Where lines go in.
#[derive(Clone)]
struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// The lines that found no room since the start.
    all_lost: Arc<AtomicU64>,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// How many lines found no room.
    lost: u64,
    /// Whether some are being written.
    writing: bool,
}

impl Log {
    fn new(to: impl Write + Send + 'static) -> Self {
        let lines = Lines(Arc::default());
        let shared = Arc::clone(&lines.0);
        thread::spawn(move || shared.write_all(to));
        Self(lines)
    }

    /// The number of lines that were lost since the start. It grows while the server runs.
    pub(crate) fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.0.all_lost)
    }

    fn lines(&self) -> Lines {
        self.0.clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let shared = &self.0.0;
        let left = |waiting: &mut Waiting| waiting.writing || !waiting.bytes.is_empty();
        // A reader that takes nothing does not keep the program from ending.
        drop(shared.changed.wait_timeout_while(shared.lock(), LAST_PAUSE, left));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.bytes.len() + line.len() > MOST {
            waiting.lost += 1;
            self.all_lost.fetch_add(1, Ordering::Relaxed);
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
            // There is nobody to tell that the log cannot be written, and the server goes on.
            let _ = to.write_all(&bytes);
            bytes.clear();
            self.lock().writing = false;
            self.changed.notify_all();
            if lost > 0 {
                tracing::warn!(lost, "lines of the log were lost: its reader is too slow");
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
        self.0.take(line);
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

    /// Sends on what is written, when it is allowed to.
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
    fn a_reader_that_takes_nothing_holds_up_nobody_and_costs_bounded_memory() {
        let (gate, (sent, written)) = (Arc::new(Mutex::new(())), channel());
        let closed = gate.lock().unwrap();
        let log = Log::new(Slow(Arc::clone(&gate), sent));
        let line = [b'x'; 1024];
        for _ in 0..5 * MOST / line.len() {
            (&log.lines()).write_all(&line).unwrap();
        }
        assert!(log.0.0.lock().lost > 0);
        assert_eq!(log.0.0.lock().lost, log.lost().load(Ordering::Relaxed));
        drop(closed);
        drop(log);
        let bytes: usize = written.try_iter().map(|bytes| bytes.len()).sum();
        assert!((MOST..=2 * MOST).contains(&bytes), "{bytes}");
    }
}
