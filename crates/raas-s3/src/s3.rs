//! A bucket of Amazon S3, or of a service like it.
//!
//! ```text
//! <prefix>/<key>            an object
//! <prefix>/_uploads/<name>  a layer that is packed: its digest, and so its key, is known only at its end
//! ```
//!
//! The service promises that objects appear whole. Each upload carries its SHA-256, as a checksum or in its signature,
//! and the service verifies it. If a run is killed, the next run resumes the uploads of large layers with a known
//! digest. The uploads of packed layers begin anew.
//!
//! The rest of raas waits by blocking. The threads of this module do the waiting for the service.

mod bucket;
mod bucket_location;
mod checksums;
mod client;
mod conditional;
mod copy;
mod errors;
mod leftovers;
mod listing;
mod multipart;
mod patience;
mod policy;
mod pool;
mod reader;
#[cfg(test)]
mod tests;
mod upload;
mod upload_notes;

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_s3::types::ChecksumMode;
use raas_types::{ObjectKey, VendorName};
use tokio::runtime::{Handle, Runtime};

use raas_base::Say;
use raas_base::failure::{Context as _, Failure};
use raas_http::ForwardProxies;
use raas_publish::storage::{
    Capabilities, InterruptGuard, ListedObject, ObjectMeta, Provision, PutOptions, ServiceStatus, Storage,
    StorageError, Upload, UploadLimits,
};

use crate::aws;
use crate::settings::{AwsSettings, S3Settings};
use bucket_location::BucketLocation;
use checksums::{Checksums, Integrity};
use client::{Requests, RetryPolicy, ServiceObservations};
use errors::{Action, FailedRequest};
use leftovers::{Leftover, Leftovers};
use pool::Pool;
use reader::S3Reader;
use upload::S3Upload;
use upload_notes::UploadNotes;

/// How many layers of one upload each are uploaded at once: as many as there are parts. Each takes some memory beside its
/// part.
const SINGLE_UPLOADS: usize = pool::PARTS;

/// How many threads wait for the service.
const THREADS: usize = 2;

/// A larger difference of the clocks, in seconds, is a warning.
const NOTED_SKEW: i64 = 60;

/// Credentials that end sooner than this are a warning. A source that renews credentials does so earlier.
const ENDING: Duration = Duration::from_secs(10 * 60);

/// A vendor's bucket.
pub struct S3 {
    engine: Arc<Engine>,
}

/// The threads, and the state that they share.
struct Engine {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    shared: Arc<Shared>,
}

/// The state that all requests share.
struct Shared {
    requests: Requests,
    location: BucketLocation,
    checksums: Checksums,
    credentials: SharedCredentialsProvider,
    pool: Arc<Pool>,
    leftovers: Leftovers,
    upload_notes: UploadNotes,
    retry_policy: RetryPolicy,
    observations: Arc<ServiceObservations>,
    say: Say,
}

/// How long the storage tries before it gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retries {
    /// Many times: for commands that need the bucket.
    Many,
    /// Twice: for commands that can go on without the bucket.
    Few,
}

/// What a bucket is opened with.
#[derive(Debug)]
pub struct S3Options<'a> {
    /// The vendor.
    pub vendor: &'a VendorName,
    /// The settings of the vendor's bucket.
    pub settings: &'a S3Settings,
    /// The settings for AWS.
    pub aws: &'a AwsSettings,
    /// The folder in which the runs of one home note their uploads. It need not exist.
    pub uploads: PathBuf,
    /// The file in which the runs of one home note what the service lacks. It need not exist.
    pub service_note: PathBuf,
    /// The proxies between this machine and the service.
    pub proxies: Arc<ForwardProxies>,
    /// How long to try before giving up.
    pub retries: Retries,
    /// Takes lines for people.
    pub say: &'a Say,
}

impl S3 {
    /// A vendor's bucket, which need not exist. This sends no request.
    ///
    /// # Errors
    /// The settings contradict each other. Whether the service answers shows with the first request.
    pub fn new(options: &S3Options<'_>) -> Result<Self, Failure> {
        let policy = match options.retries {
            Retries::Many => RetryPolicy::many(options.settings),
            Retries::Few => RetryPolicy::few(options.settings),
        };
        Self::with_policy(options, &policy, pool::PART)
    }

    /// The host that the server redirects clients to, without its port; `None` if the server sends the bytes itself.
    pub fn client_host(&self) -> Option<String> {
        let location = &self.shared().location;
        location.redirects_clients().then(|| location.host())
    }

    /// As [`new`](Self::new), with this policy and parts of this size in bytes.
    fn with_policy(options: &S3Options<'_>, policy: &RetryPolicy, part_size: usize) -> Result<Self, Failure> {
        let S3Options { vendor, settings, aws, uploads, service_note, say, .. } = options;
        let runtime = Self::runtime().context(|| "cannot start threads".into())?;
        let config = runtime.block_on(aws::load(aws, settings.region.as_deref(), &options.proxies))?;
        let region = config.region().map_or("us-east-1", |region| region.as_ref());
        if settings.endpoint.is_none() {
            aws::reject_other_endpoint(&config)?;
        }
        let location = BucketLocation::new(vendor, settings, region);
        let checksums = Checksums::new(settings.checksums, service_note.clone(), &location);
        let observations = Arc::new(ServiceObservations::default());
        let shared = Shared {
            requests: Requests::new(&config, &location, policy, &observations, say),
            location,
            checksums,
            credentials: config.credentials_provider().expect("`aws::load` sets a provider"),
            pool: Pool::new(part_size),
            leftovers: Leftovers::default(),
            upload_notes: UploadNotes::new(uploads.clone()),
            retry_policy: policy.clone(),
            observations,
            say: (*say).clone(),
        };
        Ok(Self { engine: Arc::new(Engine { runtime: Some(runtime), shared: Arc::new(shared) }) })
    }

    /// The threads of a bucket.
    fn runtime() -> std::io::Result<Runtime> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("s3")
            .enable_all()
            .build()
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.engine.shared
    }
}

impl Engine {
    fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("only the drop takes it").handle()
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle().block_on(future)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Nobody waits for requests that are still running.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Storage for S3 {
    fn create(&self, options: PutOptions) -> Result<Box<dyn Upload>, StorageError> {
        Ok(Box::new(S3Upload::new(self.engine.clone(), options)))
    }

    fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StorageError> {
        self.engine.block_on(self.shared().head(&self.shared().location.key(key), key))
    }

    fn read(&self, key: &ObjectKey) -> Result<Option<Box<dyn Read + Send>>, StorageError> {
        let reader = S3Reader::open(self.engine.clone(), self.shared().location.key(key))?;
        Ok(reader.map(|reader| Box::new(reader) as Box<dyn Read + Send>))
    }

    fn copy(&self, from: &ObjectKey, to: &ObjectKey, size: u64) -> Result<(), StorageError> {
        self.engine.copy(&self.shared().location.key(from), to, size)
    }

    fn delete_key(&self, key: &str) -> Result<(), StorageError> {
        self.engine.block_on(self.shared().remove(&format!("{}{key}", self.shared().location.prefix)))
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(ListedObject)) -> Result<(), StorageError> {
        let shared = self.shared();
        let full = format!("{}{prefix}", shared.location.prefix);
        self.engine.block_on(shared.list_keys(&full, &mut |mut object| {
            if let Some(key) = shared.location.relative(&object.key) {
                object.key = key.to_owned();
                each(object);
            }
        }))
    }

    fn ping(&self) -> Result<(), StorageError> {
        match self.engine.block_on(self.shared().ping()) {
            Err(error) if error.is_unanswered() => Err(error),
            _ => Ok(()),
        }
    }

    fn abort_stale_uploads(&self) -> Result<usize, StorageError> {
        self.engine.block_on(self.shared().abort_stale_uploads())
    }

    fn base_url(&self) -> String {
        self.shared().location.base_url()
    }

    fn display_name(&self) -> String {
        self.shared().location.name()
    }

    fn capabilities(&self) -> Capabilities<'_> {
        Capabilities {
            upload_limits: UploadLimits { single: SINGLE_UPLOADS, pairs: pool::PAIRS },
            provision: Some(self),
            service: Some(self),
            interrupt_guard: Some(self),
            conditional_writes: Some(self),
        }
    }
}

impl Provision for S3 {
    fn exists(&self) -> Result<bool, StorageError> {
        self.engine.block_on(self.shared().bucket_exists())
    }

    fn prepare(&self, create: bool) -> Result<Vec<String>, StorageError> {
        self.engine.block_on(self.shared().prepare(create))
    }
}

impl ServiceStatus for S3 {
    fn requests(&self) -> u64 {
        self.shared().observations.requests()
    }

    fn warnings(&self) -> Vec<String> {
        let ahead = self.shared().observations.ahead();
        let way = if ahead > 0 { "behind" } else { "ahead of" };
        let warning = format!(
            "this machine's clock is {} s {way} the service's: signed URLs live shorter or longer for it",
            ahead.abs()
        );
        let skewed = (ahead.abs() > NOTED_SKEW).then_some(warning);
        // If there are no credentials at all, the first request fails and says so.
        let credentials = self.engine.block_on(self.shared().credentials.provide_credentials());
        let ending = credentials.ok().and_then(|found| ending(found.expiry()?, SystemTime::now()));
        skewed.into_iter().chain(ending).collect()
    }

    fn now(&self) -> SystemTime {
        let (now, ahead) = (SystemTime::now(), self.shared().observations.ahead());
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { now.checked_sub(by) } else { now.checked_add(by) }.unwrap_or(now)
    }
}

impl InterruptGuard for S3 {
    fn replace_on_interrupt(&self, key: &ObjectKey, replacement: &ObjectKey, content: &[u8]) {
        self.engine.watch_for_interrupts();
        let shared = self.shared();
        let replacement = (shared.location.key(replacement), content.to_vec());
        shared.leftovers.replace_by(shared.leftover(key), replacement);
        self.engine.block_on(shared.leftovers.add(shared.leftover(key)));
    }

    fn leave_on_interrupt(&self, key: &ObjectKey) {
        self.shared().leftovers.remove(&self.shared().leftover(key));
    }
}

/// The warning for credentials that end soon. A source that renews credentials has replaced them before.
fn ending(expires: SystemTime, now: SystemTime) -> Option<String> {
    let left = expires.duration_since(now).unwrap_or_default();
    (left < ENDING).then(|| {
        format!(
            "the credentials end in {} s, and every URL that is signed with them ends then too: larger layers may not \
             be pulled to their end",
            left.as_secs()
        )
    })
}

impl Shared {
    fn client(&self) -> &Client {
        &self.requests.client
    }

    fn leftover(&self, key: &ObjectKey) -> Leftover {
        Leftover { key: self.location.key(key), upload: None }
    }

    /// What the service knows of an object.
    async fn head(&self, full: &str, key: &ObjectKey) -> Result<Option<ObjectMeta>, StorageError> {
        let ask = |mode: Option<ChecksumMode>| {
            let request = self.client().head_object().bucket(&self.location.bucket).key(full);
            request.set_checksum_mode(mode).send()
        };
        let mode = (self.checksums.integrity() == Integrity::Checksum).then_some(ChecksumMode::Enabled);
        let mut found = ask(mode.clone()).await;
        // A service may refuse the question for the checksum, and S3 does so without the right to use the object's key.
        if mode.is_some()
            && let Err(error) = &found
            && matches!(FailedRequest::of(error).status, Some(400 | 403 | 501))
        {
            found = ask(None).await;
        }
        match found {
            Ok(found) => Ok(Some(ObjectMeta {
                size: found.content_length.and_then(|size| size.try_into().ok()).unwrap_or_default(),
                modified: time(found.last_modified),
                sha256: found.checksum_sha256.as_deref().and_then(checksums::digest_of),
            })),
            Err(error) if self.is_absent(full, &FailedRequest::of(&error)).await => Ok(None),
            Err(error) => Err(self.explain(format!("cannot look at {key}"), Action::GET, &error).await),
        }
    }

    /// Lists one object, with few retries.
    async fn ping(&self) -> Result<(), StorageError> {
        let request =
            self.client().list_objects_v2().bucket(&self.location.bucket).prefix(&self.location.prefix);
        match request.max_keys(1).customize().config_override(self.requests.quick()).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.explain("cannot look for the objects", Action::LIST, &error).await),
        }
    }

    async fn remove(&self, full: &str) -> Result<(), StorageError> {
        match self.client().delete_object().bucket(&self.location.bucket).key(full).send().await {
            Ok(_) => Ok(()),
            Err(error) if FailedRequest::of(&error).absent() => Ok(()),
            Err(error) => Err(self.explain(format!("cannot delete {full}"), Action::DELETE, &error).await),
        }
    }

    /// Whether a request failed since there is no such object.
    ///
    /// S3 answers 403 for a missing object if the credentials may not list the bucket; some services always do. A
    /// listing tells a missing object from a forbidden one.
    async fn is_absent(&self, full: &str, failed: &FailedRequest) -> bool {
        if failed.absent() {
            return true;
        }
        if !failed.denied() {
            return false;
        }
        let request = self.client().list_objects_v2().bucket(&self.location.bucket).prefix(full).max_keys(1);
        // The key itself comes before all longer keys.
        request.send().await.is_ok_and(|page| {
            page.contents.unwrap_or_default().first().is_none_or(|object| object.key() != Some(full))
        })
    }
}

fn time(at: Option<aws_sdk_s3::primitives::DateTime>) -> SystemTime {
    at.and_then(|at| at.try_into().ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The MD5 in an entity tag. The entity tag of a multipart or encrypted object is something else.
fn etag_md5(etag: &str) -> Option<[u8; 16]> {
    let digits = etag.trim_matches('"');
    let mut md5 = [0; 16];
    hex::decode_to_slice(digits, &mut md5).ok()?;
    Some(md5)
}
