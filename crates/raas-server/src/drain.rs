//! Letting connections finish when the server stops.

use tokio::sync::watch;

/// Tells connections that the server stops, and waits for them.
pub(crate) struct Drain(watch::Sender<()>);

/// A connection's place among those that are told. The server waits until it is dropped.
pub(crate) struct Notice(watch::Receiver<()>);

impl Drain {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    /// A place for one more connection.
    pub(crate) fn notice(&self) -> Notice {
        Notice(self.0.subscribe())
    }

    /// Tells all of them, and waits until there is none.
    pub(crate) async fn finish(self) {
        // Nobody is there to be told: so much the better.
        let _ = self.0.send(());
        self.0.closed().await;
    }
}

impl Notice {
    /// Waits until the server stops.
    pub(crate) async fn given(&mut self) {
        // The other end is gone: so is the server.
        let _ = self.0.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn all_are_told_and_waited_for() {
        let drain = Drain::new();
        let (mut one, other) = (drain.notice(), drain.notice());
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(one.given()).poll(&mut context).is_pending());
        let mut finish = pin!(drain.finish());
        assert!(finish.as_mut().poll(&mut context).is_pending());
        assert!(pin!(one.given()).poll(&mut context).is_ready());
        drop(one);
        assert!(finish.as_mut().poll(&mut context).is_pending());
        drop(other);
        assert!(finish.as_mut().poll(&mut context).is_ready());
    }
}
