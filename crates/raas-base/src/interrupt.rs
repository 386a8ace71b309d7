//! Ends a run at SIGINT, SIGTERM or SIGHUP, the same way in every mode: the run cleans up, says in one line what is
//! left, and exits with 128 and the signal's number. A second signal ends it at once.
//!
//! ```text
//! signal ──▶ end programs ──▶ wait for the step in progress ──▶ run clean-ups ──▶ remove folders ──▶ say, exit
//!            of a network     (`step`: a commit is made           (CleanUp)        (PrivateFolder)
//!            (ProcessGroup)    whole or not at all)
//! ```
//!
//! A command begins with [`watch`]. Libraries register what there is to clean up, whether somebody watches or not. A
//! killed run cannot clean up: the next run does it instead (see `scratch`). A signal that the parent process has told
//! this process to ignore stays ignored, as `nohup` wants it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, RwLock, RwLockWriteGuard};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

use crate::Say;

/// What there is to clean up.
#[derive(Default)]
struct Registered {
    folders: BTreeSet<PathBuf>,
    groups: BTreeSet<i32>,
    clean_ups: BTreeMap<u64, Arc<Work>>,
    next: u64,
}

/// Cleans up, and returns what the line for people says about it.
type Work = dyn Fn() -> Option<String> + Send + Sync;

static REGISTERED: Mutex<Registered> = Mutex::new(Registered {
    folders: BTreeSet::new(),
    groups: BTreeSet::new(),
    clean_ups: BTreeMap::new(),
    next: 0,
});

fn registered() -> MutexGuard<'static, Registered> {
    lock(&REGISTERED)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder that an interrupt removes, for as long as this value lives.
#[derive(Debug)]
pub struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// Registers a folder, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
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

/// Work that an interrupt does before the process ends, for as long as this value lives.
#[derive(Debug)]
pub struct CleanUp(u64);

impl CleanUp {
    /// Registers work. Its result is a part of the line for people: `the unfinished uploads are removed`.
    pub fn new(work: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        let mut registered = registered();
        registered.next += 1;
        let id = registered.next;
        registered.clean_ups.insert(id, Arc::new(work));
        Self(id)
    }
}

impl Drop for CleanUp {
    fn drop(&mut self) {
        registered().clean_ups.remove(&self.0);
    }
}

/// What a run has changed so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It only reads.
    Reads,
    /// It may publish, and has not done so.
    NothingPublished,
    /// It has published.
    Published,
}

static OUTCOME: Mutex<Outcome> = Mutex::new(Outcome::Reads);

/// Says that this run may publish. The line at an interrupt then says whether it has.
pub fn may_publish() {
    *lock(&OUTCOME) = Outcome::NothingPublished;
}

/// Says that this run has published. A caller does so within the [`step`] that publishes.
pub fn published() {
    *lock(&OUTCOME) = Outcome::Published;
}

/// Is held during a step that an interrupt must not cut.
static STEP: Mutex<()> = Mutex::new(());

/// Does a short step whole: an interrupt waits for its end. Once the run is interrupted, no step begins.
pub fn step<T>(work: impl FnOnce() -> T) -> T {
    let _step = lock(&STEP);
    work()
}

/// Is held for reading while something is made and registered, and for writing during the clean-up.
static MAKING: RwLock<()> = RwLock::new(());

/// Makes something and registers its removal, both or neither: an interrupt waits for the end of this work. During the
/// clean-up nothing new is made.
pub fn make<T>(work: impl FnOnce() -> T) -> T {
    let _making = MAKING.read().unwrap_or_else(PoisonError::into_inner);
    work()
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether the run is interrupted and about to exit.
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst) && !CALLER_EXITS.load(Ordering::SeqCst)
}

/// Waits for the exit if the run is interrupted. The clean-up makes other threads fail, and their errors must not end
/// the process first.
pub fn hold_if_interrupted() {
    while is_interrupted() {
        thread::park();
    }
}

/// Whether the caller exits after an interrupt: see [`caller_exits`].
static CALLER_EXITS: AtomicBool = AtomicBool::new(false);

/// Leaves the exit to a caller that handles signals itself, such as a server, which first answers the requests in
/// flight. The clean-ups are done all the same.
pub fn caller_exits() {
    CALLER_EXITS.store(true, Ordering::SeqCst);
}

/// Handles the signals from now on. `say` takes the line for people.
pub fn watch(say: &Say) {
    static STARTED: Once = Once::new();
    let say = say.clone();
    STARTED.call_once(|| {
        // Without the thread, a signal ends the process as it does by default, and the next run cleans up.
        drop(thread::Builder::new().name("interrupt".into()).spawn(move || listen(say)));
    });
}

fn listen(say: Say) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let Ok(mut signals) = Signals::new() else { return };
        let mut say = Some(say);
        loop {
            let number = signals.next().await;
            if CALLER_EXITS.load(Ordering::SeqCst) {
                let _no_more = nothing_more_is_made();
                clean(&registered_now());
                continue;
            }
            match say.take() {
                Some(say) => {
                    INTERRUPTED.store(true, Ordering::SeqCst);
                    // On a thread of its own, so that the second signal is heard.
                    let end = move || end(&say, number);
                    if thread::Builder::new().name("clean-up".into()).spawn(end).is_err() {
                        std::process::exit(128 + number);
                    }
                }
                None => std::process::exit(128 + number),
            }
        }
    });
}

/// Waits for what is being made. As long as the result lives, nothing more is.
fn nothing_more_is_made() -> RwLockWriteGuard<'static, ()> {
    MAKING.write().unwrap_or_else(PoisonError::into_inner)
}

/// Cleans up, says what is left, and exits.
fn end(say: &Say, number: i32) {
    registered().groups.iter().copied().for_each(kill);
    // Never given back: no step begins any more.
    let _step = lock(&STEP);
    let _no_more = nothing_more_is_made();
    let left = clean(&registered_now());
    say.line(&line(number, *lock(&OUTCOME), &left));
    std::process::exit(128 + number)
}

/// The line for people.
fn line(number: i32, outcome: Outcome, left: &[String]) -> String {
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        _ => "SIGTERM",
    };
    let outcome = match outcome {
        Outcome::Reads => "",
        Outcome::NothingPublished => ": nothing was published",
        Outcome::Published => ": the publication is made, and the next push or `raas setup` completes it",
    };
    let left: String = left.iter().map(|text| format!("; {text}")).collect();
    format!("Interrupted by {name}{outcome}{left}")
}

/// The work to do now. It is done without the lock, since it may register more.
struct Clean {
    folders: Vec<PathBuf>,
    groups: Vec<i32>,
    clean_ups: Vec<Arc<Work>>,
}

fn registered_now() -> Clean {
    let registered = registered();
    Clean {
        folders: registered.folders.iter().cloned().collect(),
        groups: registered.groups.iter().copied().collect(),
        clean_ups: registered.clean_ups.values().cloned().collect(),
    }
}

fn clean(work: &Clean) -> Vec<String> {
    work.groups.iter().copied().for_each(kill);
    let left = work.clean_ups.iter().filter_map(|work| work()).collect();
    work.folders.iter().for_each(|folder| remove(folder));
    left
}

fn remove(folder: &Path) {
    // A program of a killed group, or a thread of this process, may still make a file during the removal.
    for _ in 0..20 {
        if fs::remove_dir_all(folder).is_ok() || !folder.exists() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    drop(fs::remove_file(folder.with_extension("lock")));
}

/// The signals that end a run.
struct Signals(Vec<(tokio::signal::unix::Signal, i32)>);

impl Signals {
    fn new() -> std::io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let heard = kinds.into_iter().filter(|kind| !is_ignored(*kind));
        heard.map(|kind| Ok((signal(kind)?, kind.as_raw_value()))).collect::<Result<_, _>>().map(Self)
    }

    /// The number of the next signal.
    async fn next(&mut self) -> i32 {
        std::future::poll_fn(|context| {
            let came = self
                .0
                .iter_mut()
                .find_map(|(signal, number)| signal.poll_recv(context).is_ready().then_some(*number));
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Whether the parent process has asked to ignore a signal, as `nohup` does. A handler would end that. Source:
/// proc_pid_status(5), `SigIgn`.
pub fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_was_published_and_what_is_left() {
        let left = ["the unfinished uploads are removed".to_owned()];
        assert_eq!(
            line(15, Outcome::NothingPublished, &left),
            "Interrupted by SIGTERM: nothing was published; the unfinished uploads are removed"
        );
        assert_eq!(line(2, Outcome::Reads, &[]), "Interrupted by SIGINT");
        assert!(
            line(1, Outcome::Published, &[]).starts_with("Interrupted by SIGHUP: the publication is made")
        );
    }

    #[test]
    fn only_what_is_still_registered_is_cleaned_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("half"), "x").unwrap();
        let private = PrivateFolder::new(path.clone());
        let kept = CleanUp::new(|| Some("one thing is left".into()));
        drop(CleanUp::new(|| Some("this is over".into())));
        let work = registered_now();
        let of_this_test = Clean { folders: vec![path.clone()], groups: Vec::new(), ..work };
        let left = clean(&of_this_test);
        assert!(left.contains(&"one thing is left".to_owned()) && !left.contains(&"this is over".to_owned()));
        assert!(!path.exists());
        drop((private, kept));
        assert!(!registered().folders.contains(&path));
    }

    #[test]
    fn nothing_is_made_during_a_clean_up() {
        let parent = tempfile::tempdir().unwrap();
        let begin = || crate::run_folder::RunFolder::begin(parent.path(), 0o755, |_| {});
        let made = || fs::read_dir(parent.path()).unwrap().count();
        thread::scope(|scope| {
            let cleaning = nothing_more_is_made();
            let run = scope.spawn(begin);
            thread::sleep(Duration::from_millis(20));
            assert_eq!(made(), 0);
            drop(cleaning);
            let run = run.join().unwrap().unwrap();
            assert_eq!(made(), 2);
            drop(run);
        });
        assert_eq!(made(), 0);
    }
}
