//! Runs one gpg command, with a limit of time and of output.

use std::io::{self, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use raas_base::interrupt::ProcessGroup;

use crate::error::GpgError;

/// The most bytes of what gpg prints for people.
const MAX_SAID: usize = 64 * 1024;

/// How long the end of a process is waited for at once, after it has closed its output.
const TICK: Duration = Duration::from_millis(2);

/// A gpg command.
pub(crate) struct Program {
    command: Command,
    patience: Duration,
    limit: usize,
}

/// What a command printed.
pub(crate) struct Output {
    pub(crate) is_success: bool,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Program {
    /// A command that asks nothing on the terminal, and may print this many bytes.
    pub(crate) fn new(patience: Duration, limit: usize) -> Self {
        let mut command = Command::new("gpg");
        // raas shows what gpg says, so it must be in one language.
        command.env("LC_ALL", "C").args(["--batch", "--no-tty", "--quiet"]);
        // Ctrl-C reaches the process group of the terminal: raas decides what an interrupt ends.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, patience, limit }
    }

    /// Adds arguments.
    pub(crate) fn args<A: AsRef<std::ffi::OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Removes a variable of the environment.
    pub(crate) fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs the command with this standard input.
    ///
    /// # Errors
    /// It cannot be run, takes too long, or prints too much.
    pub(crate) fn run(mut self, input: Vec<u8>) -> Result<Output, GpgError> {
        let deadline = Instant::now() + self.patience;
        let timed_out = || GpgError::TimedOut(self.patience.as_secs());
        let mut child = self.command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => GpgError::Missing,
            _ => GpgError::Run(error),
        })?;
        let running = Running { group: ProcessGroup::new(child.id()), child: &mut child };
        if let Some(mut stdin) = running.child.stdin.take() {
            // A command that has read enough closes its standard input.
            thread::spawn(move || drop(stdin.write_all(&input)));
        }
        let stdout = read(running.child.stdout.take(), self.limit);
        let stderr = read(running.child.stderr.take(), MAX_SAID);
        let wait = |bytes: &Receiver<io::Result<Vec<u8>>>| match bytes
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            Ok(bytes) => bytes.map_err(GpgError::Run),
            Err(RecvTimeoutError::Timeout) => Err(timed_out()),
            Err(RecvTimeoutError::Disconnected) => Ok(Vec::new()),
        };
        let (stdout, stderr) = (wait(&stdout)?, wait(&stderr)?);
        if stdout.len() > self.limit {
            return Err(GpgError::TooLong(self.limit));
        }
        let status = running.finish(deadline)?.ok_or_else(timed_out)?;
        Ok(Output { is_success: status.success(), stdout, stderr })
    }
}

/// Reads at most one byte more than the limit, on a thread of its own.
fn read(from: Option<impl Read + Send + 'static>, limit: usize) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    if let Some(from) = from {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = from.take(limit as u64 + 1).read_to_end(&mut bytes);
            // Nobody waits any more if the command has taken too long.
            drop(sender.send(read.map(|_| bytes)));
        });
    }
    receiver
}

/// A process that ends with this value.
struct Running<'a> {
    group: ProcessGroup,
    child: &'a mut Child,
}

impl Running<'_> {
    /// Waits for the end, which comes right after the end of the output. `None` if it does not come in time.
    fn finish(self, deadline: Instant) -> Result<Option<ExitStatus>, GpgError> {
        loop {
            if let Some(status) = self.child.try_wait().map_err(GpgError::Run)? {
                return Ok(Some(status));
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
            thread::sleep(TICK);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.group.kill();
            drop(self.child.wait());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command that hashes its standard input, or a file.
    fn hash(patience: Duration, limit: usize) -> Program {
        Program::new(patience, limit).args(["--no-options", "--no-keyring", "--print-md", "SHA256"])
    }

    #[test]
    fn a_command_has_a_limit_of_output_and_of_time() {
        let output = hash(Duration::from_secs(30), 1024).run(b"x".to_vec()).unwrap();
        assert!(output.is_success && output.stdout.len() > 32);
        let long = hash(Duration::from_secs(30), 8).run(b"x".to_vec());
        assert!(matches!(long, Err(GpgError::TooLong(8))));
        let endless = hash(Duration::from_millis(50), 8).args(["/dev/zero"]).run(Vec::new());
        assert!(matches!(endless, Err(GpgError::TimedOut(0))));
    }
}
