//! A bucket of Amazon S3, or of a service that is like it.
//!
//! ```text
//! <prefix>/<key>            an object
//! <prefix>/_uploads/<name>  a packed layer whose digest, and so whose key, is not known before its end
//! ```
//!
//! Objects appear whole by the service's own promise. What is sent carries its SHA-256, which the service verifies.
//! Large layers of a known digest go on where a killed run stopped; packed ones begin anew, since nobody knows which
//! layer an unfinished upload is of.
//!
//! The rest of raas waits for what it does, so that this part has a few threads of its own to wait with.

mod bucket;
mod client;
mod copy;
mod errors;
mod leftovers;
mod multipart;
mod place;
mod policy;
mod pool;
mod reader;
#[cfg(test)]
mod tests;
mod unfinished;
mod upload;

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{ProvideCredentials, SharedCredentialsProvider};
use raas_types::{ObjectKey, VendorName};
use tokio::runtime::{Handle, Runtime};

use raas_base::Say;
use raas_base::failure::{Context as _, Failure};
use raas_publish::storage::{Draft, Found, Listed, Storage, StorageError, Upload};

use crate::aws;
use crate::settings::{AwsSettings, S3Settings};
use client::{Patience, Seen};
use errors::{Action, Facts};
use leftovers::{Leftover, Leftovers};
use place::Place;
use pool::Pool;
use reader::S3Reader;
use unfinished::Unfinished;
use upload::S3Upload;

/// Layers at once, of one upload each.
const IN_FLIGHT: usize = 8;

/// Threads that wait for the service.
const THREADS: usize = 2;

/// From how many seconds on a difference of the clocks is told.
const SKEW: i64 = 60;

/// Credentials that end sooner than this are warned of: a source that renews them does so earlier.
const ENDING: Duration = Duration::from_secs(10 * 60);

/// A vendor's bucket.
pub struct S3 {
    engine: Arc<Engine>,
}

/// The threads, and what they work on.
struct Engine {
    /// Always there, but for the moment of its end.
    runtime: Option<Runtime>,
    shared: Arc<Shared>,
}

/// What every request needs.
struct Shared {
    client: Client,
    place: Place,
    credentials: SharedCredentialsProvider,
    pool: Arc<Pool>,
    leftovers: Leftovers,
    unfinished: Unfinished,
    patience: Patience,
    seen: Arc<Seen>,
    say: Say,
}

impl S3 {
    /// A vendor's bucket, which need not exist. Nothing is asked yet. Runs of one home share the folder `uploads`, which
    /// need not exist either, for notes of what they upload.
    ///
    /// # Errors
    /// The settings contradict each other. Whether the service answers shows when it is asked.
    pub fn new(
        vendor: &VendorName,
        settings: &S3Settings,
        aws: &AwsSettings,
        uploads: PathBuf,
        say: &Say,
    ) -> Result<Self, Failure> {
        Self::connect(vendor, settings, aws, uploads, say, &Patience::default())
    }

    /// As [`new`](Self::new), for commands that can do without the bucket: they are told soon that a service does not
    /// answer.
    pub fn hasty(
        vendor: &VendorName,
        settings: &S3Settings,
        aws: &AwsSettings,
        uploads: PathBuf,
        say: &Say,
    ) -> Result<Self, Failure> {
        Self::connect(vendor, settings, aws, uploads, say, &Patience::HASTY)
    }

    fn connect(
        vendor: &VendorName,
        settings: &S3Settings,
        aws: &AwsSettings,
        uploads: PathBuf,
        say: &Say,
        patience: &Patience,
    ) -> Result<Self, Failure> {
        let runtime = Self::runtime().context(|| "cannot start threads".into())?;
        let loaded = runtime.block_on(aws::load(aws, settings.region.as_deref()))?;
        let region = loaded.region().map_or("us-east-1", |region| region.as_ref());
        let endpoint = settings.endpoint.as_deref().or(loaded.endpoint_url());
        let place = Place::new(vendor, settings, region, endpoint);
        Ok(Self::with_patience(runtime, &loaded, place, uploads, patience, pool::PART, say))
    }

    /// The host that clients are sent to for the objects, without its port; `None` if the server sends the bytes itself.
    pub fn client_host(&self) -> Option<String> {
        let place = &self.shared().place;
        place.sends_clients().then(|| place.host())
    }

    fn with_patience(
        runtime: Runtime,
        config: &SdkConfig,
        place: Place,
        notes: PathBuf,
        patience: &Patience,
        part: usize,
        say: &Say,
    ) -> Self {
        let seen = Arc::new(Seen::default());
        let shared = Shared {
            client: client::client(config, &place, patience, &seen),
            place,
            credentials: config.credentials_provider().expect("`aws::load` gives one"),
            pool: Pool::new(part),
            leftovers: Leftovers::default(),
            unfinished: Unfinished::new(notes),
            patience: patience.clone(),
            seen,
            say: say.clone(),
        };
        Self { engine: Arc::new(Engine { runtime: Some(runtime), shared: Arc::new(shared) }) }
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
        self.runtime.as_ref().expect("it goes last").handle()
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle().block_on(future)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Nothing that is still under way matters to anybody.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Storage for S3 {
    fn create(&self, draft: Draft) -> Result<Box<dyn Upload>, StorageError> {
        Ok(Box::new(S3Upload::new(self.engine.clone(), draft)))
    }

    fn stat(&self, key: &ObjectKey) -> Result<Option<Found>, StorageError> {
        self.engine.block_on(self.shared().head(&self.shared().place.key(key), key))
    }

    fn read(&self, key: &ObjectKey) -> Result<Option<Box<dyn Read + Send>>, StorageError> {
        let reader = S3Reader::open(self.engine.clone(), self.shared().place.key(key))?;
        Ok(reader.map(|reader| Box::new(reader) as Box<dyn Read + Send>))
    }

    fn copy(&self, from: &ObjectKey, to: &ObjectKey, size: u64) -> Result<(), StorageError> {
        self.engine.block_on(self.shared().copy(&self.shared().place.key(from), to, size))
    }

    fn delete_key(&self, key: &str) -> Result<(), StorageError> {
        self.engine.block_on(self.shared().remove(&format!("{}{key}", self.shared().place.prefix)))
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(Listed)) -> Result<(), StorageError> {
        let shared = self.shared();
        let full = format!("{}{prefix}", shared.place.prefix);
        self.engine.block_on(shared.list_keys(&full, &mut |mut object| {
            if let Some(key) = shared.place.relative(&object.key) {
                object.key = key.to_owned();
                each(object);
            }
        }))
    }

    fn reach(&self) -> Result<(), StorageError> {
        match self.engine.block_on(self.shared().reach()) {
            Err(error) if error.is_unanswered() => Err(error),
            _ => Ok(()),
        }
    }

    fn sweep(&self) -> Result<usize, StorageError> {
        self.engine.block_on(self.shared().sweep())
    }

    fn prepare(&self, create: bool) -> Result<Vec<String>, StorageError> {
        self.engine.block_on(self.shared().prepare(create))
    }

    fn warnings(&self) -> Vec<String> {
        let ahead = self.shared().seen.ahead();
        let way = if ahead > 0 { "behind" } else { "ahead of" };
        let warning = format!(
            "this machine's clock is {} s {way} the service's: signed URLs live shorter or longer for it",
            ahead.abs()
        );
        let skewed = (ahead.abs() > SKEW).then_some(warning);
        // Whether there are credentials at all is told by whatever needs them.
        let credentials = self.engine.block_on(self.shared().credentials.provide_credentials());
        let ending = credentials.ok().and_then(|found| ending(found.expiry()?, SystemTime::now()));
        skewed.into_iter().chain(ending).collect()
    }

    fn now(&self) -> SystemTime {
        let (now, ahead) = (SystemTime::now(), self.shared().seen.ahead());
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { now.checked_sub(by) } else { now.checked_add(by) }.unwrap_or(now)
    }

    fn guard(&self, key: &ObjectKey, instead: &ObjectKey, content: &[u8]) {
        self.engine.watch_for_interrupts();
        let shared = self.shared();
        shared.leftovers.leave(shared.leftover(key), (shared.place.key(instead), content.to_vec()));
        self.engine.block_on(shared.leftovers.add(shared.leftover(key)));
    }

    fn unguard(&self, key: &ObjectKey) {
        self.shared().leftovers.remove(&self.shared().leftover(key));
    }

    fn base_url(&self) -> String {
        self.shared().place.base_url()
    }

    fn place(&self) -> String {
        self.shared().place.name()
    }

    fn in_flight(&self, uploads_each: usize) -> usize {
        if uploads_each == 1 { IN_FLIGHT } else { pool::PAIRS }
    }

    fn requests(&self) -> Option<u64> {
        Some(self.shared().seen.requests())
    }
}

/// A warning of credentials that end soon. A renewing source has put newer ones in their place before.
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
    fn leftover(&self, key: &ObjectKey) -> Leftover {
        Leftover { key: self.place.key(key), upload: None }
    }

    /// What is known of an object.
    async fn head(&self, full: &str, key: &ObjectKey) -> Result<Option<Found>, StorageError> {
        match self.client.head_object().bucket(&self.place.bucket).key(full).send().await {
            Ok(found) => Ok(Some(Found {
                size: found.content_length.and_then(|size| size.try_into().ok()).unwrap_or_default(),
                modified: time(found.last_modified),
            })),
            Err(error) if Facts::of(&error).absent() => Ok(None),
            // Who may not list is told 403 of what is not there.
            Err(error) => Err(self.explain(format!("cannot look at {key}"), Action::GET, &error).await),
        }
    }

    /// Lists one object, and does not wait long.
    async fn reach(&self) -> Result<(), StorageError> {
        let request = self.client.list_objects_v2().bucket(&self.place.bucket).prefix(&self.place.prefix);
        match request.max_keys(1).customize().config_override(client::hasty()).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.explain("cannot look for the objects", Action::LIST, &error).await),
        }
    }

    async fn remove(&self, full: &str) -> Result<(), StorageError> {
        match self.client.delete_object().bucket(&self.place.bucket).key(full).send().await {
            Ok(_) => Ok(()),
            Err(error) if Facts::of(&error).absent() => Ok(()),
            Err(error) => Err(self.explain(format!("cannot delete {full}"), Action::DELETE, &error).await),
        }
    }

    /// Names each object below a prefix of the bucket, by its key in the bucket.
    async fn list_keys(&self, prefix: &str, each: &mut dyn FnMut(Listed)) -> Result<(), StorageError> {
        let request = self.client.list_objects_v2().bucket(&self.place.bucket).prefix(prefix);
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    return Err(self.explain(format!("cannot list `{prefix}`"), Action::LIST, &error).await);
                }
            };
            for object in page.contents.unwrap_or_default() {
                let Some(key) = object.key else { continue };
                each(Listed {
                    key,
                    size: object.size.and_then(|size| size.try_into().ok()).unwrap_or_default(),
                    modified: time(object.last_modified),
                    md5: object.e_tag.as_deref().and_then(etag_md5),
                });
            }
        }
        Ok(())
    }
}

fn time(at: Option<aws_sdk_s3::primitives::DateTime>) -> SystemTime {
    at.and_then(|at| at.try_into().ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The MD5 that the ETag of a simple object or part is; that of others is something else.
fn etag_md5(etag: &str) -> Option<[u8; 16]> {
    let digits = etag.trim_matches('"');
    let mut md5 = [0; 16];
    hex::decode_to_slice(digits, &mut md5).ok()?;
    Some(md5)
}
