//! Accepts the clients' connections.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::connection::{ConnectionTable, Connections};
use crate::options::Options;
use crate::shutdown::Shutdown;

/// Serves connections until `stop` is done. Then it closes the listener and waits for the requests in flight, for at
/// most the grace period. No connection outlives this function.
pub(super) async fn serve_clients(
    listener: TcpListener,
    connections: Arc<Connections>,
    options: &Options,
    stop: impl Future<Output = ()> + Send,
) {
    let shutdown = Shutdown::new();
    let (most, each) = (options.max_connections, options.max_connections_per_address);
    let table = ConnectionTable::new(Arc::clone(&connections.state), most, each);
    let mut tasks = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let admitted = async {
            let (stream, remote) = accept_one(&listener).await;
            (stream, remote, table.admit(remote).await)
        };
        let (stream, remote, entry) = tokio::select! {
            admitted = admitted => admitted,
            () = &mut stop => break,
        };
        // Without an entry the connection is closed.
        let Some(entry) = entry else { continue };
        let (connections, watch) = (Arc::clone(&connections), shutdown.watch());
        // Remove the tasks that have ended, so that they do not accumulate.
        while tasks.try_join_next().is_some() {}
        let (number, progress) = (entry.number(), Arc::clone(&entry.progress));
        let task = tasks.spawn(async move {
            connections.serve(stream, remote, progress, watch).await;
            drop(entry);
        });
        table.started(number, task);
    }
    drop(listener);
    if timeout(options.grace, shutdown.finish()).await.is_err() {
        tracing::warn!("some requests did not finish within the grace period and are aborted");
    }
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
