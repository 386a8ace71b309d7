//! Which manifests are read, and how often they are asked for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use raas_image::Limits;
use raas_sources::registry::{ReadOptions, RegistryError, Remote, WantedImages, read_images};
use raas_testkit::http::{End, Reply, Server};
use raas_testkit::oci::{Layout, descriptor};
use raas_testkit::registry::{Registry, error};
use raas_types::{Digest, media_type};

use crate::support::{bytes, failure, one_image, open, options, read, read_options, tag, tags};

#[test]
fn a_repository_is_read_with_all_its_tags_platforms_and_attachments() {
    let mut layout = Layout::new();
    let (amd64, arm64) = (layout.simple_image("amd64"), layout.simple_image("arm64"));
    let index = layout.index(&[amd64.clone(), arm64.clone()]);
    let signature = layout.cosign_signature(&index);
    let attached = layout.artifact(&arm64, "application/vnd.acme.sbom", b"sbom");
    let of_attached = layout.artifact(&attached, "application/vnd.acme.signature", b"signature");
    let registry = Registry::new("team/app");
    registry.fill(&layout);
    for name in ["1.0", "latest"] {
        registry.tag(name, &index.digest);
    }
    let signature_tag = format!("sha256-{}.sig", index.digest.hex());
    registry.tag(&signature_tag, &signature.digest);
    registry.attach(&arm64.digest, std::slice::from_ref(&attached));
    registry.attach(&attached.digest, std::slice::from_ref(&of_attached));

    let set = read(&registry, &WantedImages::All).unwrap();
    let named = |name: &str, digest| (name.to_owned(), digest);
    assert_eq!(
        tags(&set),
        [named("1.0", index.digest), named("latest", index.digest), named(&signature_tag, signature.digest)]
    );
    let mut expected =
        [&amd64, &arm64, &index, &signature, &attached, &of_attached].map(|found| found.digest);
    expected.sort();
    assert!(set.manifests.keys().copied().eq(expected), "{:?}", set.manifests.keys());
    assert!(set.blobs.values().all(|blob| blob.content.is_some()));

    // One tag brings its signature along without the list of all tags.
    drop(registry.take_log());
    let set = read(&registry, &tag("1.0")).unwrap();
    assert_eq!(set.manifests.len(), 6);
    assert!(set.tags.contains_key(signature_tag.as_str()));
    assert_eq!(registry.count("/tags/list"), 0);
    for line in registry.take_log() {
        assert!(!line.contains("/blobs/") || !line.contains(&amd64.digest.to_string()), "{line}");
    }
}

#[test]
fn each_manifest_and_config_is_asked_for_once() {
    let one = one_image();
    for n in 0..20 {
        one.registry.tag(&format!("2.{n}"), &one.image.digest);
    }
    let set = read(&one.registry, &WantedImages::All).unwrap();
    assert_eq!(set.tags.len(), 21);
    // A request for each tag, none by digest; one config, one list of tags, one question for referrers.
    assert_eq!(one.registry.count("/manifests/sha256"), 0);
    assert_eq!(one.registry.count("/manifests/"), 21);
    assert_eq!(one.registry.count("/blobs/"), 1);
    assert_eq!(one.registry.take_log().len(), 24);
}

#[test]
fn signatures_of_many_tags_are_found_in_the_list_of_tags() {
    let mut layout = Layout::new();
    let images: Vec<_> = (0..10).map(|n| layout.simple_image(&format!("{n}"))).collect();
    let signature = layout.cosign_signature(&images[3]);
    let registry = Registry::new("app");
    registry.fill(&layout);
    images.iter().enumerate().for_each(|(n, image)| registry.tag(&format!("1.{n}"), &image.digest));
    registry.tag(&format!("sha256-{}.sig", images[3].digest.hex()), &signature.digest);
    let tags = (0..10).map(|n| format!("1.{n}").parse().unwrap()).collect();
    let set = read(&registry, &WantedImages::Tags(tags)).unwrap();
    assert!(set.manifests.contains_key(&signature.digest));
    // Eleven images with their configs, the list of tags, and one question for referrers.
    assert_eq!(registry.take_log().len(), 24);
}

#[test]
fn the_fallback_tag_stands_in_for_the_list_of_referrers() {
    let mut one = one_image();
    let signature = one.layout.artifact(&one.image, "application/vnd.acme.signature", b"s");
    let fallback = one.layout.index(std::slice::from_ref(&signature));
    let name = format!("sha256-{}", one.image.digest.hex());
    one.registry.fill(&one.layout);
    one.registry.tag(&name, &fallback.digest);
    for wanted in [tag("1.0"), WantedImages::All] {
        let set = read(&one.registry, &wanted).unwrap();
        assert!(set.manifests.contains_key(&signature.digest), "{wanted:?}");
        assert!(set.tags.contains_key(name.as_str()), "{wanted:?}");
    }
}

#[test]
fn a_digest_is_read_under_the_given_tag_or_under_none() {
    let one = one_image();
    let set = read(&one.registry, &WantedImages::Digest(one.image.digest, None)).unwrap();
    assert!(set.tags.is_empty() && set.manifests.contains_key(&one.image.digest));
    assert!(set.notes.iter().any(|note| note.contains("has no tag")), "{:?}", set.notes);
    let named = WantedImages::Digest(one.image.digest, Some("stable".parse().unwrap()));
    assert_eq!(tags(&read(&one.registry, &named).unwrap()), [("stable".to_owned(), one.image.digest)]);
    let other = WantedImages::Digest(Digest::of(b"other"), None);
    assert!(failure(&one.registry, &other).contains("is not there"));
}

#[test]
fn chosen_platforms_leave_the_others_in_the_registry() {
    let mut layout = Layout::new();
    let layers = [layout.layer(&[("a", b"a")], raas_testkit::layers::Pack::Gzip)];
    let (amd64, arm64) = (layout.image("amd64", &layers), layout.image("arm64", &layers));
    let index = layout.index(&[amd64, arm64.clone()]);
    let registry = Registry::new("app");
    registry.fill(&layout);
    registry.tag("1", &index.digest);
    let platforms = ["linux/arm64".parse().unwrap()];
    let remote = open(&registry, options());
    let set = {
        let limits = Limits::default();
        let options = ReadOptions { platforms: &platforms, ..read_options(&limits) };
        read_images(&remote, &tag("1"), &options).unwrap()
    };
    assert_eq!(tags(&set), [("1".to_owned(), arm64.digest)]);
}

#[test]
fn a_known_digest_is_compared_by_the_registry() {
    let mut one = one_image();
    let newer = one.layout.simple_image("newer");
    one.registry.fill(&one.layout);
    let (old, tag) = (one.image.digest, "1.0".parse().unwrap());
    let remote = open(&one.registry, options());
    let ask = |known: Option<&Digest>| remote.digest_of(&tag, known).map_err(|error| error.to_string());
    let statuses = Arc::new(Mutex::new(Vec::new()));
    // Some registries say no digest in the answer to HEAD.
    for says_digest in [true, false] {
        let log = statuses.clone();
        one.registry.change(move |asked, _, mut reply| {
            if asked.method == "HEAD" && !says_digest {
                reply = Reply::new(200, "");
            }
            log.lock().unwrap().push(reply.status);
            reply
        });
        let asked = |known: Option<&Digest>| {
            let digest = ask(known).unwrap().unwrap();
            (digest, std::mem::take(&mut *statuses.lock().unwrap()))
        };
        let of = |with: &[u16], without: &[u16]| if says_digest { with.to_vec() } else { without.to_vec() };
        one.registry.tag("1.0", &old);
        assert_eq!(asked(Some(&old)), (old, of(&[304], &[200, 304])));
        assert_eq!(asked(None), (old, of(&[200], &[200, 200])));
        one.registry.tag("1.0", &newer.digest);
        assert_eq!(asked(Some(&old)), (newer.digest, of(&[200], &[200, 200])));
    }
    // Nobody has asked for this.
    one.registry.change(|_, _, _| Reply::new(304, ""));
    assert!(ask(None).unwrap_err().contains("answers 304"));
}

#[test]
fn a_tag_that_moves_meanwhile_changes_nothing() {
    let mut one = one_image();
    let newer = one.layout.simple_image("newer");
    one.registry.fill(&one.layout);
    let (old, new) = (one.image.digest, newer.digest);
    let bytes = one.layout.bytes(&new).to_vec();
    one.registry.change(move |asked, number, reply| match asked.target.ends_with("/manifests/1.0") {
        true if number > 1 => Reply::new(200, bytes.clone()).with("Docker-Content-Digest", new),
        _ => reply,
    });
    let set = read(&one.registry, &WantedImages::All).unwrap();
    assert_eq!(tags(&set), [("1.0".to_owned(), old)]);
    assert!(!set.manifests.contains_key(&new));
}

#[test]
fn the_manifests_own_type_counts_and_not_the_registrys() {
    let one = one_image();
    for found_as in ["application/octet-stream", "text/plain; charset=utf-8", media_type::DOCKER_MANIFEST] {
        one.registry.change(move |asked, _, reply| match asked.target.contains("/manifests/1.0") {
            true => reply.with("Content-Type", found_as),
            false => reply,
        });
        let set = read(&one.registry, &tag("1.0")).unwrap();
        assert_eq!(set.manifests[&one.image.digest].manifest.media_type, media_type::OCI_MANIFEST);
    }
    // A manifest that does not say its type has the registry's.
    let config = one.layout.bytes(&one.image.digest);
    let mut untyped: serde_json::Value = serde_json::from_slice(config).unwrap();
    untyped.as_object_mut().unwrap().remove("mediaType");
    let untyped = untyped.to_string();
    let digest = Digest::of(untyped.as_bytes());
    one.registry.behave();
    one.registry.manifest(&digest, media_type::DOCKER_MANIFEST, untyped.as_bytes());
    one.registry.tag("untyped", &digest);
    let set = read(&one.registry, &tag("untyped")).unwrap();
    assert_eq!(set.manifests[&digest].manifest.media_type, media_type::DOCKER_MANIFEST);
}

#[test]
fn schema_1_is_refused_with_the_way_out() {
    let one = one_image();
    let old = br#"{"schemaVersion":1,"name":"a","fsLayers":[],"history":[],"signatures":[]}"#;
    let media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    one.registry.manifest(&Digest::of(old), media_type, old);
    one.registry.tag("old", &Digest::of(old));
    let failure = failure(&one.registry, &WantedImages::All);
    assert!(failure.contains("schema 1") && failure.contains("pick another tag"), "{failure}");
}

#[test]
fn answers_that_pass_are_waited_for() {
    for status in [429, 500, 502, 503, 504] {
        let one = one_image();
        one.registry.change(move |_, number, reply| match number {
            1 => error(status, "TOOMANYREQUESTS").with("Retry-After", "0"),
            _ => reply,
        });
        assert_eq!(read(&one.registry, &tag("1.0")).unwrap().manifests.len(), 1, "{status}");
    }
    let one = one_image();
    one.registry.change(|_, _, _| error(503, "UNAVAILABLE"));
    let failure = failure(&one.registry, &tag("1.0"));
    assert!(failure.contains("answers 503: it says UNAVAILABLE, scripted"), "{failure}");
    assert_eq!(one.registry.take_log().len(), 4);
}

#[test]
fn a_pause_that_the_registry_or_its_token_server_asks_for_is_kept() {
    let one = one_image();
    one.registry.change(|_, number, reply| match number {
        1 => error(429, "TOOMANYREQUESTS").with("Retry-After", "1"),
        _ => reply,
    });
    let begun = Instant::now();
    let remote = open(&one.registry, options());
    remote.tags().unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(remote.requests(), 2);

    let one = one_image();
    let busy = AtomicBool::new(true);
    let server = Server::scripted(move |_| match busy.swap(false, Ordering::SeqCst) {
        true => error(503, "UNAVAILABLE").with("Retry-After", "1"),
        false => Reply::new(200, r#"{"token":"t"}"#),
    });
    let challenge = format!("Bearer realm=\"{}\"", server.url("/token"));
    one.registry.change(move |asked, _, reply| match asked.headers.contains_key("authorization") {
        true => reply,
        false => error(401, "UNAUTHORIZED").with("WWW-Authenticate", &challenge),
    });
    let begun = Instant::now();
    open(&one.registry, options()).tags().unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn a_registry_that_asks_for_too_long_a_pause_is_not_waited_for() {
    let one = one_image();
    one.registry.change(|_, _, _| error(429, "TOOMANYREQUESTS").with("Retry-After", "3600"));
    let failure = failure(&one.registry, &tag("1.0"));
    assert!(failure.contains("answers 429") && failure.contains("hint: wait, or log in"), "{failure}");
    assert_eq!(one.registry.take_log().len(), 1);
}

#[test]
fn a_tag_that_is_not_there_is_named_with_those_that_are() {
    let one = one_image();
    let failure = failure(&one.registry, &tag("2.0"));
    assert!(failure.contains("team/app has no tag `2.0`; it has 1.0"), "{failure}");
    one.registry.tag("broken", &Digest::of(b"gone"));
    let failure = crate::support::failure(&one.registry, &WantedImages::All);
    assert!(failure.contains("lists the tag `broken`, and has no manifest for it"), "{failure}");
}

#[test]
fn a_cut_manifest_is_asked_for_again_and_a_wrong_one_is_refused() {
    let one = one_image();
    one.registry.change(|asked, number, reply| match asked.target.contains("/manifests/1.0") {
        true if number == 1 => reply.cut(20),
        _ => reply,
    });
    assert_eq!(read(&one.registry, &tag("1.0")).unwrap().manifests.len(), 1);
    one.registry.change(|asked, _, reply| match asked.target.contains("/manifests/1.0") {
        true => Reply { body: br#"{"schemaVersion":2}"#.to_vec(), ..reply },
        false => reply,
    });
    let failure = failure(&one.registry, &tag("1.0"));
    assert!(failure.contains("it was damaged or changed"), "{failure}");
}

#[test]
fn a_manifest_without_end_is_cut_off() {
    let one = one_image();
    one.registry.change(|_, _, _| Reply::new(200, vec![b' '; 64 * 1024]).then(End::Repeat));
    let failure = failure(&one.registry, &tag("1.0"));
    assert!(failure.contains("has more than 4194304 bytes"), "{failure}");
}

#[test]
fn a_registry_that_hangs_is_given_up() {
    let one = one_image();
    one.registry.change(|_, _, reply| {
        let whole = reply.body.len();
        Reply { body: reply.body[..1].to_vec(), ..reply }.with("Content-Length", whole).then(End::Hang)
    });
    let failure = failure(&one.registry, &tag("1.0"));
    assert!(failure.contains("breaks off: nothing has come for"), "{failure}");
}

#[test]
fn layers_that_must_not_be_redistributed_stay_elsewhere() {
    let mut layout = Layout::new();
    let foreign = Digest::of(b"foreign");
    let mut layer = descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", foreign, 7);
    layer.urls = vec!["https://cdn.example.com/foreign".into()];
    let config = layout
        .document(media_type::OCI_CONFIG, &serde_json::json!({"architecture": "amd64", "os": "windows"}));
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": [layer],
    });
    let image = layout.document(media_type::OCI_MANIFEST, &manifest);
    let registry = Registry::new("app");
    registry.fill(&layout);
    registry.tag("1", &image.digest);
    let set = read(&registry, &tag("1")).unwrap();
    assert!(set.blobs[&foreign].content.is_none());
    assert_eq!(bytes(&set, &config.digest).unwrap(), layout.bytes(&config.digest));
}

#[test]
fn a_registry_that_is_down_is_asked_several_times_and_named() {
    let registry = one_image().registry;
    let address = registry.address().parse().unwrap();
    let host = registry.host();
    drop(registry);
    let remote = Remote::find(&address, options()).unwrap();
    let error = remote.tags().unwrap_err();
    assert!(matches!(&error, RegistryError::Unreachable { host: named, .. } if *named == host), "{error}");
    assert_eq!(remote.requests(), u64::from(options().patience.attempts));
    assert!(error.hint().contains("check the name of the host"), "{}", error.hint());
}
