//! The bytes of a blob, read on after a cut.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread;

use raas_http::{Body, Response};
use raas_image::Reopen;
use raas_types::Digest;

use super::connection::{Failed, Request};
use super::remote::Remote;
use crate::registry_error::{RegistryError, said};

/// A blob of a repository.
#[derive(Debug, Clone)]
pub(super) struct RemoteBlob {
    pub(super) remote: Arc<Remote>,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl Reopen for RemoteBlob {
    fn size(&self) -> u64 {
        self.size
    }

    fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut reader = BlobReader { blob: self.clone(), at: offset, body: None, cuts: 0, counted: offset };
        if offset < self.size {
            reader.body = Some(reader.blob.body(offset).map_err(io::Error::other)?);
        }
        Ok(Box::new(reader))
    }
}

impl RemoteBlob {
    fn body(&self, offset: u64) -> Result<Body, RegistryError> {
        let what = self.remote.called(&self.digest);
        let path = format!("/v2/{}/blobs/{}", self.remote.name(), self.digest);
        let request = Request { offset, ..Request::get(&path, "*/*", &what) };
        let (response, skip) = self.remote.connection.retry(|| {
            // A redirect is asked for anew each time: it is good for minutes, and a blob may take hours.
            let response = self.remote.connection.send(&request)?;
            let skip = self.check(&response, &request)?;
            Ok((response, skip))
        })?;
        let mut body = response.into_body();
        if skip > 0 {
            let skipped = io::copy(&mut (&mut body).take(skip), &mut io::sink());
            let cut = |why: String| RegistryError::Cut { what: what.clone(), why };
            let skipped = skipped.map_err(|error| cut(error.to_string()))?;
            if skipped < skip {
                return Err(cut(format!("{skipped} of {} bytes have come", self.size)));
            }
        }
        Ok(body)
    }

    /// Checks the head of an answer. Returns how many bytes of it stand before the first wanted byte.
    fn check(&self, response: &Response, request: &Request<'_>) -> Result<u64, Failed> {
        let offset = request.offset;
        let wrong = |why: String| Failed::from(self.remote.connection.content(request, why));
        let length = response.content_length();
        match response.status().as_u16() {
            206 if offset > 0 => {
                let range = response.header("content-range").and_then(parse_range);
                match range {
                    Some((first, total))
                        if first == offset && total.is_none_or(|total| total == self.size) => {}
                    _ => return Err(wrong(format!("it sends another part than the bytes from {offset} on"))),
                }
                match length.filter(|length| *length != self.size - offset) {
                    Some(length) => Err(wrong(format!(
                        "its rest from {offset} on is {length} bytes long, not {}",
                        self.size - offset
                    ))),
                    None => Ok(0),
                }
            }
            200 => match length.filter(|length| *length != self.size) {
                Some(length) => {
                    Err(wrong(format!("it is {length} bytes long, not the {} of its manifest", self.size)))
                }
                // A server that knows no ranges sends all of it.
                None => Ok(offset),
            },
            404 => Err(RegistryError::NotFound { what: request.what.to_owned(), said: String::new() }.into()),
            401 | 403 => Err(self.remote.connection.denied(request.what).into()),
            status => {
                let (what, host) = (request.what.to_owned(), self.remote.host().to_owned());
                Err(RegistryError::Status { what, host, status, said: said(&[]) }.into())
            }
        }
    }
}

/// The first byte and the whole length in `bytes 5-9/10` or `bytes 5-9/*`.
fn parse_range(header: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
    let first = range.split_once('-')?.0.trim().parse().ok()?;
    match total.trim() {
        "*" => Some((first, None)),
        total => Some((first, Some(total.parse().ok()?))),
    }
}

struct BlobReader {
    blob: RemoteBlob,
    /// The position of the next byte.
    at: u64,
    body: Option<Body>,
    /// The number of cuts in a row with too few bytes between them.
    cuts: u32,
    /// The position of the last cut.
    counted: u64,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.blob.size - self.at;
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        loop {
            let body = match &mut self.body {
                Some(body) => body,
                none => none.insert(self.blob.body(self.at).map_err(io::Error::other)?),
            };
            let why = match body.read(&mut buffer[..most]) {
                Ok(0) => format!("{} of {} bytes have come", self.at, self.blob.size),
                Ok(count) => {
                    self.at += count as u64;
                    return Ok(count);
                }
                Err(error) => error.to_string(),
            };
            self.cut(why)?;
        }
    }
}

impl BlobReader {
    /// Pauses after a cut. An error if the blob was cut too often.
    fn cut(&mut self, why: String) -> io::Result<()> {
        self.body = None;
        let patience = self.blob.remote.connection.patience();
        if self.at - self.counted >= patience.progress {
            self.cuts = 0;
        }
        self.counted = self.at;
        self.cuts += 1;
        match patience.pause_after(self.cuts, None) {
            Some(pause) => {
                thread::sleep(pause);
                Ok(())
            }
            None => {
                let what = self.blob.remote.called(&self.blob.digest);
                Err(io::Error::other(RegistryError::Cut { what, why }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_has_a_start_and_perhaps_a_length() {
        let table = [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes */10", None),
            ("items 5-9/10", None),
            ("bytes 5-9", None),
        ];
        for (header, expected) in table {
            assert_eq!(parse_range(header), expected, "{header}");
        }
    }
}
