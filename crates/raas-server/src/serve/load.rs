//! Loads all sites for the first time, before the server accepts connections.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::options::Options;
use crate::site::{MetadataHealth, SiteSource};
use crate::state::ServerState;
use crate::watch::{UnpackingSlots, WatchContext, Watcher};

/// Loads all sites for the first time.
pub(super) async fn load<S: SiteSource>(
    state: &Arc<ServerState>,
    sites: S,
    options: &Options,
) -> io::Result<Watcher<S>> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let context = WatchContext {
        client: Arc::clone(&state.client),
        every: options.remote_poll,
        every_with_customers: options.customers_poll.min(options.remote_poll),
        runtime: Handle::current(),
        slots: UnpackingSlots::new(processors),
        site_memory: options.site_memory,
        allow_rollback: options.allow_rollback,
        state: options.state.clone(),
        changed: Arc::default(),
        token_key: options.token_key.clone(),
        traces: options.traces.clone(),
    };
    let mut watcher = Watcher::new(Arc::new(sites), context);
    let loading = spawn_blocking(move || watcher.first().map(|snapshot| (watcher, snapshot)));
    let (mut watcher, snapshot) = loading.await.map_err(io::Error::other)??;
    state.current.store(Arc::new(snapshot));
    let states = watcher.states();
    if states.is_empty() {
        return Ok(watcher);
    }
    // Sites that are late are served as soon as they are loaded.
    let _ = timeout(options.start_timeout, most_were_tried(&states, options.start_pause)).await;
    let polling = spawn_blocking(move || {
        let snapshot = watcher.poll();
        (watcher, snapshot)
    });
    let (watcher, snapshot) = polling.await.map_err(io::Error::other)?;
    if let Some(snapshot) = snapshot {
        state.current.store(Arc::new(snapshot));
    }
    Ok(watcher)
}

/// Waits until all sites were tried, or some were tried and no further one for the time `pause`.
async fn most_were_tried(states: &[Arc<MetadataHealth>], pause: Duration) {
    /// Too short to be noticed at a start.
    const STEP: Duration = Duration::from_millis(10);
    let (mut before, mut since) = (0, Instant::now());
    loop {
        let tried = states.iter().filter(|health| health.was_tried()).count();
        if tried > before {
            (before, since) = (tried, Instant::now());
        }
        if tried == states.len() || (tried > 0 && since.elapsed() >= pause) {
            return;
        }
        tokio::time::sleep(STEP).await;
    }
}
