//! Limits how many parts are unpacked at once, fairly among the sites.
//!
//! A site waits for its own slots first, and only then for a slot of the server. So a site has few places in the queue
//! of the server, however many parts it has. One site never takes all slots, so another site need not wait for it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots of a server.
#[derive(Debug, Clone)]
pub(crate) struct UnpackingSlots {
    all: Arc<Semaphore>,
    /// The slots that one site may take.
    each: usize,
}

/// The slots of a site.
#[derive(Debug, Clone)]
pub(crate) struct SiteSlots {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

/// A slot, which is given back when this is dropped.
pub(crate) struct Slot {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl UnpackingSlots {
    /// One site may use all processors. One more slot is for the others.
    pub(crate) fn new(processors: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(processors + 1)), each: processors }
    }

    /// The slots of a site that appears.
    pub(crate) fn site(&self) -> SiteSlots {
        SiteSlots { all: Arc::clone(&self.all), own: Arc::new(Semaphore::new(self.each)) }
    }
}

impl SiteSlots {
    /// Waits for a slot.
    pub(crate) async fn acquire(&self) -> Slot {
        let acquire = async |slots: &Arc<Semaphore>| {
            Arc::clone(slots).acquire_owned().await.expect("the semaphores are never closed")
        };
        let own = acquire(&self.own).await;
        Slot { _all: acquire(&self.all).await, _own: own }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    /// What is ready at once.
    async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn a_site_with_many_parts_leaves_a_slot_for_others() {
        for processors in [1, 2, 8] {
            let slots = UnpackingSlots::new(processors);
            let (greedy, other) = (slots.site(), slots.site());
            let mut held = Vec::new();
            while let Some(slot) = now(greedy.acquire()).await {
                held.push(slot);
            }
            assert_eq!(held.len(), processors);
            let queued: Vec<_> = (0..100).map(|_| Box::pin(greedy.acquire())).collect();
            let mut queued = queued;
            for waiting in &mut queued {
                assert!(now(waiting).await.is_none());
            }
            let slot = now(other.acquire()).await;
            assert!(slot.is_some(), "the other site does not wait");
            drop(slot);
            held.pop();
            assert!(now(&mut queued[0]).await.is_some(), "the next part of the greedy site goes on");
        }
    }
}
