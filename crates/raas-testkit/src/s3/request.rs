//! Requests: their bytes and their operations.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A request.
pub(super) struct Request {
    pub(super) operation: &'static str,
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) query: BTreeMap<String, String>,
    /// Names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) length: usize,
}

impl Request {
    /// The head of the next request; `None` if the client closed the connection.
    pub(super) fn read_head(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = decoded(path.trim_start_matches('/'));
        let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
        let query: BTreeMap<String, String> = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decoded(name), decoded(value)))
            .collect();
        let mut request = Self {
            operation: "",
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            query,
            headers: BTreeMap::new(),
            length: 0,
        };
        let method = method.to_owned();
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            request.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        request.length =
            request.headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        request.operation = request.name(&method);
        Ok(Some(request))
    }

    /// The body, or its first bytes up to a limit.
    pub(super) fn read_body(&self, reader: &mut BufReader<&TcpStream>, length: usize) -> io::Result<Vec<u8>> {
        if self.headers.get("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            reader.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        Ok(body)
    }

    /// The operation as S3 names it.
    fn name(&self, method: &str) -> &'static str {
        let has = |name: &str| self.query.contains_key(name);
        let on_object = !self.key.is_empty();
        match method {
            "GET" if on_object && has("uploadId") => "ListParts",
            "GET" | "HEAD" if on_object => {
                if method == "GET" {
                    "GetObject"
                } else {
                    "HeadObject"
                }
            }
            "HEAD" => "HeadBucket",
            "GET" if has("uploads") => "ListMultipartUploads",
            "GET" if has("list-type") => "ListObjectsV2",
            "POST" if has("uploads") => "CreateMultipartUpload",
            "POST" if has("uploadId") => "CompleteMultipartUpload",
            "PUT" if has("partNumber") && self.headers.contains_key("x-amz-copy-source") => "UploadPartCopy",
            "PUT" if has("partNumber") => "UploadPart",
            "PUT" if self.headers.contains_key("x-amz-copy-source") => "CopyObject",
            "PUT" if on_object => "PutObject",
            "DELETE" if has("uploadId") => "AbortMultipartUpload",
            "DELETE" if on_object => "DeleteObject",
            "GET" if self.setting().is_some() => "GetBucketSetting",
            "PUT" if self.setting().is_some() => "PutBucketSetting",
            "DELETE" if self.setting().is_some() => "DeleteBucketSetting",
            "GET" => "ListObjects",
            "PUT" => "CreateBucket",
            _ => "Unknown",
        }
    }

    /// The setting of the bucket in the request.
    pub(super) fn setting(&self) -> Option<&'static str> {
        ["policy", "lifecycle", "encryption", "publicAccessBlock", "acl"]
            .into_iter()
            .find(|name| self.query.contains_key(*name))
    }

    /// The operation's name for faults and counts. A request for a setting has the setting in it.
    pub(super) fn known_as(&self) -> String {
        match self.setting() {
            Some(setting) if self.key.is_empty() => self.operation.replace("Setting", &format!(":{setting}")),
            _ => self.operation.to_owned(),
        }
    }
}

pub(super) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
