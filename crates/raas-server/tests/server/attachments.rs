//! Signatures, attestations and other artifacts, as their tools write them. The server serves their exact bytes and
//! lists them as referrers.

use raas_types::Digest;
use raas_types::media_type::{DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use crate::support::{Folders, Published, Server};

const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SIGNATURE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

/// A repository that a test builds.
struct Made {
    app: Published,
    /// Each manifest with its tag.
    manifests: Vec<(Digest, &'static str, Option<String>)>,
    blobs: Vec<Digest>,
}

impl Made {
    /// Adds a blob and returns its descriptor, with further keys.
    fn part(&mut self, kind: &str, content: &[u8], more: Value) -> Value {
        let digest = self.app.blob(content);
        self.blobs.push(digest);
        let mut part = json!({"mediaType": kind, "size": content.len(), "digest": digest.to_string()});
        part.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        part
    }

    /// Adds a manifest with white space that raas's own serializer would not write.
    fn manifest(&mut self, kind: &'static str, tag: Option<&str>, manifest: &Value) -> Digest {
        let digest = self.app.manifest(kind, format!("{manifest:#}\n").as_bytes());
        if let Some(tag) = tag {
            self.app.tag(tag, digest);
        }
        self.manifests.push((digest, kind, tag.map(str::to_owned)));
        digest
    }
}

fn image(config: &Value, layers: Value, more: Value) -> Value {
    let mut manifest =
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers});
    manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    manifest
}

/// An image with all kinds of attachments, and artifacts without a subject.
fn made() -> (Made, Digest) {
    let mut made = Made { app: Published::new("tools/app"), manifests: Vec::new(), blobs: Vec::new() };
    let amd64 = made.app.image(OCI_MANIFEST, "amd64", "");
    let size = made.app.bytes(&amd64).len();
    let subject = json!({"mediaType": OCI_MANIFEST, "digest": amd64.to_string(), "size": size});
    let tag = |end: &str| format!("sha256-{}{end}", amd64.hex());
    let none = json!({});

    // cosign, "Signature Spec": an image of its own, found by its tag.
    let config = made.part(
        CONFIG,
        br#"{"architecture":"","os":"","rootfs":{"type":"layers","diff_ids":[]}}"#,
        none.clone(),
    );
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": "registry.example.com/tools/app"},
            "image": {"docker-manifest-digest": amd64.to_string()}, "type": "cosign container image signature",
        },
        "optional": null,
    });
    let signed = json!({"annotations": {
        "dev.cosignproject.cosign/signature": "MEUCIQDexample==", "dev.sigstore.cosign/certificate": "-----BEGIN CERTIFICATE-----\n",
        "dev.sigstore.cosign/bundle": r#"{"SignedEntryTimestamp":"MEUC","Payload":{"logIndex":1}}"#,
    }});
    let payload = payload.to_string();
    let layer = made.part("application/vnd.dev.cosign.simplesigning.v1+json", payload.as_bytes(), signed);
    made.manifest(OCI_MANIFEST, Some(&tag(".sig")), &image(&config, json!([layer]), none.clone()));
    // cosign's OCI 1.1 mode: a referrer whose type is the media type of its config.
    let typed = made.part(SIGNATURE, b"{}", none.clone());
    made.manifest(OCI_MANIFEST, None, &image(&typed, json!([layer]), json!({"subject": subject})));
    let predicate = json!({"annotations": {
        "dev.cosignproject.cosign/signature": "", "predicateType": "https://slsa.dev/provenance/v0.2",
    }});
    let envelope =
        br#"{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"sig":"MEUC"}]}"#;
    let layer = made.part("application/vnd.dsse.envelope.v1+json", envelope, predicate);
    made.manifest(OCI_MANIFEST, Some(&tag(".att")), &image(&config, json!([layer]), none.clone()));
    let layer = made.part("text/spdx+json", br#"{"spdxVersion":"SPDX-2.3"}"#, none.clone());
    made.manifest(OCI_MANIFEST, Some(&tag(".sbom")), &image(&config, json!([layer]), none.clone()));

    // cosign 3: a bundle, found by the referrers API, or by the fallback tag if a registry does not have that API.
    let empty = made.part(EMPTY, b"{}", json!({"data": "e30="}));
    let layer =
        made.part(BUNDLE, br#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}"#, none.clone());
    let annotations = json!({
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
    });
    let more = json!({"artifactType": BUNDLE, "annotations": annotations, "subject": subject});
    let bundle = made.manifest(OCI_MANIFEST, None, &image(&empty, json!([layer]), more));
    let entry = json!({
        "mediaType": OCI_MANIFEST, "digest": bundle.to_string(), "size": made.app.bytes(&bundle).len(),
        "artifactType": BUNDLE, "annotations": annotations,
    });
    let fallback = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]});
    made.manifest(OCI_INDEX, Some(&tag("")), &fallback);

    // ORAS: files with names. Helm: a chart.
    let file = json!({"annotations": {"org.opencontainers.image.title": "rocket/engine.bin"}});
    let layer = made.part("application/vnd.acme.rocket.layer.v1+tar", b"thrust", file);
    let more = json!({
        "artifactType": "application/vnd.acme.rocket.config",
        "annotations": {"org.opencontainers.image.created": "2026-01-01T00:00:00Z"},
    });
    made.manifest(OCI_MANIFEST, Some("rocket"), &image(&empty, json!([layer]), more));
    let chart = made.part(
        "application/vnd.cncf.helm.config.v1+json",
        br#"{"name":"app","version":"1.0.0","apiVersion":"v2"}"#,
        none.clone(),
    );
    let layer = made.part("application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"chart", none.clone());
    made.manifest(OCI_MANIFEST, Some("chart-1.0.0"), &image(&chart, json!([layer]), none.clone()));
    // An unknown kind of manifest.
    let other = json!({"schemaVersion": 2, "blobs": [layer], "subject": subject});
    made.manifest("application/vnd.oci.artifact.manifest.v1+json", Some("early"), &other);

    // BuildKit: provenance as a manifest of the image's index, with an unknown platform.
    let statement = json!({"annotations": {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}});
    let layer = made.part(
        "application/vnd.in-toto+json",
        br#"{"_type":"https://in-toto.io/Statement/v0.1"}"#,
        statement,
    );
    let provenance = made.manifest(OCI_MANIFEST, None, &image(&config, json!([layer]), none));
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {
            "mediaType": OCI_MANIFEST, "digest": provenance.to_string(), "size": made.app.bytes(&provenance).len(),
            "annotations": {
                "vnd.docker.reference.digest": amd64.to_string(),
                "vnd.docker.reference.type": "attestation-manifest",
            },
            "platform": {"architecture": "unknown", "os": "unknown"},
        },
        {
            "mediaType": OCI_MANIFEST, "digest": amd64.to_string(), "size": size,
            "platform": {"architecture": "amd64", "os": "linux"},
        },
    ]});
    made.manifest(OCI_INDEX, Some("1.0"), &index);
    (made, amd64)
}

fn served() -> (Server, Folders, Made, Digest) {
    let folders = Folders::new("acme");
    let (made, amd64) = made();
    folders.publish(&made.app);
    folders.revision("one");
    (Server::start(vec![folders.site()]), folders, made, amd64)
}

/// v2: manifests, and blobs
#[test]
fn signatures_attestations_and_artifacts_are_served_as_they_are() {
    let (server, _folders, made, _) = served();
    // The `Accept` headers of containers/image, cosign and ORAS. None names an unknown type.
    let accepts = [
        "*/*".to_owned(),
        format!("{OCI_MANIFEST}, {OCI_INDEX}, {DOCKER_MANIFEST}"),
        format!("{OCI_MANIFEST},{DOCKER_MANIFEST},{OCI_INDEX},application/vnd.oci.artifact.manifest.v1+json"),
    ];
    for (digest, kind, tag) in &made.manifests {
        for reference in [Some(digest.to_string()), tag.clone()].into_iter().flatten() {
            for accept in &accepts {
                let path = format!("/v2/tools/app/manifests/{reference}");
                let answer = server.ask("GET", &path, &[("accept", accept)]);
                let told =
                    (answer.status, answer.header("content-type"), answer.header("docker-content-digest"));
                assert_eq!(told, (200, Some(*kind), Some(digest.to_string().as_str())), "{path} {accept}");
                assert_eq!(answer.body, made.app.bytes(digest), "{path}");
            }
        }
    }
    for digest in &made.blobs {
        let answer = server.get(&format!("/v2/tools/app/blobs/{digest}"));
        assert_eq!((answer.status, answer.body.as_slice()), (200, made.app.bytes(digest)), "{digest}");
    }
    let tags: Value = serde_json::from_slice(&server.get("/v2/tools/app/tags/list").body).unwrap();
    assert_eq!(tags["tags"].as_array().unwrap().len(), 8, "{tags}");
}

/// v2: lists
#[test]
fn referrers_are_found_by_subject_and_type() {
    let (server, _folders, made, amd64) = served();
    let found = |query: &str| -> Vec<Value> {
        let answer = server.get(&format!("/v2/tools/app/referrers/{amd64}{query}"));
        let index: Value = serde_json::from_slice(&answer.body).unwrap();
        index["manifests"].as_array().unwrap().clone()
    };
    let by_type = |kind: &str| found(&format!("?artifactType={}", kind.replace('+', "%2B")));
    let [bundle] = by_type(BUNDLE).try_into().unwrap();
    let expected =
        made.manifests.iter().find(|(digest, ..)| bundle["digest"] == digest.to_string()).unwrap().0;
    assert_eq!(bundle["size"], made.app.bytes(&expected).len());
    assert_eq!(bundle["annotations"]["dev.sigstore.bundle.content"], "dsse-envelope");
    // The artifact type of a manifest without `artifactType` is the media type of its config.
    let [signature] = by_type(SIGNATURE).try_into().unwrap();
    assert_eq!(
        (&signature["artifactType"], &signature["mediaType"]),
        (&SIGNATURE.into(), &OCI_MANIFEST.into())
    );
    assert!(found("").contains(&bundle) && found("").contains(&signature));
    // The fallback tag lists the same referrers as the API.
    let fallback = server.get(&format!("/v2/tools/app/manifests/sha256-{}", amd64.hex()));
    let fallback: Value = serde_json::from_slice(&fallback.body).unwrap();
    assert_eq!(fallback["manifests"], json!([bundle]));
}

/// The page
#[test]
fn attachments_are_shown_below_their_image() {
    let (server, _folders, made, amd64) = served();
    let page = server.get("/?image=tools/app&tag=1.0").text().to_owned();
    let section = page.split_once("<section class=\"image\" id=\"linux-amd64\">").unwrap().1;
    assert_eq!(page.matches("<section").count(), 1, "provenance is no platform: {page}");
    let kinds = |kind: &str| section.matches(&format!("<th scope=\"row\">{kind}<td>")).count();
    // By tag and as referrers. The list of referrers itself is not an attachment.
    assert_eq!((kinds("Signature"), kinds("SBOM"), kinds("Attestation")), (3, 1, 2), "{section}");
    assert!(section.contains(&amd64.to_string()));
    let provenance = made.manifests.iter().rev().nth(1).unwrap().0;
    assert!(section.contains(&provenance.to_string()), "{section}");
}

/// v2: negotiation
#[test]
fn provenance_is_not_mistaken_for_the_image() {
    let (server, _folders, _, amd64) = served();
    let answer = server.ask("GET", "/v2/tools/app/manifests/1.0", &[("accept", OCI_MANIFEST)]);
    assert_eq!(answer.header("docker-content-digest"), Some(amd64.to_string().as_str()));
}

/// "v2: lists"
#[test]
fn long_lists_of_referrers_have_pages() {
    let folders = Folders::new("acme");
    let mut app = Published::new("app");
    let image = app.image(OCI_MANIFEST, "app", "");
    let config = app.blob(b"{}");
    let mut expected = Vec::new();
    for n in 0..5 {
        let kind = if n == 4 { "b/c" } else { "a/b" };
        let part = |digest: Digest| json!({"mediaType": "a/b", "digest": digest.to_string(), "size": 2});
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind, "config": part(config), "layers": [],
            "subject": part(image), "annotations": {"n": n.to_string(), "long": "x".repeat(2 << 20)},
        });
        let digest = app.manifest(OCI_MANIFEST, manifest.to_string().as_bytes());
        expected.push((digest, kind));
    }
    folders.publish(&app);
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    for filter in ["", "?artifactType=a%2Fb"] {
        let mut next = Some(format!("/v2/app/referrers/{image}{filter}"));
        let mut seen = Vec::new();
        while let Some(path) = next.take() {
            let answer = server.get(&path);
            assert_eq!(answer.status, 200);
            assert!(answer.body.len() < 4 << 20, "clients accept 4 MiB");
            assert_eq!(answer.header("oci-filters-applied").is_some(), !filter.is_empty());
            let index: Value = serde_json::from_slice(&answer.body).unwrap();
            for entry in index["manifests"].as_array().unwrap() {
                seen.push(entry["digest"].as_str().unwrap().to_owned());
            }
            let link = answer.header("link");
            next = link.map(|link| {
                link.strip_prefix('<').unwrap().split_once(">; rel=\"next\"").unwrap().0.to_owned()
            });
        }
        let mut all: Vec<String> = expected
            .iter()
            .filter(|(_, kind)| filter.is_empty() || *kind == "a/b")
            .map(|(digest, _)| digest.to_string())
            .collect();
        all.sort();
        assert_eq!(seen, all);
    }
}
