//! Calls the targets with bytes that are nearly right, for so many seconds each: `mutate [SECONDS [TARGET [SEED]]]`, where
//! `all` is every target. It has no instruments, so it needs no nightly. It prints the bytes that made a target panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use fastrand::Rng;
use raas_testkit::docker_save::{self, LayerPlaces, Saved};
use raas_testkit::layers::{Pack, layer};
use raas_testkit::oci::Layout;
use raas_testkit::{Files, fixtures, pulp2};

const DIGEST: &str = "sha256:fa2c8cc4f28176bbeed4b736df569a34c79cd3723e9ec42f9674b4d46ac6b8b8";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let number = |text: Option<String>| text.map(|text| text.parse::<u64>().expect("a number"));
    let seconds = number(arguments.next()).unwrap_or(60);
    let only = arguments.next().filter(|target| target != "all");
    let seed = number(arguments.next()).unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let targets: [(&str, fn(&[u8]), Vec<Vec<u8>>); 8] = [
        ("request", raas_fuzz::request, requests()),
        ("document", raas_fuzz::document, documents()),
        ("token", raas_fuzz::token, tokens()),
        ("text", raas_fuzz::text, texts()),
        ("bundle", raas_fuzz::bundle, raas_fuzz::bundles()),
        ("source", raas_fuzz::source, sources()),
        ("archive", raas_fuzz::archive, archives().iter().map(Files::tar).collect()),
        ("members", raas_fuzz::members, archives().iter().map(raas_fuzz::records).collect()),
    ];
    for (name, target, seeds) in targets {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let mut rng = Rng::with_seed(seed);
        let (begun, mut count) = (Instant::now(), 0_u64);
        for seed in &seeds {
            target(seed);
        }
        while begun.elapsed() < Duration::from_secs(seconds) {
            let bytes = mutated(&mut rng, &seeds);
            if catch_unwind(AssertUnwindSafe(|| target(&bytes))).is_err() {
                println!("{name}: {}", bytes.escape_ascii());
                std::process::exit(1);
            }
            count += 1;
        }
        println!("{name}: {count} inputs, all well");
    }
}

/// One of the seeds, changed in a few places, or crossed with another.
fn mutated(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    const ODD: [&[u8]; 24] = [
        b"%00",
        b"%2e%2e",
        b"%2F",
        b"..",
        b"//",
        b"%",
        b"\r\n",
        b"\xff",
        b"\0",
        b":",
        b"@",
        b"?",
        b"#",
        b"{",
        b"[",
        b"\"",
        b"\\u0073",
        b"99999999999999999999",
        b"-1",
        b"null",
        b"1e400",
        b"\xed\xa0\x80",
        b" ",
        b"_",
    ];
    let mut bytes = seeds[rng.usize(..seeds.len())].clone();
    for _ in 0..=rng.usize(..4) {
        let at = rng.usize(..=bytes.len());
        let to = (at + rng.usize(..8)).min(bytes.len());
        match rng.u8(..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            1 => bytes.insert(at, rng.u8(..)),
            2 => drop(bytes.drain(at..to)),
            3 => drop(bytes.splice(at..to, ODD[rng.usize(..ODD.len())].iter().copied())),
            4 => {
                let again = bytes[at..to].repeat(rng.usize(1..50));
                bytes.splice(at..at, again);
            }
            5 => {
                let other = &seeds[rng.usize(..seeds.len())];
                let from = rng.usize(..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Answers of registries and of Pulp.
fn sources() -> Vec<Vec<u8>> {
    let answer = |head: &str, body: &str| {
        format!("HTTP/1.1 200 OK\r\n{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    };
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let config = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let of_config = raas_types::Digest::of(config.as_bytes());
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{manifest_type}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{of_config}","size":{}}},"layers":[]}}"#,
        config.len()
    );
    let distribution = r#"{"count":1,"next":null,"results":[{"base_path":"acme/app","private":false,"repository":"/pulp/api/v3/repositories/container/container/1/","remote":null}]}"#;
    let status = r#"{"versions":[{"component":"container","version":"2.30.0"}],"online_workers":[],"domain_enabled":true}"#;
    let all: [(u8, Vec<String>); 6] = [
        (0, vec![answer("", r#"{"name":"acme/app","tags":["1","2"]}"#)]),
        (
            0,
            vec![
                answer("Link: </v2/acme/app/tags/list?n=1&last=1>; rel=\"next\"\r\n", r#"{"tags":["1"]}"#),
                answer("", r#"{"tags":["2"]}"#),
            ],
        ),
        (0, vec![
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.1:1/t\",service=\"s\"\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}".into(),
        ]),
        (1, vec![answer(&format!("Content-Type: {manifest_type}\r\n"), &manifest), answer("", config), missing.into()]),
        (2, vec![answer("", status), answer("", distribution)]),
        (2, vec![missing.into(), answer("", r#"{"known_workers":[{"_id":"x"}]}"#), answer("", r#"{"id":"acme-app","distributors":[]}"#)]),
    ];
    let bytes = |(kind, answers): &(u8, Vec<String>)| {
        let answers: Vec<&[u8]> = answers.iter().map(String::as_bytes).collect();
        [&[*kind], answers.join(raas_fuzz::BETWEEN).as_slice()].concat()
    };
    all.iter().map(bytes).collect()
}

fn requests() -> Vec<Vec<u8>> {
    let paths = [
        "/",
        "/?image=tools/app",
        "/?image=tools/app&tag=1.0",
        "/?last=a",
        "/v2/",
        "/v2/_catalog?n=1&last=a",
        "/token?scope=x",
        "/v2/tools/app/tags/list?n=2&last=1.0",
        "/v2/tools/app/manifests/1.0",
        "/v2/hidden/app/manifests/1.0",
        "/-/readyz",
        "/v2/hidden/app/tags/list",
        "/?image=hidden/app&tag=1.0",
        "/v1/search?q=app",
        "/v1/repositories/tools/app/tags",
        "/crane/repositories/v2",
        "/-/revision",
        "http://other/v2/",
    ];
    let mut all: Vec<Vec<u8>> = Vec::new();
    for path in paths {
        all.push(format!("GET {path}").into_bytes());
        all.push(
            format!("HEAD {path}\nAccept: application/vnd.oci.image.manifest.v1+json;q=0.5, */*")
                .into_bytes(),
        );
    }
    for kind in ["manifests", "blobs", "referrers"] {
        all.push(
            format!("GET /v2/tools/app/{kind}/{DIGEST}\nRange: bytes=0-1\r\nIf-None-Match: \"{DIGEST}\"")
                .into_bytes(),
        );
    }
    for credential in
        ["Basic YWRhOngK", "Bearer eyJhbGciOiJIUzI1NiJ9.MTIzNA.c2lnbmF0dXJl", "Bearer a.b.c", "Digest x"]
    {
        all.push(format!("GET /v2/hidden/app/manifests/1.0\nAuthorization: {credential}").into_bytes());
        all.push(format!("GET /token\nAuthorization: {credential}").into_bytes());
    }
    all
}

fn tokens() -> Vec<Vec<u8>> {
    let header = r#"{"alg":"EdDSA","kid":"one"}"#;
    let claims = r#"{"iss":"auth.example.com","aud":"acme","exp":9999999999,"nbf":1,"access":[{"type":"repository","name":"hidden/app","actions":["pull"]}]}"#;
    [
        format!("{header}\n{claims}"),
        format!("{header}\n{}", claims.replace("\"acme\"", "[\"x\",\"acme\"]")),
        format!("{header}\n{}", claims.replace("9999999999", "1")),
        format!("{{\"alg\":\"none\"}}\n{claims}\n"),
        format!("{{\"alg\":\"HS256\",\"x5c\":[\"MIIB\"]}}\n{claims}\nsignature"),
    ]
    .map(String::into_bytes)
    .into()
}

fn documents() -> Vec<Vec<u8>> {
    let head = r#""type":"pulp-docker-redirect","repository":"a","repo-registry-id":"a","url":"https://x/a/","protected":false"#;
    let id = "ab".repeat(32);
    let part = format!(r#"{{"mediaType":"application/x","digest":"{DIGEST}","size":4}}"#);
    [
        format!(r#"{{{head},"version":1,"images":[{{"id":"{id}"}}],"tags":{{"latest":"{id}"}}}}"#),
        format!(r#"{{{head},"version":2}}"#),
        format!(
            r#"{{{head},"version":4,"schema2_data":["{DIGEST}","1.0"],"manifest_list_data":[],"manifest_list_amd64_tags":{{"m":["{DIGEST}",2]}},"raas":{{"tags":{{"1.0":"{DIGEST}"}},"manifests":{{"{DIGEST}":{{"media_type":"a/b","size":5}}}},"blobs":{{"{DIGEST}":{{"size":4,"location":"https://x"}}}}}}}}"#
        ),
        format!(r#"{{"schemaVersion":2,"config":{part},"layers":[{part}],"subject":{part}}}"#),
        format!(r#"{{"schemaVersion":2,"manifests":[{part}]}}"#),
        format!(r#"{{"digest":"{DIGEST}","size":7,"revision":"0123abc","sequence":3,"published":"2026-01-01T00:00:00Z"}}"#),
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect()
}

/// A source in each format.
fn archives() -> Vec<Files> {
    let layers = [layer(&[("a", b"a")]), layer(&[("b", b"b")])];
    let saved =
        [Saved { names: &["app:1", "other:2"], layers: &layers }, Saved { names: &[], layers: &layers[..1] }];
    let mut layout = Layout::new();
    let (amd64, arm64) = (layout.simple_image("a"), layout.simple_image("b"));
    let index = layout.index(&[amd64.clone(), arm64]);
    let sbom = layout.artifact(&amd64, "application/spdx+json", b"sbom");
    layout.tag(&index, "1");
    layout.untagged(&sbom);
    let mut dir = Files::new();
    dir.set("version", "Directory Transport Version: 1.1\n")
        .set("manifest.json", layout.bytes(&amd64.digest));
    let genuine = std::fs::read(fixtures::pulp3_new()).expect("the fixture is there");
    let genuine = Files::from_tar(&genuine);
    let mut pulp3 = Files::new();
    for name in genuine.names().filter(|name| genuine.get(name).len() < 20_000) {
        pulp3.set(name, genuine.get(name));
    }
    vec![
        docker_save::oldest(&saved[..1]),
        docker_save::newer(&saved, LayerPlaces::Folders),
        docker_save::newest(&saved),
        docker_save::platforms(&["amd64", "arm64"], &["amd64"], Pack::Plain),
        layout.files(),
        dir,
        pulp2::Export::chain("app", 3).files(),
        pulp3,
    ]
}

fn texts() -> Vec<Vec<u8>> {
    let id = "0a".repeat(32);
    [
        "tools/app",
        "tools/*",
        "linux/arm64/v8",
        "registry.example.com",
        "docker://registry.example.com:5000/tools/app:1.0",
        "a.b__c-d/e",
        "acme",
        "1.0-rc_2",
        DIGEST,
        &id,
        "2013-05-24T00:00:00Z",
        "9999-12-31T23:59:59Z",
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_owned())
    .collect()
}
