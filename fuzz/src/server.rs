//! The whole server, with one request at a time.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use raas_server::{BaseUrl, Bucket, GuessLimit, Metadata, Options, Origin, SiteConfig, serve};
use raas_types::crane::{BlobEntry, Content, Document, ManifestEntry, V2Content, V2Extension, tree};
use raas_types::{Digest, RepositoryName, media_type};
use tempfile::TempDir;

/// The bucket's URL, and so the beginning of every redirect.
const BUCKET: &str = "https://bucket.example.com";

/// A text in the manifest of a protected repository. No answer to an anonymous client may have it.
pub(crate) const SECRET: &[u8] = b"the-secret-of-the-protected-one";

/// The address of a server, and the folder of its files.
pub(crate) type Started = (SocketAddr, TempDir);

/// A server with users. It lives as long as the process.
static SERVER: LazyLock<Started> = LazyLock::new(|| {
    start(|home, site| {
        let users = home.join("htpasswd");
        fs::write(&users, "ada:$2b$04$abcdefghijklmnopqrstuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu\n")
            .expect("a file");
        site.users = Some(users);
    })
});

/// Starts a server with a public and a protected repository. `gate` completes its site, and may put files into a folder.
pub(crate) fn start(gate: impl FnOnce(&std::path::Path, &mut SiteConfig)) -> Started {
    let home = tempfile::tempdir().expect("a folder");
    let metadata = home.path().join("metadata");
    publish(&metadata, "tools/app", false, r#""open""#);
    publish(&metadata, "hidden/app", true, &format!("{SECRET:?}", SECRET = String::from_utf8_lossy(SECRET)));
    let bucket = Bucket::Redirect(Origin::Open(BaseUrl::parse(BUCKET).expect("a URL")));
    let vendor = "acme".parse().expect("a name");
    let mut site = SiteConfig::new(vendor, Metadata::Folder(metadata), bucket);
    gate(home.path(), &mut site);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.expect("a thread").block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            // The fuzzer must never be throttled.
            let guess_limit = GuessLimit { attempts: u32::MAX, ..Options::default().guess_limit };
            let options = Options { guess_limit, ..Options::default() };
            serve(listener, vec![site], options, std::future::pending()).await.expect("it serves");
        });
    });
    (address, home)
}

fn publish(metadata: &std::path::Path, name: &str, protected: bool, word: &str) {
    let name: RepositoryName = name.parse().expect("a name");
    let blob = Digest::of(b"blob");
    let part = format!(r#"{{"mediaType":"application/x","digest":"{blob}","size":4}}"#);
    let manifest =
        format!(r#"{{"schemaVersion":2,"config":{part},"layers":[{part}],"annotations":{{"a":{word}}}}}"#);
    let digest = Digest::of(manifest.as_bytes());
    let entry = ManifestEntry {
        media_type: media_type::OCI_MANIFEST.into(),
        size: manifest.len() as u64,
        platform: None,
        image: None,
    };
    let extension = V2Extension {
        tags: [("1.0".parse().expect("a tag"), digest)].into(),
        manifests: [(digest, entry)].into(),
        blobs: [(blob, BlobEntry { size: 4, diff_id: None, location: None })].into(),
        ..V2Extension::default()
    };
    let content = Content::V2(V2Content::new(extension, |_| None));
    let document =
        Document { repository: name.to_string(), name: name.clone(), url: BUCKET.into(), protected, content };
    for (path, bytes) in [
        (tree::manifest(&name, &digest), manifest.into_bytes()),
        (tree::document(&name), document.to_bytes()),
    ] {
        let path = metadata.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
}

/// Sends a request. The bytes are the request line without its version (`GET /path`), and after a line feed further
/// headers. The answer must be valid HTTP and the same on the fast path and through hyper. It must not be a server error,
/// must not redirect to another host, and must not reveal anything protected.
pub fn request(bytes: &[u8]) {
    let (line, headers) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[][..]),
    };
    let head = [line, b" HTTP/1.1\r\nHost: registry.example.com\r\n", headers, b"\r\n\r\n"].concat();
    let answer = ask(&SERVER, &head);
    // An unknown expectation has no effect except that hyper answers the request instead of the fast path.
    let expecting =
        [line, b" HTTP/1.1\r\nExpect: nothing\r\nHost: registry.example.com\r\n", headers, b"\r\n\r\n"]
            .concat();
    let other = ask(&SERVER, &expecting);
    let shown = || String::from_utf8_lossy(&head).into_owned();
    assert!(
        answer.is_empty() || other.is_empty() || without_date(&answer) == without_date(&other),
        "two answers to {}: {} and {}",
        shown(),
        String::from_utf8_lossy(&answer),
        String::from_utf8_lossy(&other)
    );
    assert!(
        !answer.windows(SECRET.len()).any(|part| part == SECRET),
        "the answer reveals protected content: {}",
        shown()
    );
    let Some(end) = answer.windows(4).position(|part| part == b"\r\n\r\n") else { return };
    let head_of_answer = std::str::from_utf8(&answer[..end]).expect("a head is text");
    let status =
        head_of_answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).expect("a status");
    assert!((200..500).contains(&status), "{status}: {}", shown());
    for line in head_of_answer.lines() {
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("location")
        {
            assert!(value.starts_with(BUCKET), "the answer redirects to {value}: {}", shown());
        }
    }
}

/// The server's whole answer to these bytes, on a connection of its own.
pub(crate) fn ask(server: &Started, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.0).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    // The server may close the connection at the first bytes that are not HTTP.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        let reset = error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(reset, "no answer: {error}");
    }
    answer
}

/// The lines of an answer without its date.
fn without_date(answer: &[u8]) -> Vec<&[u8]> {
    answer.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"date: ")).collect()
}
