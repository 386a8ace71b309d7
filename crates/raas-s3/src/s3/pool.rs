//! The memory of all uploads: a fixed number of buffers, whatever the number of uploads.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The usual size of a part, in bytes: the smallest that S3 takes.
pub(super) const PART: usize = 5 << 20;

/// How many parts are in memory, being filled or being sent.
pub(super) const PARTS: usize = 5;

/// An object up to this size, in bytes, gets a buffer of its own length.
const SMALL: usize = 256 << 10;

/// The most parts that one buffer counts as. A small object is sent whole and has up to two parts. The parts of objects
/// of more than 87 GiB are larger and count as two.
const MOST_FOR_ONE: usize = 2;

/// How many layers of two uploads each are uploaded at once: one upload of the layer as it is, and one of it packed.
///
/// A layer of two uploads may wait for a buffer of one upload while the buffer of the other is partly filled. That
/// buffer cannot be sent before the wait is over. If such layers held all buffers, they would wait for ever. The
/// assertion below rules that out. A layer of one upload holds no buffer while it waits.
pub(super) const PAIRS: usize = 2;

const _: () = assert!(PAIRS * MOST_FOR_ONE < PARTS);

/// The buffers.
#[derive(Debug)]
pub(super) struct Pool {
    /// The size of a part, in bytes.
    part: usize,
    left: Arc<Semaphore>,
    /// Unused buffers of one part's size.
    idle: Mutex<Vec<Vec<u8>>>,
}

/// Bytes of an object that are not sent yet.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    room: usize,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(part: usize) -> Arc<Self> {
        Arc::new(Self { part, left: Arc::new(Semaphore::new(PARTS)), idle: Mutex::default() })
    }

    /// The usual size of a part, in bytes.
    pub(super) fn part(&self) -> usize {
        self.part
    }

    /// Waits for a buffer with room for so many bytes.
    pub(super) async fn take(self: &Arc<Self>, room: usize) -> Buffer {
        let count = room.div_ceil(self.part).clamp(1, MOST_FOR_ONE);
        let permit = self.left.clone().acquire_many_owned(count as u32).await;
        let permit = permit.expect("the semaphore is never closed");
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::new();
        if room > self.part {
            // Unused buffers count as memory too.
            idle.truncate(self.left.available_permits());
        } else if room > SMALL {
            // Reused, since allocators waste memory with large pieces that come and go.
            bytes = idle.pop().unwrap_or_default();
        }
        drop(idle);
        Buffer { bytes, room, pool: self.clone(), _permit: permit }
    }
}

impl Buffer {
    /// Copies as many bytes as there is room for, and returns their number.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room - self.bytes.len());
        if self.bytes.capacity() < self.bytes.len() + taken {
            // The final size at once: growing by doubling would need twice the memory for a while.
            let part = self.pool.part;
            let whole = if self.room > SMALL && self.room <= part { part } else { self.room };
            self.bytes.reserve_exact(whole - self.bytes.len());
        }
        self.bytes.extend_from_slice(&bytes[..taken]);
        taken
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() == self.room
    }

    /// The bytes for requests. The buffer returns to the pool when no request needs it.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.capacity() == self.pool.part {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.clear();
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_used_again() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let pool = Pool::new(PART);
        let mut held: Vec<Buffer> = (0..PARTS).map(|_| runtime.block_on(pool.take(PART))).collect();
        assert_eq!(pool.left.available_permits(), 0);
        let mut one = held.pop().unwrap();
        let chunk = vec![1; PART - 1];
        assert_eq!((one.fill(&chunk), one.is_full()), (PART - 1, false));
        assert_eq!((one.fill(&chunk), one.is_full()), (1, true));
        let address = one.as_ptr();
        drop(one.into_bytes());
        let mut again = runtime.block_on(pool.take(PART));
        assert!(again.is_empty());
        again.fill(b"x");
        assert_eq!(again.as_ptr(), address);
        drop(held);
        drop(again);
        assert_eq!(pool.left.available_permits(), PARTS);
        // Unused buffers are freed for a larger one.
        let mut many: Vec<Buffer> = (0..PARTS).map(|_| runtime.block_on(pool.take(PART))).collect();
        for buffer in &mut many {
            assert_eq!(buffer.fill(b"x"), 1);
        }
        drop(many);
        assert_eq!(pool.idle.lock().unwrap().len(), PARTS);
        let _single = runtime.block_on(pool.take(2 * PART - 1));
        assert_eq!(pool.idle.lock().unwrap().len(), PARTS - 2);
    }
}
