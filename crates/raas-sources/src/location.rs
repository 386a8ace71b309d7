//! The bytes of a layer at its location, read on after a cut. A stream into a file cannot begin again.

use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use raas_http::Body;

use crate::http;

/// The pauses after cuts in a row. A cut after new bytes begins anew.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];

/// A layer at its location.
pub struct LocationReader {
    url: String,
    size: u64,
    /// The position of the next byte.
    at: u64,
    body: Option<Body>,
    /// The number of cuts in a row without a byte between them.
    cuts: usize,
}

impl LocationReader {
    /// Asks for the layer of this length at its URL.
    ///
    /// # Errors
    /// The server does not answer with the layer.
    pub fn open(url: &str, size: u64) -> io::Result<Self> {
        let mut reader = Self { url: url.to_owned(), size, at: 0, body: None, cuts: 0 };
        reader.body = Some(reader.ask()?);
        Ok(reader)
    }

    /// Asks for the rest of the bytes.
    fn ask(&self) -> io::Result<Body> {
        let agent = http::agent().map_err(|failure| io::Error::other(failure.message().to_owned()))?;
        let mut request = agent.get(&self.url);
        if self.at > 0 {
            request = request.header("range", &format!("bytes={}-", self.at));
        }
        let answer = request.call().map_err(io::Error::other)?;
        let length = answer.content_length();
        match answer.status().as_u16() {
            200 if length.is_none_or(|length| length == self.size) => {
                let mut body = answer.into_body();
                // A server that knows no ranges sends all of it.
                io::copy(&mut (&mut body).take(self.at), &mut io::sink())?;
                Ok(body)
            }
            200 => {
                let length = length.unwrap_or_default();
                Err(io::Error::other(format!("it is {length} bytes long there, not {}", self.size)))
            }
            206 if self.at > 0 && length.is_none_or(|length| length == self.size - self.at) => {
                Ok(answer.into_body())
            }
            status => Err(io::Error::other(format!("it answers {status}"))),
        }
    }

    /// Reads some bytes, or fails.
    fn some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let body = match &mut self.body {
            Some(body) => body,
            None => {
                let body = self.ask()?;
                self.body.insert(body)
            }
        };
        match body.read(buffer)? {
            0 => Err(io::Error::other(format!("{} of {} bytes have come", self.at, self.size))),
            got => Ok(got),
        }
    }
}

impl Read for LocationReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size - self.at;
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        loop {
            match self.some(&mut buffer[..most]) {
                Ok(got) => {
                    self.at += got as u64;
                    self.cuts = 0;
                    return Ok(got);
                }
                Err(error) => {
                    self.body = None;
                    let Some(pause) = PAUSES.get(self.cuts) else { return Err(error) };
                    self.cuts += 1;
                    thread::sleep(*pause);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use raas_testkit::http::{Asked, Reply, Server};

    use super::*;

    #[test]
    fn a_cut_layer_is_read_on_where_it_ended() {
        let bytes: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let (all, count) = (bytes.clone(), AtomicUsize::new(0));
        let server = Server::scripted(move |asked: &Asked| {
            let n = count.fetch_add(1, Ordering::Relaxed);
            match asked.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'))
            {
                None => Reply::new(200, all.clone()).cut(1000),
                // A server that knows no ranges, and one that does.
                Some(_) if n == 1 => Reply::new(200, all.clone()).cut(2000),
                Some(from) => Reply::new(206, &all[from.parse::<usize>().unwrap()..]),
            }
        });
        let mut reader = LocationReader::open(&server.url("/layer"), bytes.len() as u64).unwrap();
        let mut found = Vec::new();
        reader.read_to_end(&mut found).unwrap();
        assert!(found == bytes);
    }

    #[test]
    fn an_answer_that_is_not_the_layer_is_an_error() {
        let server = Server::of([("/layer", "abc")]);
        let error =
            |path: &str, size| LocationReader::open(&server.url(path), size).err().unwrap().to_string();
        assert_eq!(error("/layer", 4), "it is 3 bytes long there, not 4");
        assert_eq!(error("/other", 3), "it answers 404");
    }
}
