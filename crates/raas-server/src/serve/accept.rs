//! Accepts the clients' connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::BackgroundTask;
use crate::connection::{ConnectionTable, Connections, TableEntry};
use crate::options::Options;
use crate::shutdown::Shutdown;

/// Serves connections until `stop` is done, and for the drain delay. Then it closes the listener and waits for the
/// requests in flight, for at most the grace period. No connection outlives this function.
pub(super) async fn serve_clients(
    listener: TcpListener,
    connections: Arc<Connections>,
    options: &Options,
    stop: impl Future<Output = ()> + Send,
) {
    let state = Arc::clone(&connections.state);
    let limits = Limits {
        connections: options.max_connections,
        connections_per_address: options.max_connections_per_address,
        grace: options.grace,
    };
    let (closing, closes) = oneshot::channel();
    // A task, since the threads of the runtime run tasks: a thread that accepts a connection then also serves it. The
    // thread that runs this function is another one, and would have to wake one of them for each connection.
    let accepting = BackgroundTask::spawn(accept_clients(listener, connections, limits, closes));
    stop.await;
    state.is_stopping.store(true, Ordering::Relaxed);
    sleep(options.drain_delay).await;
    drop(closing);
    accepting.finish().await;
}

/// The limits of a server.
struct Limits {
    connections: usize,
    connections_per_address: Option<usize>,
    /// How long requests in flight may take once the listener is closed.
    grace: Duration,
}

/// Serves connections until the sender of `closes` is dropped, and then waits for the requests in flight.
async fn accept_clients(
    listener: TcpListener,
    connections: Arc<Connections>,
    limits: Limits,
    mut closes: oneshot::Receiver<Infallible>,
) {
    let shutdown = Shutdown::new();
    let (most, each) = (limits.connections, limits.connections_per_address);
    let table = ConnectionTable::new(Arc::clone(&connections.state), most, each);
    let mut tasks = JoinSet::new();
    let mut spawn = |stream: TcpStream, remote: SocketAddr, entry: TableEntry| {
        let (connections, watch) = (Arc::clone(&connections), shutdown.watch());
        // Remove the tasks that have ended, so that they do not accumulate.
        while tasks.try_join_next().is_some() {}
        let (number, progress) = (entry.number(), Arc::clone(&entry.progress));
        let task = tasks.spawn(async move {
            connections.serve(stream, remote, progress, watch).await;
            drop(entry);
        });
        table.started(number, task);
    };
    loop {
        let admitted = async {
            let (stream, remote) = accept_one(&listener).await;
            (stream, remote, table.admit(remote).await)
        };
        let (stream, remote, entry) = tokio::select! {
            admitted = admitted => admitted,
            _ = &mut closes => break,
        };
        // Without an entry the connection is closed.
        if let Some(entry) = entry {
            spawn(stream, remote, entry);
        }
    }
    for (stream, remote) in waiting(listener) {
        if let Some(entry) = table.admit_now(remote) {
            spawn(stream, remote, entry);
        }
    }
    if timeout(limits.grace, shutdown.finish()).await.is_err() {
        tracing::warn!("some requests did not finish within the grace period and are aborted");
    }
}

/// Closes the listener, and returns the connections that were waiting to be accepted. Their clients are connected
/// already: the system would reset them.
fn waiting(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    // A listener of tokio is non-blocking, so this ends when no connection is waiting.
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    let accepted = std::iter::from_fn(|| listener.accept().ok());
    accepted
        .filter_map(|(stream, remote)| {
            stream.set_nonblocking(true).ok()?;
            let _ = stream.set_nodelay(true);
            Some((TcpStream::from_std(stream).ok()?, remote))
        })
        .collect()
}

/// Accepts the next connection once there is room for it. Until then clients wait in the backlog of the operating
/// system: they see a slow server, not a broken one.
pub(super) async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> ((TcpStream, SocketAddr), OwnedSemaphorePermit) {
    let permit = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
    (accept_one(listener).await, permit)
}

async fn accept_one(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                // Sends small answers at once. Without the option answers are slower, but correct.
                let _ = stream.set_nodelay(true);
                return (stream, remote);
            }
            Err(error) => {
                // Usually the process is out of file descriptors, and connections that end free some.
                tracing::warn!(%error, "cannot accept a connection; trying again");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
