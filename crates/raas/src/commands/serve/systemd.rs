//! What the server takes from systemd, and what it tells systemd. Without systemd nothing of this happens.

use std::ffi::OsStr;
use std::io;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// The socket that systemd listens on in the place of this server (`LISTEN_FDS`). Its clients wait while the server
/// restarts, and none of them is refused.
///
/// # Errors
/// systemd hands over more than one socket, or one that is no TCP listener.
pub(super) fn socket() -> io::Result<Option<TcpListener>> {
    let mut sockets = ListenFd::from_env();
    if sockets.len() > 1 {
        return Err(io::Error::other(format!("systemd hands over {} sockets, not one", sockets.len())));
    }
    sockets.take_tcp_listener(0)
}

/// The first folder of the unit's `StateDirectory`.
pub(super) fn state_folder() -> Option<PathBuf> {
    first_folder(&std::env::var_os("STATE_DIRECTORY")?)
}

/// The first of the folders that systemd separates by colons.
fn first_folder(folders: &OsStr) -> Option<PathBuf> {
    let first = folders.as_bytes().split(|byte| *byte == b':').next()?;
    Some(PathBuf::from(OsStr::from_bytes(first))).filter(|folder| folder.is_absolute())
}

/// Tells systemd that the server answers clients (`READY=1`), and what it serves.
pub(super) fn ready(what: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(what)]);
}

/// Tells systemd that the server stops (`STOPPING=1`).
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping after the requests in flight")]);
}

/// Tells systemd twice in each `WatchdogSec` that the server's threads still run. Returns at once without a watchdog.
pub(super) async fn watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    // A limit of nothing would be asked without a pause.
    let mut ticks = tokio::time::interval((limit / 2).max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

/// systemd may have gone. The server answers its clients all the same.
fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell systemd the server's state");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_in_the_first_folder_that_systemd_makes() {
        let table = [
            ("/var/lib/raas", Some("/var/lib/raas")),
            ("/var/lib/a:/var/lib/b", Some("/var/lib/a")),
            ("", None),
            ("relative", None),
        ];
        for (given, expected) in table {
            assert_eq!(first_folder(OsStr::new(given)), expected.map(PathBuf::from), "{given}");
        }
    }
}
