//! Lets the system send a file, without a copy of its bytes in the memory of the server.
//!
//! `sendfile` waits for the disk if a byte is not in the memory of the system. The other connections of the thread would
//! wait too. So another thread reads such a part of the file before.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::timeout;

use crate::body::FilePart;
use crate::files::read_in_memory;
use crate::in_flight::Progress;

/// How many bytes are looked at together, and sent before another connection has its turn.
const WINDOW: u64 = 1024 * 1024;

/// The distance of the bytes that are looked at, which stand for those between them. Also the size of a read.
const STEP: u64 = 64 * 1024;

/// Sends a part of a file to a client. `count` learns what was sent.
///
/// # Errors
/// The file cannot be read or became shorter, or the client takes no byte for as long as `patience`.
pub(super) async fn send(
    socket: &TcpStream,
    patience: Duration,
    part: &FilePart,
    progress: &Progress,
    mut count: impl FnMut(u64),
) -> io::Result<()> {
    let end = part.start + part.length;
    let (mut at, mut in_memory) = (part.start, part.start);
    while at < end {
        if at == in_memory {
            in_memory = end.min(at + WINDOW);
            load(part, at, in_memory - at).await.inspect_err(|error| log(part, error))?;
        }
        match write(socket, &part.file, at, in_memory - at) {
            Ok(0) => {
                let error = ended();
                log(part, &error);
                return Err(error);
            }
            Ok(sent) => {
                at += sent;
                count(sent);
                yield_now().await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                progress.blocked(true);
                timeout(patience, socket.writable()).await.map_err(|_| io::ErrorKind::TimedOut)??;
                progress.blocked(false);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter")
}

fn log(part: &FilePart, error: &io::Error) {
    // The connection breaks, so the client notices that bytes are missing.
    tracing::error!(path = part.path, %error, "reading an object failed while it was sent");
}

/// Writes as much as the socket takes at once.
fn write(socket: &TcpStream, file: &File, at: u64, length: u64) -> io::Result<u64> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    socket.try_io(Interest::WRITABLE, || {
        let sent = rustix::fs::sendfile(socket, file, Some(&mut { at }), length)?;
        Ok(sent as u64)
    })
}

/// Brings a part of the file into the memory of the system.
async fn load(part: &FilePart, at: u64, length: u64) -> io::Result<()> {
    if is_in_memory(&part.file, at, length) {
        return Ok(());
    }
    let file = Arc::clone(&part.file);
    spawn_blocking(move || read(&file, at, length)).await.map_err(io::Error::other)?
}

/// Whether the system has a part of a file in memory, as far as samples tell.
fn is_in_memory(file: &File, at: u64, length: u64) -> bool {
    let last = at + length - 1;
    (at..last).step_by(STEP as usize).chain([last]).all(|at| read_in_memory(file, &mut [0], at).is_some())
}

fn read(file: &File, mut at: u64, length: u64) -> io::Result<()> {
    let end = at + length;
    let mut waste = vec![0; STEP as usize];
    while at < end {
        let most = usize::try_from(end - at).map_or(waste.len(), |left| left.min(waste.len()));
        match file.read_at(&mut waste[..most], at) {
            Ok(0) => return Err(ended()),
            Ok(read) => at += read as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// Larger than a window, and than what sockets take at once.
    const LENGTH: usize = 9 * WINDOW as usize + 12_345;

    fn content() -> Vec<u8> {
        (0..LENGTH).map(|n| (n / 7) as u8 ^ (n >> 13) as u8).collect()
    }

    fn part(start: u64, length: u64) -> FilePart {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content()).unwrap();
        FilePart { file: Arc::new(file), path: "app/blob".into(), start, length }
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, theirs)
    }

    /// Sends in the background; returns the result and the counted bytes.
    async fn sent(part: FilePart, socket: TcpStream, patience: Duration) -> (io::Result<()>, u64) {
        let mut counted = 0;
        let progress = Progress::default();
        let result = send(&socket, patience, &part, &progress, |bytes| counted += bytes).await;
        (result, counted)
    }

    #[tokio::test]
    async fn exactly_the_part_is_sent() {
        let whole = content();
        for (start, length) in
            [(0, LENGTH), (1, LENGTH - 1), (WINDOW as usize - 1, 2), (LENGTH - 5, 5), (3, 0)]
        {
            let (ours, mut theirs) = pair().await;
            let part = part(start as u64, length as u64);
            let sending = tokio::spawn(sent(part, ours, Duration::from_secs(30)));
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).await.unwrap();
            assert!(got == whole[start..start + length], "{start} {length}: {} bytes", got.len());
            let (result, counted) = sending.await.unwrap();
            result.unwrap();
            assert_eq!(counted, length as u64);
        }
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_breaks_the_answer() {
        let (ours, mut theirs) = pair().await;
        let part = part(0, LENGTH as u64);
        part.file.set_len(2 * WINDOW + 5).unwrap();
        let sending = tokio::spawn(sent(part, ours, Duration::from_secs(30)));
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        let (result, counted) = sending.await.unwrap();
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(counted <= 2 * WINDOW + 5 && counted == got.len() as u64, "{counted} {}", got.len());
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (ours, theirs) = pair().await;
        let (result, counted) = sent(part(0, LENGTH as u64), ours, Duration::from_millis(50)).await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(counted < LENGTH as u64);
        drop(theirs);
    }

    #[test]
    fn a_part_that_was_read_is_in_memory() {
        let part = part(0, LENGTH as u64);
        read(&part.file, 0, part.length).unwrap();
        // A file system that cannot tell says no, and the part is read once more.
        let answered = read_in_memory(&part.file, &mut [0], 0);
        assert_eq!(is_in_memory(&part.file, 0, part.length), answered == Some(1));
        assert!(!is_in_memory(&part.file, 0, part.length + 1), "the file is shorter");
        assert_eq!(read(&part.file, 0, part.length + 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
