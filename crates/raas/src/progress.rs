//! Shows people the progress of long work, such as a push: a bar for each layer in flight on a terminal, and a line for
//! each stored object.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::output::{self, harmless};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use raas_base::Say;
use raas_base::interrupt::CleanUp;

/// Shows progress on standard error, or nowhere.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    bars: MultiProgress,
    lines: bool,
    terminal: bool,
    /// Takes the bars away before an interrupted run says what it has done.
    _clean_up: Option<Arc<CleanUp>>,
}

/// The progress of one task.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    passed: AtomicU64,
}

impl Progress {
    /// Progress on standard error. There are bars only if it is a terminal.
    pub(crate) fn shown() -> Self {
        if output::is_quiet() {
            return Self::quiet();
        }
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bars = MultiProgress::with_draw_target(target);
        let clean_up = terminal.then(|| {
            let bars = bars.clone();
            Arc::new(CleanUp::new(move || {
                // Other threads go on for a moment. If the terminal has gone away, there is nothing to clear.
                drop(bars.clear());
                bars.set_draw_target(ProgressDrawTarget::hidden());
                None
            }))
        });
        Self { bars, lines: true, terminal, _clean_up: clean_up }
    }

    /// Shows nothing, for scripts.
    pub(crate) fn quiet() -> Self {
        Self {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            lines: false,
            terminal: false,
            _clean_up: None,
        }
    }

    /// Prints a line.
    pub(crate) fn say(&self, line: &str) {
        if !self.lines {
            return;
        }
        if self.terminal {
            // The line appears above the bars. If the terminal has gone away, the push continues.
            drop(self.bars.println(harmless(line)));
        } else {
            output::note(line);
        }
    }

    /// Prints each note on a line of its own.
    pub(crate) fn notes(&self, notes: &[String]) {
        for note in notes {
            self.say(&format!("Note: {note}"));
        }
    }

    /// [`Progress::say`] as a callback for libraries.
    pub(crate) fn as_say(&self) -> Say {
        let progress = self.clone();
        Say::new(move |line| progress.say(line))
    }

    /// Prints a line for a stored object.
    pub(crate) fn stored(&self, key: &raas_types::ObjectKey, size: u64) {
        self.say(&format!("Stored {key} ({})", bytes(size)));
    }

    /// The progress of reading a source. `size` is in bytes, if it is known.
    pub(crate) fn reading(&self, size: Option<u64>) -> Bar {
        self.bar("reading", size)
    }

    /// The progress of one layer. `size` is in bytes.
    pub(crate) fn layer(&self, name: &str, size: u64) -> Bar {
        self.bar(name, Some(size))
    }

    fn bar(&self, name: &str, size: Option<u64>) -> Bar {
        let style = match size {
            Some(_) => {
                "{prefix:20!} [{wide_bar}] {bytes:>11}/{total_bytes:<11} {binary_bytes_per_sec:>13} {eta:>4}"
            }
            None => "{prefix:20!} {spinner} {bytes:>11} {binary_bytes_per_sec:>13}",
        };
        let bar = size.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let style = ProgressStyle::with_template(style).expect("the template is well formed");
        let bar = self.bars.add(bar.with_style(style.progress_chars("=> ")).with_prefix(name.to_owned()));
        Bar { bar, passed: AtomicU64::new(0) }
    }
}

impl Bar {
    pub(crate) fn advance(&self, bytes: u64) {
        self.passed.fetch_add(bytes, Ordering::Relaxed);
        self.bar.inc(bytes);
    }

    pub(crate) fn done(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A number of bytes, written for people.
pub(crate) fn bytes(count: u64) -> String {
    HumanBytes(count).to_string()
}
