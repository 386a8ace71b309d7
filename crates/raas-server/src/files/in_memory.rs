//! Reads what the system has of a file in memory.

use std::fs::File;

/// Reads bytes of a file that the system has in memory. None if it would have to wait for the disk, if the file system
/// cannot tell, and if there is nothing to read.
///
/// Source: preadv2(2), `RWF_NOWAIT`.
#[cfg(target_os = "linux")]
pub(crate) fn read_in_memory(file: &File, buffer: &mut [u8], at: u64) -> Option<usize> {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    loop {
        match preadv2(file, &mut [std::io::IoSliceMut::new(buffer)], at, ReadWriteFlags::NOWAIT) {
            Err(Errno::INTR) => {}
            read => return read.ok().filter(|read| *read > 0),
        }
    }
}

/// Other systems cannot tell.
#[cfg(not(target_os = "linux"))]
pub(crate) fn read_in_memory(_: &File, _: &mut [u8], _: u64) -> Option<usize> {
    None
}
