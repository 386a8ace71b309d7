//! Lines of bounded length.

use std::io::{self, BufRead};

/// The longest line of an access log, in bytes: a request's head is no longer than 32 KiB, and JSON escapes some of it.
const LONGEST: usize = 256 * 1024;

/// The next line, without its end; one that is too long comes cut off. `None` at the end.
pub(super) fn next<'a>(source: &mut dyn BufRead, line: &'a mut Vec<u8>) -> io::Result<Option<&'a [u8]>> {
    line.clear();
    let mut some = false;
    loop {
        let piece = source.fill_buf()?;
        if piece.is_empty() {
            return Ok(some.then_some(line.as_slice()));
        }
        some = true;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(piece.len());
        let room = LONGEST.saturating_sub(line.len());
        line.extend_from_slice(&piece[..taken.min(room)]);
        source.consume(taken + usize::from(end.is_some()));
        if end.is_some() {
            return Ok(Some(line.as_slice()));
        }
    }
}
