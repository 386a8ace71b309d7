//! The port of the operators: metrics and health.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::accept::accept;
use crate::answer::answer_operator;
use crate::connection::{ended, http1};
use crate::state::ServerState;

/// Answers operators. They have a port of their own because metrics name every vendor and repository.
pub(super) async fn serve_operators(
    listener: &TcpListener,
    state: Arc<ServerState>,
    header_timeout: Duration,
) {
    /// The maximal number of connections. Far fewer operators and scrapers are expected.
    const MAX: usize = 100;
    let room = Arc::new(Semaphore::new(MAX));
    let mut tasks = JoinSet::new();
    loop {
        let ((stream, remote), place) = accept(listener, &room).await;
        let state = Arc::clone(&state);
        let service = service_fn(move |request: Request<Incoming>| {
            let response = hyper::Response::from(answer_operator(&state, &request));
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1(header_timeout).serve_connection(TokioIo::new(stream), service);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            ended(remote, connection.await);
            drop(place);
        });
    }
}
