//! A small S3 service in memory with the operations that raas uses, and with faults on request. It verifies checksums,
//! and does not verify signatures.

mod answer;
mod fault;
mod quirk;
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
pub use quirk::Quirk;
use state::State;

/// A service on a free port of this machine. It ends when it is dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// The connections of clients, on which `wait_until_alone` waits.
    connections: Mutex<Connections>,
    connections_changed: Condvar,
    ended: AtomicBool,
}

#[derive(Default)]
struct Connections {
    /// The number of open connections.
    open: usize,
    /// How often a test has ended the delays of faults.
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
            connections: Mutex::default(),
            connections_changed: Condvar::new(),
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
                shared.connections().open += 1;
                std::thread::spawn(move || {
                    // An error here means that the client closed the connection.
                    drop(shared.converse(&stream));
                    shared.connections().open -= 1;
                    shared.connections_changed.notify_all();
                });
            }
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a fault, which lasts until it has happened its number of times.
    pub fn fail(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Removes all faults.
    pub fn behave(&self) {
        self.state().faults.clear();
    }

    /// Waits until the service has handled all requests of a client that has disconnected. Answers that a fault delays
    /// are given at once.
    ///
    /// # Panics
    /// A client is still connected after a while.
    pub fn wait_until_alone(&self) {
        // The service accepts connections in order: when it has this one, it has all connections of the client.
        let mut last = TcpStream::connect(self.address).expect("the service is there");
        let asked = last.write_all(b"HEAD /none HTTP/1.1\r\nConnection: close\r\n\r\n");
        asked.and_then(|()| last.read_exact(&mut [0])).expect("the service answers");
        drop(last);
        let mut connections = self.shared.connections();
        connections.hurried += 1;
        self.shared.connections_changed.notify_all();
        let waited =
            self.shared
                .connections_changed
                .wait_timeout_while(connections, Duration::from_secs(20), |now| now.open > 0);
        let (connections, _) = waited.expect("no thread panics while it holds this");
        assert_eq!(connections.open, 0, "somebody is still connected");
    }

    /// Makes the service differ from AWS.
    pub fn set_quirk(&self, quirk: Quirk) {
        self.state().quirk = Some(quirk);
    }

    /// The uploads of bytes that the service could not verify, in order: operation and key. They had neither a checksum
    /// nor a hash of the payload.
    pub fn unverified(&self) -> Vec<(String, String)> {
        self.state().unverified.clone()
    }

    /// Sets the number of keys in a page of a listing.
    pub fn set_page(&self, page: usize) {
        self.state().page = page;
    }

    /// Sets whether answers have checksums, as those of AWS do. The service verifies them in either case.
    pub fn set_tells_checksums(&self, tells: bool) {
        self.state().tells_checksums = tells;
    }

    /// Sets whether the service heeds the conditions of writes, as AWS does. A service that does not ignores them.
    pub fn set_heeds_conditions(&self, heeds: bool) {
        self.state().heeds_conditions = heeds;
    }

    /// Refuses requests without a signature, unless the bucket has a policy.
    pub fn refuse_everybody(&self) {
        self.state().refuses_everybody = true;
    }

    /// Makes all unfinished uploads older by this time.
    pub fn age(&self, by: Duration) {
        self.state().age(by);
    }

    /// Makes the objects whose keys contain this text older by this time.
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

    /// Stores an object.
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8]) {
        self.state().put(bucket, key, bytes.to_vec(), Default::default());
    }

    /// Removes an object.
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

    /// A setting of a bucket: `policy`, `lifecycle`, `encryption`, `publicAccessBlock`.
    pub fn setting(&self, bucket: &str, name: &str) -> Option<String> {
        let state = self.state();
        let bytes = state.buckets.get(bucket)?.settings.get(name)?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// Changes a [`setting`](Self::setting).
    pub fn set(&self, bucket: &str, name: &str, value: &str) {
        if let Some(bucket) = self.state().buckets.get_mut(bucket) {
            bucket.settings.insert(name.into(), value.into());
        }
    }

    /// The buckets, each with its region.
    pub fn buckets(&self) -> Vec<(String, String)> {
        self.state().buckets.iter().map(|(name, bucket)| (name.clone(), bucket.region.clone())).collect()
    }

    /// The number of requests for an operation, failed ones included.
    pub fn count(&self, operation: &str) -> usize {
        self.state().asked.iter().filter(|(name, _)| name == operation).count()
    }

    /// All requests in order: operation and key.
    pub fn asked(&self) -> Vec<(String, String)> {
        self.state().asked.clone()
    }

    /// Forgets all requests.
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
    /// Waits for this time, or until a test waits for the last client.
    fn take_time(&self, by: Duration) {
        let connections = self.connections();
        let before = connections.hurried;
        drop(self.connections_changed.wait_timeout_while(connections, by, |now| now.hurried == before));
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().expect("no thread panics while it holds this")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds this")
    }
}
