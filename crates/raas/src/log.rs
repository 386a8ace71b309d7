//! The log of a server. A thread of its own writes the lines, several at once. So no request waits for the reader of the log.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

mod escape;
mod request_lines;

use request_lines::{ACCESS, RequestLines};

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
    let wanted = filter_fn(move |metadata| access || metadata.target() != ACCESS);
    match format {
        LogFormat::Text => {
            lines.map_event_format(|others| RequestLines { format, others }).finish().with(wanted).init();
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true);
            lines.map_event_format(|others| RequestLines { format, others }).finish().with(wanted).init();
        }
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
    /// The lines that found no room, or could not be written, since the start.
    all_lost: Arc<AtomicU64>,
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
        let mut output = Output::default();
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
            output.write(&mut to, &bytes, &self.all_lost);
            bytes.clear();
            self.lock().writing = false;
            self.changed.notify_all();
            if lost > 0 {
                tracing::warn!(lost, "lines of the log were lost, because the reader of the log is too slow");
            }
            if let Some((lost, error)) = output.unwritten_before() {
                tracing::warn!(
                    lost,
                    error,
                    "lines of the log were lost, because the log could not be written"
                );
            }
        }
    }
}

/// What became of the lines that were written.
#[derive(Default)]
struct Output {
    /// Whether the last line was cut.
    is_cut: bool,
    /// The lines that were lost since the last line that was written, and why.
    unwritten: Option<(u64, String)>,
    /// Whether the last lines were written.
    works: bool,
}

impl Output {
    /// Writes lines. If that fails, there is no place to say so: the server continues, and counts the lost lines.
    fn write(&mut self, to: &mut impl Write, mut lines: &[u8], lost: &AtomicU64) {
        if self.is_cut && to.write_all(b"\n").is_ok() {
            self.is_cut = false;
        }
        self.works = true;
        while !lines.is_empty() {
            match to.write(lines) {
                Ok(written @ 1..) => {
                    self.is_cut = lines[written - 1] != b'\n';
                    lines = &lines[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                failed => {
                    let error = failed.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into());
                    let unwritten = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
                    lost.fetch_add(unwritten, Ordering::Relaxed);
                    let before = self.unwritten.take().map_or(0, |(before, _)| before);
                    self.unwritten = Some((before + unwritten, error.to_string()));
                    self.works = false;
                    return;
                }
            }
        }
    }

    /// The lines that were lost before the lines that were just written, and why.
    fn unwritten_before(&mut self) -> Option<(u64, String)> {
        self.unwritten.take_if(|_| self.works)
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
        // The writer may have taken the number of the first lost lines already, to report it.
        let waiting = log.0.0.lock().lost;
        let lost = log.lost().load(Ordering::Relaxed);
        assert!(waiting > 0 && waiting <= lost, "{waiting} of {lost}");
        let kept = 5 * MOST_WAITING / line.len() - usize::try_from(lost).unwrap();
        assert!(kept * line.len() >= MOST_WAITING, "{kept}");
        drop(closed);
        drop(log);
        let bytes: usize = written.try_iter().map(|bytes| bytes.len()).sum();
        assert!((MOST_WAITING..=2 * MOST_WAITING).contains(&bytes), "{bytes}");
    }

    /// A disk with room for this number of bytes.
    struct Disk(Arc<Mutex<(usize, Vec<u8>)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (room, written) = &mut *self.0.lock().unwrap();
            let taken = bytes.len().min(*room);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *room -= taken;
            written.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_do_not_fit_on_the_disk_are_counted() {
        let disk = Arc::new(Mutex::new((25, Vec::new())));
        let log = Log::new(Disk(Arc::clone(&disk)));
        let lost = log.lost();
        let soon = |holds: &dyn Fn() -> bool| {
            let begun = std::time::Instant::now();
            while !holds() {
                assert!(begun.elapsed() < Duration::from_secs(20));
                thread::sleep(Duration::from_millis(1));
            }
        };
        // Two lines and a half fit, of six.
        for _ in 0..6 {
            (&log.lines()).write_all(b"123456789\n").unwrap();
        }
        soon(&|| lost.load(Ordering::Relaxed) == 4);
        disk.lock().unwrap().0 = 1000;
        (&log.lines()).write_all(b"room\n").unwrap();
        drop(log);
        let written = String::from_utf8(disk.lock().unwrap().1.clone()).unwrap();
        assert_eq!(written, "123456789\n123456789\n12345\nroom\n");
        assert_eq!(lost.load(Ordering::Relaxed), 4);
    }
}
