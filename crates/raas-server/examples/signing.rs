//! Measures the time to sign a URL: `cargo run --release -p raas-server --example signing`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use hyper::Method;
use raas_server::{Credentials, S3Location, Signer};
use raas_types::{Digest, ObjectKey};

fn main() {
    let location = S3Location {
        endpoint: None,
        region: "eu-west-1".into(),
        bucket: "acme-images".into(),
        prefix: Some("registry".into()),
        path_style: false,
    };
    let key = ObjectKey::Blob("tools/app".parse().expect("a name"), Digest::of(b""));
    // The length of a session token of an AWS role.
    for token in [None, Some("t".repeat(1100))] {
        let credentials = Credentials {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            session_token: token.clone(),
            expires: None,
        };
        let signer = Signer::new(&location, Arc::new(Arc::new(credentials))).expect("a bucket");
        const TIMES: u32 = 200_000;
        let begun = Instant::now();
        for size in 0..TIMES {
            let url = signer.url(&Method::GET, &key, u64::from(size), SystemTime::now()).expect("a key");
            black_box(url);
        }
        let each = begun.elapsed() / TIMES;
        println!("{each:?} a URL, with a session token of {} bytes", token.map_or(0, |token| token.len()));
    }
}
