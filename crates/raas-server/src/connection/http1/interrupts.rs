//! What interrupts a connection that waits for its client: the server's shutdown, and a timer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use tokio::time::{Instant, Sleep};

/// The interrupts of one connection.
///
/// A future that was polled wakes the task when it is ready. So once both futures were polled, a look at the shutdown
/// flag and at the timer's deadline is enough, and a request costs no poll of either.
pub(super) struct Interrupts<'a, F> {
    shutdown_flag: Arc<AtomicBool>,
    shutdown: Pin<&'a mut F>,
    timer: Pin<&'a mut Sleep>,
    /// Whether both futures wake the task.
    is_armed: bool,
}

impl<'a, F: Future<Output = ()>> Interrupts<'a, F> {
    /// `shutdown` is ready when the server stops, and `shutdown_flag` is true from then on.
    pub(super) fn new(
        shutdown_flag: Arc<AtomicBool>,
        shutdown: Pin<&'a mut F>,
        timer: Pin<&'a mut Sleep>,
    ) -> Self {
        Self { shutdown_flag, shutdown, timer, is_armed: false }
    }

    /// Whether the server stops. It must not be called again after it returned true.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> bool {
        (!self.is_armed || self.shutdown_flag.load(Ordering::Acquire))
            && self.shutdown.as_mut().poll(cx).is_ready()
    }

    /// Whether the timer's deadline has passed.
    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        (!self.is_armed || self.timer.is_elapsed()) && self.timer.as_mut().poll(cx).is_ready()
    }

    /// Sets the timer. It wakes the task again only after the next poll.
    pub(super) fn set_timer(&mut self, deadline: Instant) {
        self.timer.as_mut().reset(deadline);
        self.is_armed = false;
    }

    /// Notes that both futures were polled since the timer was last set.
    pub(super) fn armed(&mut self) {
        self.is_armed = true;
    }
}
