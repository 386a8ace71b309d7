//! What registries and Pulp servers send.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use raas_image::Limits;
use raas_sources::pulp::PulpSettings;
use raas_sources::registry::{
    LoginSource, Patience, ReadOptions, RegistryAddress, Remote, RemoteOptions, Transport, WantedAttachments,
    WantedImages, read_images,
};
use raas_types::Digest;

/// What stands between two answers.
pub const BETWEEN: &[u8] = b"\n=====\n";

/// The answers of the server, each to one request; the last one also to all others.
static ANSWERS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Sends requests for all other hosts to a port of this machine where nobody listens: an answer may redirect anywhere.
fn stay_here() {
    for (name, value) in
        [("http_proxy", NOWHERE), ("https_proxy", NOWHERE), ("all_proxy", NOWHERE), ("no_proxy", "127.0.0.1")]
    {
        // SAFETY: this is done once, and no other thread of a target reads or changes the environment.
        unsafe { std::env::set_var(name, value) };
    }
}

/// The port `discard`.
const NOWHERE: &str = "http://127.0.0.1:9";

/// A server that lives as long as the process, and sends whatever bytes it is given.
static HOST: LazyLock<String> = LazyLock::new(|| {
    stay_here();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of this machine is free");
    let host = listener.local_addr().expect("a bound socket has an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut writer = stream.try_clone()?;
                let mut lines = BufReader::new(stream).lines();
                // The client sends nothing but a head.
                while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
                let answer = {
                    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
                    if answers.len() > 1 { answers.remove(0) } else { answers.first().cloned().unwrap_or_default() }
                };
                writer.write_all(&answer)
            });
        }
    });
    host
});

/// The longest that a source may keep a reader, whatever it sends: a few requests, each with its time limits.
const LONGEST: Duration = Duration::from_secs(20);

/// Answers of a source, whole with their heads. The first byte says what is asked. A reader ends, and takes no bytes for
/// content that have another digest.
pub fn source(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    *ANSWERS.lock().unwrap_or_else(PoisonError::into_inner) = split(bytes);
    let patience = Patience {
        attempts: 1,
        answer: Duration::from_millis(500),
        silence: Duration::from_millis(200),
        ..Patience::default()
    };
    let options = RemoteOptions {
        transport: Transport::Plain,
        login: LoginSource::None("there is none".into()),
        certificate_folders: Some(Vec::new()),
        registries_files: Some(Vec::new()),
        patience,
        ..RemoteOptions::default()
    };
    let begun = Instant::now();
    let name = "acme/app".parse().expect("a name");
    let address = RegistryAddress { host: HOST.clone(), name, tag: None, digest: None };
    match kind % 3 {
        0 => {
            let remote = Remote::open(&address, options).expect("there is no proxy");
            if let Ok(list) = remote.tags() {
                assert!(list.tags.len() + list.unusable.len() <= bytes.len());
            }
        }
        1 => {
            let remote = std::sync::Arc::new(Remote::open(&address, options).expect("there is no proxy"));
            let wanted = WantedImages::Tags(BTreeSet::from(["1".parse().expect("a tag")]));
            let (limits, attachments) = (Limits::default(), WantedAttachments::default());
            let read = ReadOptions { platforms: &[], limits: &limits, attachments };
            if let Ok(set) = read_images(&remote, &wanted, &read) {
                for (digest, item) in &set.manifests {
                    assert_eq!(Digest::of(&item.bytes), *digest);
                }
                for digest in set.tags.values() {
                    assert!(set.manifests.contains_key(digest));
                }
            }
        }
        _ => {
            let pulp = PulpSettings { url: format!("http://{}", *HOST), ..PulpSettings::default() };
            let (vendor, image) = ("acme".parse().expect("a name"), "app".parse().expect("a name"));
            if let Ok(found) = pulp.find(&vendor, &image, options) {
                assert_eq!(found.address.host, *HOST);
            }
        }
    }
    let shown = || bytes.escape_ascii().to_string();
    assert!(begun.elapsed() < LONGEST, "it takes {:?}: {}", begun.elapsed(), shown());
}

fn split(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut rest = bytes;
    while let Some(byte) = rest.first() {
        if rest.starts_with(BETWEEN) {
            parts.push(Vec::new());
            rest = &rest[BETWEEN.len()..];
        } else {
            parts.last_mut().expect("it has one").push(*byte);
            rest = &rest[1..];
        }
    }
    parts
}
