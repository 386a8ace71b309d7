//! A small S3 service that does what it is told to, and misbehaves when it is told to: what raas uses of S3, in
//! memory, every checksum verified. Signatures are not.

mod answer;
mod fault;
mod request;
mod state;
mod time;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

pub use fault::{Fault, What};
use state::State;

/// A service on a free port of this machine, until it is dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// Connections, and how often they were hurried.
    talk: Mutex<Talk>,
    talk_changed: Condvar,
    ended: AtomicBool,
}

#[derive(Default)]
struct Talk {
    connections: usize,
    hurried: usize,
}

impl Server {
    /// A service with these buckets.
    pub fn new(buckets: &[&str]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of this machine is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = State::with_buckets(buckets);
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            talk: Mutex::default(),
            talk_changed: Condvar::new(),
            ended: AtomicBool::new(false),
        });
        let for_thread = shared.clone();
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if for_thread.ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = for_thread.clone();
                shared.talk().connections += 1;
                std::thread::spawn(move || {
                    // A client that goes away is no concern of the service.
                    drop(shared.converse(&stream));
                    shared.talk().connections -= 1;
                    shared.talk_changed.notify_all();
                });
            }
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Misbehaves from now on, until the fault is used up.
    pub fn fail(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Behaves again.
    pub fn behave(&self) {
        self.state().faults.clear();
    }

    /// Waits until all that a client has sent who is gone, and is the last one, was heard. What takes its time takes no
    /// more of it.
    ///
    /// # Panics
    ///
    /// If somebody is still connected after a while.
    pub fn wait_until_alone(&self) {
        // Connections are taken in their order: with this one, all of the client's are counted.
        let mut last = TcpStream::connect(self.address).expect("the service is there");
        let asked = last.write_all(b"HEAD /none HTTP/1.1\r\nConnection: close\r\n\r\n");
        asked.and_then(|()| last.read_exact(&mut [0])).expect("the service answers");
        drop(last);
        let mut talk = self.shared.talk();
        talk.hurried += 1;
        self.shared.talk_changed.notify_all();
        let waited = self
            .shared
            .talk_changed
            .wait_timeout_while(talk, Duration::from_secs(20), |talk| talk.connections > 0);
        let (talk, _) = waited.expect("no thread panics while it holds this");
        assert_eq!(talk.connections, 0, "somebody is still connected");
    }

    /// Lists so many at a time.
    pub fn set_page(&self, page: usize) {
        self.state().page = page;
    }

    /// Whether checksums are told of, as AWS does, or only verified.
    pub fn set_tells_checksums(&self, tells: bool) {
        self.state().tells_checksums = tells;
    }

    /// Lets all that is unfinished be older by so much.
    pub fn age(&self, by: Duration) {
        self.state().age(by);
    }

    /// Lets the objects whose keys have this in them be older by so much.
    pub fn age_objects(&self, part: &str, by: Duration) {
        for bucket in self.state().buckets.values_mut() {
            for (_, object) in bucket.objects.iter_mut().filter(|(key, _)| key.contains(part)) {
                object.modified -= by;
            }
        }
    }

    /// An object's bytes.
    pub fn object(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        Some(self.state().buckets.get(bucket)?.objects.get(key)?.bytes.to_vec())
    }

    /// An object's media type and `Cache-Control`.
    pub fn headers(&self, bucket: &str, key: &str) -> Option<(String, String)> {
        self.state().buckets.get(bucket)?.objects.get(key).map(|object| object.headers.clone())
    }

    /// Puts an object there.
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8]) {
        self.state().put(bucket, key, bytes.to_vec(), Default::default());
    }

    /// Takes an object away.
    pub fn remove(&self, bucket: &str, key: &str) {
        if let Some(bucket) = self.state().buckets.get_mut(bucket) {
            bucket.objects.remove(key);
        }
    }

    /// All keys, in order.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.state()
            .buckets
            .get(bucket)
            .map(|bucket| bucket.objects.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// The keys of unfinished uploads, each with the number of its parts.
    pub fn uploads(&self, bucket: &str) -> Vec<(String, usize)> {
        let state = self.state();
        let uploads = state.uploads.values().filter(|upload| upload.bucket == bucket);
        uploads.map(|upload| (upload.key.clone(), upload.parts.len())).collect()
    }

    /// What a bucket is set to: `policy`, `lifecycle`, `encryption`, `publicAccessBlock`.
    pub fn setting(&self, bucket: &str, name: &str) -> Option<String> {
        let state = self.state();
        let bytes = state.buckets.get(bucket)?.settings.get(name)?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// Sets what [`setting`](Self::setting) gives.
    pub fn set(&self, bucket: &str, name: &str, value: &str) {
        if let Some(bucket) = self.state().buckets.get_mut(bucket) {
            bucket.settings.insert(name.into(), value.into());
        }
    }

    /// The buckets, each with the region that it was made for.
    pub fn buckets(&self) -> Vec<(String, String)> {
        self.state().buckets.iter().map(|(name, bucket)| (name.clone(), bucket.region.clone())).collect()
    }

    /// How often an operation was asked for, failed ones too.
    pub fn count(&self, operation: &str) -> usize {
        self.state().asked.iter().filter(|(name, _)| name == operation).count()
    }

    /// Every operation that was asked for, with its key, in order.
    pub fn asked(&self) -> Vec<(String, String)> {
        self.state().asked.clone()
    }

    /// Forgets what was asked for.
    pub fn forget(&self) {
        self.state().asked.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

impl Shared {
    /// So long, or until everybody is hurried.
    fn take_time(&self, by: Duration) {
        let talk = self.talk();
        let before = talk.hurried;
        drop(self.talk_changed.wait_timeout_while(talk, by, |talk| talk.hurried == before));
    }

    fn talk(&self) -> MutexGuard<'_, Talk> {
        self.talk.lock().expect("no thread panics while it holds this")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds this")
    }
}
