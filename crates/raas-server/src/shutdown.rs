//! Tells connections that the server stops, and waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// The server's shutdown.
pub(crate) struct Shutdown {
    sender: watch::Sender<()>,
    stops: Arc<AtomicBool>,
}

/// A connection's view of the shutdown. The server waits until it is dropped.
pub(crate) struct ShutdownWatch {
    receiver: watch::Receiver<()>,
    stops: Arc<AtomicBool>,
}

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self { sender: watch::Sender::new(()), stops: Arc::default() }
    }

    /// A watch for one more connection.
    pub(crate) fn watch(&self) -> ShutdownWatch {
        ShutdownWatch { receiver: self.sender.subscribe(), stops: Arc::clone(&self.stops) }
    }

    /// Tells all connections, and waits until there is none.
    pub(crate) async fn finish(self) {
        self.stops.store(true, Ordering::Release);
        // There may be no connection.
        let _ = self.sender.send(());
        self.sender.closed().await;
    }
}

impl ShutdownWatch {
    /// A flag that becomes true when the server stops. It is cheaper than a poll of [`requested`](Self::requested).
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stops)
    }

    /// Waits until the server stops. Returns at once if it stops already.
    pub(crate) async fn requested(&mut self) {
        if self.stops.load(Ordering::Acquire) {
            return;
        }
        // An error means that the server is gone.
        let _ = self.receiver.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn every_watch_is_told_and_waited_for() {
        let drain = Shutdown::new();
        let (mut one, other) = (drain.watch(), drain.watch());
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(one.requested()).poll(&mut context).is_pending());
        let mut finish = pin!(drain.finish());
        assert!(finish.as_mut().poll(&mut context).is_pending());
        assert!(pin!(one.requested()).poll(&mut context).is_ready());
        assert!(pin!(one.requested()).poll(&mut context).is_ready(), "again");
        drop(one);
        assert!(finish.as_mut().poll(&mut context).is_pending());
        drop(other);
        assert!(finish.as_mut().poll(&mut context).is_ready());
    }
}
