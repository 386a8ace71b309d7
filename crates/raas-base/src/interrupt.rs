//! What must not be left behind when a command is interrupted: private folders, and programs that run in a group of
//! their own and so do not hear of Ctrl-C.
//!
//! Nothing is changed about signals before there is such a thing. A run that is killed cannot do this; the next
//! one sweeps up behind it (see `scratch`).

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Default)]
struct Pending {
    folders: BTreeSet<PathBuf>,
    groups: BTreeSet<i32>,
}

static PENDING: Mutex<Pending> = Mutex::new(Pending { folders: BTreeSet::new(), groups: BTreeSet::new() });

fn pending() -> MutexGuard<'static, Pending> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder that is removed when the command is interrupted, until this is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Guards a folder.
    pub fn new(path: PathBuf) -> Self {
        watch();
        pending().folders.insert(path.clone());
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        pending().folders.remove(&self.0);
    }
}

/// A process group that is ended when the command is interrupted, until this is dropped.
#[derive(Debug)]
pub struct Group(i32);

impl Group {
    /// The group that this process leads.
    pub fn new(leader: u32) -> Self {
        let group = i32::try_from(leader).unwrap_or(0);
        pending().groups.insert(group);
        Self(group)
    }

    /// Ends every process of the group.
    pub fn kill(&self) {
        kill(self.0);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        pending().groups.remove(&self.0);
    }
}

fn kill(group: i32) {
    // 0 would be our own group.
    if let Some(pid) = Pid::from_raw(group) {
        // One that has ended already is as good.
        kill_process_group(pid, Signal::KILL).unwrap_or_default();
    }
}

/// Whether somebody else ends the program when it is interrupted, once that is cleaned up for too.
static ENDED_ELSEWHERE: AtomicBool = AtomicBool::new(false);

/// Says that the caller listens for signals as well, and ends the program with [`end`].
pub fn ended_elsewhere() {
    ENDED_ELSEWHERE.store(true, Ordering::SeqCst);
}

/// Ends the program, with nothing left behind.
pub fn end(code: i32) -> ! {
    clean(&pending());
    std::process::exit(code)
}

/// Listens for the signals that end a program.
fn watch() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // Without the thread an interrupted run leaves its folder to be swept by the next.
        drop(thread::Builder::new().name("interrupt".into()).spawn(listen));
    });
}

fn listen() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else { return };
        loop {
            let number = tokio::select! {
                _ = interrupt.recv() => 2,
                _ = terminate.recv() => 15,
                _ = hangup.recv() => 1,
            };
            let pending = pending();
            // With nothing to clean up the signal is somebody else's: a server's, which ends in its own way.
            if !pending.folders.is_empty() || !pending.groups.is_empty() {
                clean(&pending);
                if !ENDED_ELSEWHERE.load(Ordering::SeqCst) {
                    std::process::exit(128 + number);
                }
            }
        }
    });
}

fn clean(pending: &Pending) {
    pending.groups.iter().copied().for_each(kill);
    for folder in &pending.folders {
        // A program that was killed may have made a file while its folder was being removed.
        for _ in 0..20 {
            if fs::remove_dir_all(folder).is_ok() || !folder.exists() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        drop(fs::remove_file(folder.with_extension("lock")));
    }
}
