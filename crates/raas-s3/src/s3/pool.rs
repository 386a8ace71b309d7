//! The memory of all uploads together: a number of parts, whatever the number of uploads.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The size of a part, in bytes, where nothing asks for larger ones.
pub(super) const PART: usize = 8 << 20;

/// Parts in memory, being filled or being sent.
pub(super) const PARTS: usize = 7;

/// Objects up to this, in bytes, have memory of just their length.
const SMALL: usize = 256 << 10;

/// The most that one buffer counts for: an object that is sent whole is up to two parts long. Objects of more than
/// 140 GiB have larger parts than this says.
const MOST_FOR_ONE: usize = 2;

/// Layers at once that are two uploads each, as it is and packed.
///
/// Who waits for a buffer may then hold one that is not full, of the other upload, and it will not be full before the
/// wait is over. Were all buffers held so, nobody would ever go on. Of a single upload, who waits holds none.
pub(super) const PAIRS: usize = 2;

const _: () = assert!(PAIRS * MOST_FOR_ONE < PARTS);

/// The buffers.
#[derive(Debug)]
pub(super) struct Pool {
    /// The size of a part, in bytes.
    part: usize,
    left: Arc<Semaphore>,
    /// Buffers of one part's size that nobody uses.
    idle: Mutex<Vec<Vec<u8>>>,
}

/// Bytes of an object, until they are sent.
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

    /// The size of a part, in bytes, where nothing asks for larger ones.
    pub(super) fn part(&self) -> usize {
        self.part
    }

    /// A buffer with room for so many bytes, once there is one.
    pub(super) async fn take(self: &Arc<Self>, room: usize) -> Buffer {
        let count = room.div_ceil(self.part).clamp(1, MOST_FOR_ONE);
        let permit = self.left.clone().acquire_many_owned(count as u32).await;
        let permit = permit.expect("nobody closes the pool");
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::new();
        if room > self.part {
            // What nobody uses counts too.
            idle.truncate(self.left.available_permits());
        } else if room > SMALL {
            // The same memory again and again: allocators do badly with large pieces that come and go.
            bytes = idle.pop().unwrap_or_default();
        }
        drop(idle);
        Buffer { bytes, room, pool: self.clone(), _permit: permit }
    }
}

impl Buffer {
    /// Takes up to as many bytes as there is room for, and says how many.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room - self.bytes.len());
        if self.bytes.capacity() < self.bytes.len() + taken {
            // At once all that it may come to: growing by doubling would hold twice as much for a while.
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

    /// The bytes as a request's body. They are given back once no request needs them any more.
    pub(super) fn into_body(self) -> ByteStream {
        ByteStream::from(Bytes::from_owner(self))
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
        drop(one.into_body());
        let mut again = runtime.block_on(pool.take(PART));
        assert!(again.is_empty());
        again.fill(b"x");
        assert_eq!(again.as_ptr(), address);
        drop(held);
        drop(again);
        assert_eq!(pool.left.available_permits(), PARTS);
        // Idle buffers make room for others.
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
