//! The floor of serving on io_uring: it receives a request, sends the same bytes each time, and does nothing else.
//! `just bench-serve` compares the server with it.
//!
//! One system call submits all answers of a turn and waits for further requests. The kernel accepts and receives
//! without a new order for each connection and each request, into buffers that it takes from a ring.
//!
//! usage: uring-floor PORT FILE, where the file is a whole answer, with its head
//!
//! Source: io_uring_setup(2), io_uring_enter(2), io_uring_register_buf_ring(3).

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fd, Fixed};
use io_uring::{IoUring, cqueue, opcode, squeue};

const ENTRIES: u32 = 1024;
const CONNECTIONS: u32 = 1024;
/// Buffers for requests: a power of two, as the kernel wants it.
const BUFFERS: u16 = 1024;
const BUFFER: usize = 4096;
const GROUP: u16 = 0;

/// What has ended: the upper half of the number that the kernel gives back. The lower half is the connection.
const ACCEPT: u64 = 1 << 32;
const RECEIVE: u64 = 2 << 32;
const SEND: u64 = 3 << 32;
const CLOSE: u64 = 4 << 32;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().and_then(|port| port.parse::<u16>().ok()).unwrap_or(0);
    // It lives as long as the program: the kernel reads it whenever it likes.
    let answer: &'static [u8] = std::fs::read(arguments.next().unwrap_or_default())?.leak();
    let length = u32::try_from(answer.len()).map_err(io::Error::other)?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    no_delay(&listener)?;

    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_coop_taskrun()
        .setup_defer_taskrun()
        .setup_cqsize(4 * ENTRIES)
        .build(ENTRIES)?;
    ring.submitter().register_files_sparse(CONNECTIONS)?;
    let mut buffers = Buffers::register(&ring)?;
    let accept = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).allocate_file_index(true).build();
    let accept = accept.user_data(ACCEPT);
    let mut next = vec![accept.clone()];
    let mut done = Vec::new();
    loop {
        for entry in next.drain(..) {
            push(&mut ring, &entry)?;
        }
        ring.submit_and_wait(1)?;
        done.extend(ring.completion());
        for event in done.drain(..) {
            let (what, connection) = (event.user_data() >> 32 << 32, event.user_data() as u32);
            match (what, event.result()) {
                (ACCEPT, index) if index >= 0 => {
                    next.push(receive(index as u32));
                    if !cqueue::more(event.flags()) {
                        next.push(accept.clone());
                    }
                }
                (RECEIVE, received) => {
                    if let Some(buffer) = cqueue::buffer_select(event.flags()) {
                        let whole = buffers.bytes(buffer, received).ends_with(b"\r\n\r\n");
                        buffers.give_back(buffer);
                        if whole {
                            let send = opcode::Send::new(Fixed(connection), answer.as_ptr(), length);
                            next.push(send.build().user_data(SEND | u64::from(connection)));
                        }
                    }
                    if received <= 0 && received != -libc::ENOBUFS {
                        next.push(opcode::Close::new(Fixed(connection)).build().user_data(CLOSE));
                    } else if !cqueue::more(event.flags()) {
                        next.push(receive(connection));
                    }
                }
                // A client that has left ends its connection: the next receipt is empty.
                (SEND | CLOSE, _) => {}
                (_, failed) => return Err(io::Error::from_raw_os_error(-failed)),
            }
        }
    }
}

/// Each piece that comes on a connection, until it ends.
fn receive(connection: u32) -> squeue::Entry {
    opcode::RecvMulti::new(Fixed(connection), GROUP).build().user_data(RECEIVE | u64::from(connection))
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    // SAFETY: the answer and the buffers live as long as the program.
    while unsafe { ring.submission().push(entry) }.is_err() {
        ring.submit()?;
    }
    Ok(())
}

/// Connections inherit it.
fn no_delay(listener: &TcpListener) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the value and its length are those of an integer.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NODELAY,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The buffers that the kernel takes for what it receives.
struct Buffers {
    ring: *mut BufRingEntry,
    tail: u16,
    memory: *mut u8,
}

impl Buffers {
    fn register(ring: &IoUring) -> io::Result<Self> {
        let entries: *mut BufRingEntry = zeroed(usize::from(BUFFERS) * size_of::<BufRingEntry>()).cast();
        // SAFETY: the memory is as large as the entries, begins at a page, and is never freed.
        unsafe { ring.submitter().register_buf_ring_with_flags(entries as u64, BUFFERS, GROUP, 0)? };
        let mut buffers = Self { ring: entries, tail: 0, memory: zeroed(usize::from(BUFFERS) * BUFFER) };
        (0..BUFFERS).for_each(|buffer| buffers.give_back(buffer));
        Ok(buffers)
    }

    fn bytes(&self, buffer: u16, length: i32) -> &[u8] {
        let length = usize::try_from(length).unwrap_or(0).min(BUFFER);
        // SAFETY: the buffer is one of the memory's, and the kernel does not write to it until it is given back.
        unsafe { std::slice::from_raw_parts(self.memory.add(usize::from(buffer) * BUFFER), length) }
    }

    fn give_back(&mut self, buffer: u16) {
        // SAFETY: the entry is one of the ring's, and the kernel reads it only once the tail is behind it.
        unsafe {
            let entry = &mut *self.ring.add(usize::from(self.tail % BUFFERS));
            entry.set_addr(self.memory.add(usize::from(buffer) * BUFFER) as u64);
            entry.set_len(BUFFER as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.ring).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

/// Memory that begins at a page, and lives as long as the program.
fn zeroed(size: usize) -> *mut u8 {
    let layout = Layout::from_size_align(size, 4096).expect("a size of this program");
    // SAFETY: no size is zero.
    let memory = unsafe { alloc_zeroed(layout) };
    if memory.is_null() {
        handle_alloc_error(layout);
    }
    memory
}
