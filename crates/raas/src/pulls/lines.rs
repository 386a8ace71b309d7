//! Reads lines of bounded length.

use std::io::{self, BufRead};

/// The longest line of an access log, in bytes. A request's head has at most 32 KiB, and JSON escapes some of it.
const LONGEST: usize = 256 * 1024;

/// The next line, without its line end. A line that is too long is cut off. `None` at the end of the source.
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
