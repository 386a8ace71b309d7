//! The state of the service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use md5::{Digest as _, Md5};

use super::{Fault, Quirk};

/// The whole state.
pub(super) struct State {
    pub(super) buckets: BTreeMap<String, Bucket>,
    /// Unfinished uploads by their id.
    pub(super) uploads: BTreeMap<String, Multipart>,
    pub(super) faults: Vec<Fault>,
    pub(super) asked: Vec<(String, String)>,
    pub(super) page: usize,
    pub(super) tells_checksums: bool,
    pub(super) heeds_conditions: bool,
    pub(super) refuses_everybody: bool,
    pub(super) quirk: Option<Quirk>,
    pub(super) unverified: Vec<(String, String)>,
    next: usize,
}

/// A bucket.
#[derive(Default)]
pub(super) struct Bucket {
    pub(super) region: String,
    pub(super) objects: BTreeMap<String, Object>,
    pub(super) settings: BTreeMap<String, Vec<u8>>,
}

/// An object.
pub(super) struct Object {
    pub(super) bytes: Arc<[u8]>,
    pub(super) etag: String,
    pub(super) modified: SystemTime,
    /// Media type and `Cache-Control`.
    pub(super) headers: (String, String),
}

/// An upload in parts.
pub(super) struct Multipart {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) initiated: SystemTime,
    pub(super) headers: (String, String),
    /// Whether each part has a checksum.
    pub(super) checksums: bool,
    pub(super) parts: BTreeMap<u32, Part>,
}

/// A part.
pub(super) struct Part {
    pub(super) bytes: Vec<u8>,
    pub(super) etag: String,
    /// The checksum that the client sent, in base64.
    pub(super) sha256: Option<String>,
}

impl State {
    pub(super) fn with_buckets(names: &[&str]) -> Self {
        let bucket = || Bucket { region: "us-east-1".into(), ..Bucket::default() };
        Self {
            buckets: names.iter().map(|name| ((*name).to_owned(), bucket())).collect(),
            uploads: BTreeMap::new(),
            faults: Vec::new(),
            asked: Vec::new(),
            page: 1000,
            tells_checksums: true,
            heeds_conditions: true,
            refuses_everybody: false,
            quirk: None,
            unverified: Vec::new(),
            next: 0,
        }
    }

    pub(super) fn put(
        &mut self,
        bucket: &str,
        key: &str,
        bytes: Vec<u8>,
        headers: (String, String),
    ) -> String {
        let etag = etag(&bytes);
        self.put_as(bucket, key, bytes, etag.clone(), headers);
        etag
    }

    pub(super) fn put_as(
        &mut self,
        bucket: &str,
        key: &str,
        bytes: Vec<u8>,
        etag: String,
        headers: (String, String),
    ) {
        let object = Object { bytes: bytes.into(), etag, modified: SystemTime::now(), headers };
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            bucket.objects.insert(key.to_owned(), object);
        }
    }

    pub(super) fn begin(
        &mut self,
        bucket: &str,
        key: &str,
        headers: (String, String),
        checksums: bool,
    ) -> String {
        self.next += 1;
        let id = format!("upload-{}", self.next);
        let upload = Multipart {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            initiated: SystemTime::now(),
            headers,
            checksums,
            parts: BTreeMap::new(),
        };
        self.uploads.insert(id.clone(), upload);
        id
    }

    pub(super) fn age(&mut self, by: Duration) {
        for upload in self.uploads.values_mut() {
            upload.initiated -= by;
        }
        for bucket in self.buckets.values_mut() {
            for (_, object) in bucket.objects.iter_mut().filter(|(key, _)| key.contains("_uploads/")) {
                object.modified -= by;
            }
        }
    }
}

/// The ETag of a simple object.
pub(super) fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", hex(&Md5::digest(bytes)))
}

/// The ETag of an object in parts.
pub(super) fn etag_of_parts(parts: &[&Part]) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(Md5::digest(&part.bytes));
    }
    format!("\"{}-{}\"", hex(&md5.finalize()), parts.len())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
