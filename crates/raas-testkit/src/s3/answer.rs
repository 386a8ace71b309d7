//! The answers of the service.

use std::io::{self, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest as _, Md5};
use raas_types::Digest;

use super::request::{Request, decoded};
use super::state::{Part, State, etag, etag_of_parts};
use super::{Quirk, Shared, What, time};

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    fn xml(root: &str, content: &str) -> Self {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{content}</{root}>"
        );
        Self {
            status: 200,
            headers: vec![("Content-Type", "application/xml".into())],
            body: body.into_bytes(),
        }
    }

    fn refuse(status: u16, code: &str) -> Self {
        Self::refuse_with(status, code, &format!("told to say {code}"))
    }

    fn refuse_with(status: u16, code: &str, message: &str) -> Self {
        let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
        Self { status, headers: vec![("Content-Type", "application/xml".into())], body: body.into_bytes() }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same answer without quotation marks around entity tags.
    fn with_bare_etags(mut self) -> Self {
        for (name, value) in &mut self.headers {
            if *name == "ETag" {
                *value = value.replace('"', "");
            }
        }
        if let Ok(text) = String::from_utf8(self.body.clone())
            && text.contains("<ETag>")
        {
            let text =
                text.replace("&quot;", "").replace("<ETag>\"", "<ETag>").replace("\"</ETag>", "</ETag>");
            self.body = text.into_bytes();
        }
        self
    }

    fn write(&self, mut stream: &TcpStream, head_only: bool, now: SystemTime) -> io::Result<()> {
        let reason = if self.status < 300 { "OK" } else { "Refused" };
        let mut head = format!("HTTP/1.1 {} {reason}\r\nDate: {}\r\n", self.status, time::http(now));
        if self.status != 204 {
            let length = self.headers.iter().find(|(name, _)| *name == "Content-Length");
            if length.is_none() {
                head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
            }
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        if !head_only {
            stream.write_all(&self.body)?;
        }
        stream.flush()
    }
}

impl Shared {
    /// Answers requests until the client or the service ends.
    pub(super) fn converse(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = Request::read_head(&mut reader)? {
            if self.ended.load(std::sync::atomic::Ordering::SeqCst) {
                break;
            }
            let fault = self.state().next_fault(&request);
            if matches!(fault, Some(What::Reset)) {
                request.read_body(&mut reader, request.length / 2)?;
                return stream.shutdown(Shutdown::Both);
            }
            let mut body = request.read_body(&mut reader, request.length)?;
            if let (Some(What::Damage), Some(byte)) = (&fault, body.first_mut()) {
                *byte ^= 1;
            }
            if let Some(What::Slow(by)) = fault {
                self.take_time(by);
            }
            let mut now = SystemTime::now();
            let answer = match &fault {
                Some(What::Refuse(status, code)) => Answer::refuse(*status, code),
                Some(What::Later(status, seconds)) => {
                    Answer::empty(*status).with("Retry-After", seconds.to_string())
                }
                Some(What::Fail200(code)) => Answer::refuse(200, code),
                Some(What::Moved(region)) => {
                    Answer::refuse(301, "PermanentRedirect").with("x-amz-bucket-region", *region)
                }
                Some(What::Skew(by)) => {
                    now += *by;
                    Answer::refuse(403, "RequestTimeTooSkewed")
                }
                _ => self.state().answer_with_quirk(&request, body),
            };
            let mut answer = answer;
            if let (Some(What::Damage), "GetObject", Some(byte)) =
                (&fault, request.operation, answer.body.first_mut())
            {
                *byte ^= 1;
            }
            let head_only = request.operation.starts_with("Head");
            match fault {
                Some(What::LoseAnswer) => return stream.shutdown(Shutdown::Both),
                Some(What::Head(by)) => {
                    let length = answer.body.len().to_string();
                    answer.with("Content-Length", length).write(stream, true, now)?;
                    self.take_time(by);
                    return stream.shutdown(Shutdown::Both);
                }
                Some(What::Unreadable) => Answer::xml("Unreadable", "").write(stream, head_only, now)?,
                Some(What::Truncate) => {
                    let length = answer.body.len();
                    let mut answer = answer.with("Content-Length", length.to_string());
                    answer.body.truncate(length / 2);
                    answer.write(stream, head_only, now)?;
                    return stream.shutdown(Shutdown::Both);
                }
                _ => answer.write(stream, head_only, now)?,
            }
        }
        Ok(())
    }
}

impl State {
    fn next_fault(&mut self, request: &Request) -> Option<What> {
        let name = request.known_as();
        self.asked.push((name.clone(), request.key.clone()));
        self.faults.iter_mut().find_map(|fault| fault.takes(&name, &request.key).then(|| fault.what.clone()))
    }

    fn answer_with_quirk(&mut self, request: &Request, body: Vec<u8>) -> Answer {
        let Some(quirk) = self.quirk else { return self.answer(request, body) };
        if let Some((status, code, message)) = quirk.refusal(request) {
            return Answer::refuse_with(status, code, &message);
        }
        let answer = self.answer(request, body);
        match quirk {
            _ if answer.status == 404 && quirk.hides_missing(request.operation) => {
                Answer::refuse(403, "AccessDenied")
            }
            Quirk::BareEtags => answer.with_bare_etags(),
            _ => answer,
        }
    }

    fn answer(&mut self, request: &Request, body: Vec<u8>) -> Answer {
        let Request { operation, bucket, key, .. } = request;
        if *operation == "CreateBucket" {
            return self.create_bucket(bucket, &body);
        }
        if !self.buckets.contains_key(bucket) {
            return Answer::refuse(404, "NoSuchBucket");
        }
        let is_signed =
            request.headers.contains_key("authorization") || request.query.contains_key("X-Amz-Signature");
        if self.refuses_everybody && !is_signed && !self.buckets[bucket].settings.contains_key("policy") {
            return Answer::refuse(403, "AccessDenied");
        }
        if let Some(refused) = wrong_checksum(request, &body) {
            return refused;
        }
        if ["PutObject", "UploadPart"].contains(operation) && !is_verified(request) {
            self.unverified.push(((*operation).to_owned(), key.clone()));
        }
        match *operation {
            "HeadBucket" => Answer::empty(200),
            "PutObject" => {
                if let Some(refused) = self.unmet_condition(request) {
                    return refused;
                }
                let etag = self.put(bucket, key, body, headers(request));
                Answer::empty(200).with("ETag", etag)
            }
            "GetObject" | "HeadObject" => self.get(request),
            "DeleteObject" => {
                self.buckets.get_mut(bucket).and_then(|bucket| bucket.objects.remove(key));
                Answer::empty(204)
            }
            "CopyObject" => match self.source(request) {
                Some(bytes) => {
                    let etag = self.put(bucket, key, bytes, headers(request));
                    Answer::xml("CopyObjectResult", &format!("<ETag>{etag}</ETag>"))
                }
                None => Answer::refuse(404, "NoSuchKey"),
            },
            "ListObjectsV2" | "ListObjects" => self.list(request),
            "CreateMultipartUpload" => {
                let checksums = request.headers.contains_key("x-amz-checksum-algorithm");
                let id = self.begin(bucket, key, headers(request), checksums);
                let content = format!("<Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>{id}</UploadId>");
                Answer::xml("InitiateMultipartUploadResult", &content)
            }
            "UploadPart" => match self.unfit_checksum(request) {
                Some(refused) => refused,
                None => self.part(request, body),
            },
            "UploadPartCopy" => match self.source(request) {
                Some(bytes) => {
                    let answer = self.part(request, bytes);
                    let etag = answer.headers.iter().find(|(name, _)| *name == "ETag");
                    let etag = etag.map(|(_, etag)| etag.clone()).unwrap_or_default();
                    Answer::xml("CopyPartResult", &format!("<ETag>{etag}</ETag>"))
                }
                None => Answer::refuse(404, "NoSuchKey"),
            },
            "CompleteMultipartUpload" => self.complete(request, &String::from_utf8_lossy(&body)),
            "AbortMultipartUpload" => match self.uploads.remove(&request.query["uploadId"]) {
                Some(_) => Answer::empty(204),
                None => Answer::refuse(404, "NoSuchUpload"),
            },
            "ListMultipartUploads" => self.list_uploads(request),
            "ListParts" => self.list_parts(request),
            "GetBucketSetting" | "PutBucketSetting" | "DeleteBucketSetting" => self.setting(request, body),
            _ => Answer::refuse(501, "NotImplemented"),
        }
    }

    /// The refusal of a write whose condition does not hold.
    fn unmet_condition(&self, request: &Request) -> Option<Answer> {
        let found =
            self.buckets[&request.bucket].objects.get(&request.key).map(|object| object.etag.as_str());
        let header = |name: &str| request.headers.get(name).map(String::as_str);
        let unmet = match (header("if-match"), header("if-none-match")) {
            (Some(_), _) if self.heeds_conditions && found.is_none() => {
                return Some(Answer::refuse(404, "NoSuchKey"));
            }
            (Some(etag), _) => found != Some(etag),
            (_, Some(_)) => found.is_some(),
            (None, None) => false,
        };
        (unmet && self.heeds_conditions).then(|| Answer::refuse(412, "PreconditionFailed"))
    }

    fn create_bucket(&mut self, name: &str, body: &[u8]) -> Answer {
        if self.buckets.contains_key(name) {
            return Answer::refuse(409, "BucketAlreadyOwnedByYou");
        }
        let text = String::from_utf8_lossy(body);
        let region = element(&text, "LocationConstraint").unwrap_or("us-east-1").to_owned();
        let bucket = super::state::Bucket { region, ..Default::default() };
        self.buckets.insert(name.to_owned(), bucket);
        Answer::empty(200)
    }

    fn get(&self, request: &Request) -> Answer {
        let Some(object) = self.buckets[&request.bucket].objects.get(&request.key) else {
            return Answer::refuse(404, "NoSuchKey");
        };
        let range = request.headers.get("range").and_then(|text| text.strip_prefix("bytes="));
        let from = range.and_then(|text| text.trim_end_matches('-').parse().ok()).unwrap_or(0_usize);
        let expected = request.headers.get("if-match").map(|etag| etag.trim_matches('"'));
        if expected.is_some_and(|etag| etag != object.etag.trim_matches('"')) {
            return Answer::refuse(412, "PreconditionFailed");
        }
        let bytes = object.bytes[from.min(object.bytes.len())..].to_vec();
        let status = if range.is_some() { 206 } else { 200 };
        let mut answer = Answer { status, headers: Vec::new(), body: bytes };
        // The checksum of an object in parts would be one of its parts' checksums.
        let asks = request.headers.get("x-amz-checksum-mode").is_some_and(|mode| mode == "ENABLED");
        if asks && self.tells_checksums && !object.etag.contains('-') {
            let checksum = BASE64_STANDARD.encode(Digest::of(&object.bytes).bytes());
            answer = answer.with("x-amz-checksum-sha256", checksum);
        }
        answer
            .with("ETag", &object.etag)
            .with("Last-Modified", time::http(object.modified))
            .with("Content-Type", &object.headers.0)
            .with("Cache-Control", &object.headers.1)
    }

    /// The source of a copy.
    fn source(&self, request: &Request) -> Option<Vec<u8>> {
        let source = decoded(request.headers["x-amz-copy-source"].trim_start_matches('/'));
        let (bucket, key) = source.split_once('/')?;
        let bytes = &self.buckets.get(bucket)?.objects.get(key)?.bytes;
        let range = request.headers.get("x-amz-copy-source-range");
        match range.and_then(|text| text.strip_prefix("bytes=")?.split_once('-')) {
            Some((from, to)) => Some(bytes.get(from.parse().ok()?..=to.parse().ok()?)?.to_vec()),
            None => Some(bytes.to_vec()),
        }
    }

    fn list(&self, request: &Request) -> Answer {
        let text = |name: &str| request.query.get(name).cloned().unwrap_or_default();
        let prefix = text("prefix");
        let version_2 = request.operation == "ListObjectsV2";
        let after = match self.quirk {
            Some(Quirk::ListsFirstPageOnly) => String::new(),
            Some(Quirk::ListsAsVersion1) => text("marker"),
            _ if !version_2 => text("marker"),
            _ => [text("continuation-token"), text("start-after")].into_iter().max().unwrap_or_default(),
        };
        let gives_token = version_2
            && !matches!(
                self.quirk,
                Some(Quirk::ListsAsVersion1 | Quirk::ListsWithoutToken | Quirk::ListsFirstPageOnly)
            );
        let mut matching = self.buckets[&request.bucket]
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix) && (after.is_empty() || **key > after));
        let page: Vec<_> = matching.by_ref().take(self.page).collect();
        let mut content = String::new();
        for (key, object) in &page {
            content.push_str(&format!(
                "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
                escaped(key),
                time::iso(object.modified),
                object.etag.replace('"', "&quot;"),
                object.bytes.len()
            ));
        }
        let truncated = matching.next().is_some();
        content.push_str(&format!("<IsTruncated>{truncated}</IsTruncated>"));
        if truncated && gives_token {
            let last = page.last().map(|(key, _)| key.as_str()).unwrap_or_default();
            content.push_str(&format!("<NextContinuationToken>{}</NextContinuationToken>", escaped(last)));
        }
        Answer::xml("ListBucketResult", &content)
    }

    fn part(&mut self, request: &Request, bytes: Vec<u8>) -> Answer {
        let Some(upload) = self.uploads.get_mut(&request.query["uploadId"]) else {
            return Answer::refuse(404, "NoSuchUpload");
        };
        let number = request.query["partNumber"].parse().unwrap_or(0);
        let etag = etag(&bytes);
        let sha256 = request.headers.get("x-amz-checksum-sha256").cloned();
        upload.parts.insert(number, Part { bytes, etag: etag.clone(), sha256 });
        Answer::empty(200).with("ETag", etag)
    }

    /// The refusal of a part with a checksum in an upload without them, or of one without a checksum in an upload with
    /// them.
    fn unfit_checksum(&self, request: &Request) -> Option<Answer> {
        // A service that refuses the checksum of a part takes the part without it.
        if self.quirk == Some(Quirk::NoChecksumOfPart) {
            return None;
        }
        let upload = self.uploads.get(&request.query["uploadId"])?;
        let has = request.headers.contains_key("x-amz-checksum-sha256");
        let message = "the checksum type of the part is not that of the upload";
        (upload.checksums != has).then(|| Answer::refuse_with(400, "InvalidRequest", message))
    }

    fn complete(&mut self, request: &Request, body: &str) -> Answer {
        let id = &request.query["uploadId"];
        let Some(upload) = self.uploads.get(id) else { return Answer::refuse(404, "NoSuchUpload") };
        let mut parts = Vec::new();
        for text in body.split("<Part>").skip(1) {
            let number = element(text, "PartNumber").and_then(|text| text.parse().ok()).unwrap_or(0);
            let Some(part) = upload.parts.get(&number) else { return Answer::refuse(400, "InvalidPart") };
            let etag = element(text, "ETag").map(|etag| etag.replace("&quot;", "\""));
            let checksum = element(text, "ChecksumSHA256");
            if etag.as_deref().map(|etag| etag.trim_matches('"')) != Some(part.etag.trim_matches('"'))
                || (part.sha256.is_some() && checksum != part.sha256.as_deref())
            {
                return Answer::refuse(400, "InvalidPart");
            }
            parts.push(part);
        }
        let (etag, bytes) = (
            etag_of_parts(&parts),
            parts.iter().map(|part| part.bytes.as_slice()).collect::<Vec<_>>().concat(),
        );
        let (bucket, key, headers) = (upload.bucket.clone(), upload.key.clone(), upload.headers.clone());
        self.uploads.remove(id);
        self.put_as(&bucket, &key, bytes, etag.clone(), headers);
        Answer::xml("CompleteMultipartUploadResult", &format!("<ETag>{etag}</ETag>"))
    }

    fn list_uploads(&self, request: &Request) -> Answer {
        let prefix = request.query.get("prefix").cloned().unwrap_or_default();
        let mut content = String::new();
        for (id, upload) in &self.uploads {
            if upload.bucket == request.bucket && upload.key.starts_with(&prefix) {
                content.push_str(&format!(
                    "<Upload><Key>{}</Key><UploadId>{id}</UploadId><Initiated>{}</Initiated></Upload>",
                    escaped(&upload.key),
                    time::iso(upload.initiated)
                ));
            }
        }
        Answer::xml("ListMultipartUploadsResult", &content)
    }

    fn list_parts(&self, request: &Request) -> Answer {
        let Some(upload) = self.uploads.get(&request.query["uploadId"]) else {
            return Answer::refuse(404, "NoSuchUpload");
        };
        let mut content = String::new();
        for (number, part) in &upload.parts {
            let checksum = part.sha256.as_ref().filter(|_| self.tells_checksums);
            let checksum =
                checksum.map(|sum| format!("<ChecksumSHA256>{sum}</ChecksumSHA256>")).unwrap_or_default();
            content.push_str(&format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag><Size>{}</Size>{checksum}</Part>",
                part.etag.replace('"', "&quot;"),
                part.bytes.len()
            ));
        }
        Answer::xml("ListPartsResult", &content)
    }

    fn setting(&mut self, request: &Request, body: Vec<u8>) -> Answer {
        let name = request.setting().unwrap_or_default();
        let Some(bucket) = self.buckets.get_mut(&request.bucket) else {
            return Answer::refuse(404, "NoSuchBucket");
        };
        match request.operation {
            "PutBucketSetting" => {
                bucket.settings.insert(name.to_owned(), body);
                Answer::empty(200)
            }
            "DeleteBucketSetting" => {
                bucket.settings.remove(name);
                Answer::empty(204)
            }
            _ => match (bucket.settings.get(name), name) {
                (Some(value), _) => Answer { status: 200, headers: Vec::new(), body: value.clone() },
                (None, "acl") => {
                    Answer::xml("AccessControlPolicy", "<AccessControlList></AccessControlList>")
                }
                (None, "policy") => Answer::refuse(404, "NoSuchBucketPolicy"),
                (None, _) => Answer::refuse(404, "NoSuchConfiguration"),
            },
        }
    }
}

/// A text inside XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The media type and `Cache-Control` for a new object.
fn headers(request: &Request) -> (String, String) {
    let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
    (header("content-type"), header("cache-control"))
}

/// The refusal of a body that is not what a checksum, or the hash of the payload, says.
fn wrong_checksum(request: &Request, body: &[u8]) -> Option<Answer> {
    let header = |name: &str| request.headers.get(name).map(String::as_str);
    let digest = Digest::of(body);
    if header("x-amz-checksum-sha256").is_some_and(|told| told != BASE64_STANDARD.encode(digest.bytes())) {
        return Some(Answer::refuse(400, "BadDigest"));
    }
    if payload_hash(request).is_some_and(|told| told != digest.hex().as_str()) {
        return Some(Answer::refuse(400, "XAmzContentSHA256Mismatch"));
    }
    let md5 = || BASE64_STANDARD.encode(Md5::digest(body));
    if header("content-md5").is_some_and(|told| told != md5()) {
        return Some(Answer::refuse(400, "BadDigest"));
    }
    let has_checksum = request.headers.keys().any(|name| name.starts_with("x-amz-checksum-"));
    let needs = request.operation == "PutBucketSetting" && header("content-md5").is_none();
    (needs && !has_checksum).then(|| Answer::refuse(400, "InvalidRequest"))
}

/// The SHA-256 of the payload that the signature covers, in hex digits.
fn payload_hash(request: &Request) -> Option<&str> {
    let hash = request.headers.get("x-amz-content-sha256")?;
    (hash.len() == 64).then_some(hash)
}

/// Whether the service can tell that it has the bytes that the client has sent.
fn is_verified(request: &Request) -> bool {
    request.headers.contains_key("x-amz-checksum-sha256") || payload_hash(request).is_some()
}

/// The text of an XML element.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split_once("</")?.0)
}
