//! Threads that load documents while the rest of the archive is unpacked.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use raas_types::Digest;

use super::super::shelf::{Loaded, Shelf, threads};
use super::bundle::Bundle;

/// How many bundles wait to be loaded. They are held in memory.
const WAITING: usize = 4;

/// A document that takes files of a folder that was not held.
pub(super) struct Again {
    pub(super) path: String,
    pub(super) digest: Digest,
    pub(super) folder: String,
}

/// What a thread has loaded.
type Share = (Vec<Loaded<Digest>>, Vec<Again>);

/// The threads. None runs before there is something to load.
pub(super) struct Loaders<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    shelf: &'env Shelf<Digest>,
    running: Option<(SyncSender<Bundle>, Vec<ScopedJoinHandle<'scope, Share>>)>,
}

impl<'scope, 'env> Loaders<'scope, 'env> {
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>, shelf: &'env Shelf<Digest>) -> Self {
        Self { scope, shelf, running: None }
    }

    /// Loads a bundle's documents, some time.
    pub(super) fn load(&mut self, bundle: Bundle) {
        let (scope, shelf) = (self.scope, self.shelf);
        let (sender, _) = self.running.get_or_insert_with(|| {
            let (sender, receiver) = sync_channel(WAITING);
            let receiver = Arc::new(Mutex::new(receiver));
            let thread = |_| {
                let receiver = Arc::clone(&receiver);
                scope.spawn(move || run(&receiver, shelf))
            };
            (sender, (0..threads(usize::MAX)).map(thread).collect())
        });
        // All threads are gone only if they panicked, which is told at the end.
        let _ = sender.send(bundle);
    }

    /// What all have loaded.
    pub(super) fn finish(self) -> Share {
        let mut all = Share::default();
        let Some((sender, threads)) = self.running else { return all };
        drop(sender);
        for thread in threads {
            // A panic of one is a panic of all, which the watcher tells of and begins again.
            let (loaded, again) = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            all.0.extend(loaded);
            all.1.extend(again);
        }
        all
    }
}

fn run(bundles: &Mutex<Receiver<Bundle>>, shelf: &Shelf<Digest>) -> Share {
    let (mut loaded, mut again) = Share::default();
    loop {
        let next = bundles.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(bundle) = next else { return (loaded, again) };
        bundle.load(shelf, |told| match told {
            Ok(document) => loaded.push(document),
            Err(document) => again.push(document),
        });
    }
}
