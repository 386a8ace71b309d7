//! Cleans up when a command is interrupted: removes private folders, and ends programs in process groups of their own,
//! which Ctrl-C does not reach.
//!
//! The first folder or process group installs the signal handlers: a command without either keeps the default handlers.
//! A killed run cannot clean up. The next run does it instead (see `scratch`).

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
struct Registered {
    folders: BTreeSet<PathBuf>,
    groups: BTreeSet<i32>,
}

static REGISTERED: Mutex<Registered> =
    Mutex::new(Registered { folders: BTreeSet::new(), groups: BTreeSet::new() });

fn registered() -> MutexGuard<'static, Registered> {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder that an interrupt removes, for as long as this value lives.
#[derive(Debug)]
pub struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// Registers a folder, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        watch();
        registered().folders.insert(path.clone());
        Self(path)
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        registered().folders.remove(&self.0);
    }
}

/// A process group that an interrupt ends, for as long as this value lives.
#[derive(Debug)]
pub struct ProcessGroup(i32);

impl ProcessGroup {
    /// Registers the group that this process leads.
    pub fn new(leader: u32) -> Self {
        let group = i32::try_from(leader).unwrap_or(0);
        registered().groups.insert(group);
        Self(group)
    }

    /// Ends every process of the group.
    pub fn kill(&self) {
        kill(self.0);
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        registered().groups.remove(&self.0);
    }
}

fn kill(group: i32) {
    // Group 0 would be our own.
    if let Some(pid) = Pid::from_raw(group) {
        // An error means that the group has ended already.
        kill_process_group(pid, Signal::KILL).unwrap_or_default();
    }
}

/// Whether the caller exits after an interrupt: see [`caller_exits`].
static CALLER_EXITS: AtomicBool = AtomicBool::new(false);

/// Leaves the exit to the caller, which handles signals too and calls [`clean_up_and_exit`].
pub fn caller_exits() {
    CALLER_EXITS.store(true, Ordering::SeqCst);
}

/// Cleans up, and exits with this code.
pub fn clean_up_and_exit(code: i32) -> ! {
    clean(&registered());
    std::process::exit(code)
}

/// Starts the thread that handles signals, once.
fn watch() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // Without the thread, the next run removes the folders.
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
            let registered = registered();
            // Without anything to clean up, another handler ends the program: a server finishes its requests first.
            if !registered.folders.is_empty() || !registered.groups.is_empty() {
                clean(&registered);
                if !CALLER_EXITS.load(Ordering::SeqCst) {
                    std::process::exit(128 + number);
                }
            }
        }
    });
}

fn clean(registered: &Registered) {
    registered.groups.iter().copied().for_each(kill);
    for folder in &registered.folders {
        // A program of a killed group may still have made a file during the removal.
        for _ in 0..20 {
            if fs::remove_dir_all(folder).is_ok() || !folder.exists() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        drop(fs::remove_file(folder.with_extension("lock")));
    }
}
