//! Each kind of bucket, and what clients get from it. The headings are those of `docs/request-handling.md`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use raas_server::{
    AkamaiToken, BaseUrl, Bucket, Cdn, CdnToken, CloudFront, CredentialError, CredentialSource, Credentials,
    Origin, S3Location, Signer, SiteConfig, TokenAlgorithm,
};
use raas_types::media_type::DOCKER_MANIFEST;
use raas_types::{Digest, ImageId, ObjectKey, V1File};

use crate::support::{Answer, Folders, Published, Server, image_id, store_v1, v1_document};
use crate::upstream::{Fault, Upstream};

const ELSEWHERE: &str = "https://cdn.example.com/base/layer";
const LAYER: &[u8] = b"0123456789";
const MANIFEST: &str = "/v2/tools/app/manifests/1.0";

fn credentials(expires: Option<SystemTime>) -> Arc<Credentials> {
    Arc::new(Credentials {
        access_key_id: "KEY".into(),
        secret_access_key: "secret".into(),
        session_token: Some("token".into()),
        expires,
    })
}

pub(crate) fn signed(upstream: &Upstream, credentials: Arc<dyn CredentialSource>) -> Origin {
    let location = S3Location {
        endpoint: Some(upstream.url()),
        region: "eu-west-1".into(),
        bucket: "acme".into(),
        prefix: Some("images".into()),
        path_style: true,
    };
    Origin::Signed(Arc::new(Signer::new(&location, credentials).unwrap()))
}

pub(crate) fn with_key(upstream: &Upstream) -> Origin {
    signed(upstream, Arc::new(credentials(None)))
}

pub(crate) fn open(upstream: &Upstream) -> Origin {
    Origin::Open(BaseUrl::parse(&format!("{}/acme/images/", upstream.url())).unwrap())
}

/// A site with a remote bucket.
struct Site {
    server: Server,
    upstream: Upstream,
    _folders: Folders,
    blob: Digest,
    masked: Digest,
    missing: Digest,
}

/// An image in the bucket, a masked one, and one of a document that raas did not write.
fn ids() -> (ImageId, ImageId, ImageId) {
    (image_id('1'), image_id('2'), image_id('5'))
}

impl Site {
    fn new(private: bool, bucket: impl FnOnce(&Upstream) -> Bucket) -> Self {
        Self::with(private, |upstream, _| bucket(upstream))
    }

    fn with(private: bool, bucket: impl FnOnce(&Upstream, &Folders) -> Bucket) -> Self {
        let upstream = Upstream::start(private);
        let folders = Folders::new("acme");
        let mut app = Published::new("tools/app");
        let image = app.image(DOCKER_MANIFEST, "app", "");
        app.tag("1.0", image);
        let blob = app.blob(LAYER);
        let masked = app.masked_image();
        let missing = app.blob_entry(b"missing", None);
        folders.publish(&app);
        let (one, two, foreign) = ids();
        let base = Some("https://cdn.example.com/v1/base");
        let old = v1_document("tools/app", &[("latest", one)], &[(one, None), (two, base)], true);
        folders.write("crane/data/tools/app/_v1.json", &old);
        folders.write("crane/data/pulp.json", &v1_document("pulp", &[], &[(foreign, None)], false));
        folders.revision("one");
        let put = |key: ObjectKey, bytes: &[u8]| upstream.set(&format!("/acme/images/{key}"), bytes);
        put(ObjectKey::Blob(app.name.clone(), blob), LAYER);
        for file in V1File::ALL {
            put(ObjectKey::V1(app.name.clone(), one, file), file.name().as_bytes());
        }
        store_v1(&folders, "tools/app", one);
        let site = SiteConfig { bucket: bucket(&upstream, &folders), ..folders.site() };
        let server = Server::start(vec![site]);
        Self { server, upstream, _folders: folders, blob, masked, missing }
    }

    fn blob(&self, digest: &Digest) -> String {
        format!("/v2/tools/app/blobs/{digest}")
    }

    fn object(&self, digest: &Digest) -> String {
        format!("/acme/images/tools/app/_v2/blobs/{digest}")
    }

    fn ranged(&self, range: &str) -> Answer {
        self.server.ask("GET", &self.blob(&self.blob), &[("range", range)])
    }
}

#[test]
fn a_private_bucket_gets_redirects_to_signed_urls() {
    let site = Site::new(true, |upstream| Bucket::Redirect(with_key(upstream)));
    let answer = site.server.get(&site.blob(&site.blob));
    assert_eq!((answer.status, answer.header("cache-control")), (307, Some("no-store")));
    assert_eq!(answer.header("docker-content-digest"), Some(site.blob.to_string().as_str()));
    let location = answer.header("location").unwrap();
    let object = site.object(&site.blob).replace("sha256:", "sha256%3A");
    assert!(location.starts_with(&format!("{}{object}?X-Amz-Algorithm=", site.upstream.url())), "{location}");
    for part in ["X-Amz-Credential=KEY%2F", "&X-Amz-Expires=300&", "&X-Amz-Security-Token=token&"] {
        assert!(location.contains(part), "{part}: {location}");
    }
    assert!(!location.contains("secret"));

    let head = site.server.ask("HEAD", &site.blob(&site.blob), &[]);
    assert_eq!(
        (head.status, head.header("location"), head.header("content-length")),
        (200, None, Some("10"))
    );
    let etag = format!("\"{}\"", site.blob);
    assert_eq!(site.server.ask("GET", &site.blob(&site.blob), &[("if-none-match", &etag)]).status, 304);
    let masked = site.server.get(&site.blob(&site.masked));
    assert_eq!((masked.status, masked.header("location")), (307, Some(ELSEWHERE)));
    // The server does not ask the bucket whether an object exists.
    assert_eq!(site.server.get(&site.blob(&site.missing)).status, 307);

    let (one, two, foreign) = ids();
    for file in V1File::ALL {
        let path = format!("/v1/images/{one}/{}", file.name());
        let answer = site.server.get(&path);
        assert_eq!((answer.status, answer.header("x-docker-registry-version")), (302, Some("0.6.6")));
        let location = answer.header("location").unwrap();
        assert!(location.contains(&format!("/acme/images/tools/app/{one}/{}?", file.name())), "{location}");
        let head = site.server.ask("HEAD", &path, &[]);
        // The size of the small files is unknown, and a URL that is signed for GET does not answer HEAD.
        assert_eq!(head.status, if file == V1File::Layer { 200 } else { 302 });
        assert_ne!(head.header("location"), Some(location));
    }
    let masked = site.server.get(&format!("/v1/images/{two}/json"));
    assert_eq!(masked.header("location"), Some("https://cdn.example.com/v1/base/json"));
    let foreign_json = format!("/v1/images/{foreign}/json");
    let pulp = format!("https://bucket.example.com/pulp/{foreign}/json");
    assert_eq!(site.server.get(&foreign_json).header("location"), Some(pulp.as_str()));
    assert_eq!(site.upstream.requests(), [], "the server sends no request to the bucket");
}

/// In every kind of bucket, only blobs are redirected, HEAD is not, and no cache may store a redirect.
#[test]
fn only_blobs_are_redirected_and_no_redirect_is_stored() {
    type Make = fn(&Upstream, &Folders) -> Bucket;
    let cdn = |token: CdnToken| {
        let base = BaseUrl::parse("https://cdn.example.com/x").unwrap();
        Bucket::Redirect(Origin::Cdn(Arc::new(Cdn::new(base, token).unwrap())))
    };
    let akamai = move || {
        let ttl = Duration::from_secs(300);
        cdn(CdnToken::Akamai(AkamaiToken::new("abc123", "t", ttl, TokenAlgorithm::Sha256).unwrap()))
    };
    let cloudfront = move || {
        let key = include_str!("../data/cloudfront-ec.pem");
        cdn(CdnToken::CloudFront(CloudFront::new("K2JCJMDEHXQW5F", key).unwrap()))
    };
    let kinds: [(&str, bool, Make); 5] = [
        ("folder", false, |_, folders| Bucket::Folder(folders.bucket())),
        ("presigned", true, |upstream, _| Bucket::Redirect(with_key(upstream))),
        ("public", true, |upstream, _| Bucket::Redirect(open(upstream))),
        ("proxy", false, |upstream, _| Bucket::Proxy(with_key(upstream))),
        ("open proxy", false, |upstream, _| Bucket::Proxy(open(upstream))),
    ];
    let sites = kinds.map(|(kind, sends, make)| (kind, sends, Site::with(kind != "open proxy", make)));
    let cdns = [
        ("akamai", true, Site::with(true, |_, _| akamai())),
        ("cloudfront", true, Site::with(true, |_, _| cloudfront())),
    ];
    for (kind, sends, site) in sites.into_iter().chain(cdns) {
        let image =
            format!("/v2/tools/app/manifests/{}", Digest::of(site.server.get(MANIFEST).text().as_bytes()));
        for path in [
            "/",
            "/token",
            "/v2/",
            "/v2/_catalog",
            "/v2/tools/app/tags/list",
            "/v2/tools/app/referrers/sha256:0",
            MANIFEST,
            &image,
            "/v2/tools/app/manifests/none",
            "/v1/_ping",
            "/v1/repositories/tools/app/tags",
            "/v1/repositories/tools/app/images",
        ] {
            for method in ["GET", "HEAD"] {
                let answer = site.server.ask(method, path, &[]);
                assert_eq!(answer.header("location"), None, "{kind} {method} {path}");
                assert!(!(300..400).contains(&answer.status), "{kind} {method} {path} {}", answer.status);
            }
        }
        let (one, two, _) = ids();
        let layer = |id| format!("/v1/images/{id}/layer");
        // The bucket does not matter for masked layers.
        let (v2, v1) = ("docker-distribution-api-version", "x-docker-registry-version");
        for (path, length, redirected, status, version) in [
            (site.blob(&site.blob), "10", sends, 307, v2),
            (site.blob(&site.masked), "6", true, 307, v2),
            (layer(one), "5", sends, 302, v1),
            (layer(two), "5", true, 302, v1),
        ] {
            let head = site.server.ask("HEAD", &path, &[]);
            assert_eq!((head.status, head.header("location")), (200, None), "{kind} HEAD {path}");
            assert_eq!(head.header("content-length"), Some(length), "{kind} HEAD {path}");
            for headers in [&[][..], &[("range", "bytes=1-2")]] {
                let get = site.server.ask("GET", &path, headers);
                assert!(get.header(version).is_some(), "{kind} {path}");
                if !redirected {
                    assert_eq!(get.status, if headers.is_empty() { 200 } else { 206 }, "{kind} {path}");
                    assert_eq!(get.header("etag"), head.header("etag"), "{kind} {path}");
                    assert_eq!(get.header("location"), None, "{kind} {path}");
                    continue;
                }
                // A resumed download gets a new redirect, which is valid as long as any.
                assert_eq!((get.status, get.text()), (status, ""), "{kind} {path}");
                assert_eq!(get.header("cache-control"), Some("no-store"), "{kind} {path}");
                let location = get.header("location").unwrap();
                assert!(!location.contains("/v2/"), "{kind} {path}: no other registry is asked: {location}");
            }
        }
    }
}

#[test]
fn a_public_bucket_or_a_cdn_gets_redirects_to_its_url() {
    let site = Site::new(false, |upstream| Bucket::Redirect(open(upstream)));
    let answer = site.server.get(&site.blob(&site.blob));
    let url = format!("{}{}", site.upstream.url(), site.object(&site.blob));
    assert_eq!((answer.status, answer.header("location")), (307, Some(url.as_str())));
    assert_eq!(site.server.ask("HEAD", &site.blob(&site.blob), &[]).status, 200);
    let (one, ..) = ids();
    let answer = site.server.get(&format!("/v1/images/{one}/layer"));
    let url = format!("{}/acme/images/tools/app/{one}/layer", site.upstream.url());
    assert_eq!((answer.status, answer.header("location")), (302, Some(url.as_str())));
    assert_eq!(site.upstream.requests(), []);
}

#[test]
fn the_page_shows_which_host_serves_each_layer() {
    let site = Site::new(false, |upstream| Bucket::Redirect(open(upstream)));
    let page = site.server.get("/?image=tools/app&tag=masked").text().to_owned();
    assert!(page.contains("<td>cdn.example.com\n"), "{page}");
    assert!(page.contains("</meter> 6 B from cdn.example.com\n"), "{page}");
    assert!(page.contains(&format!(" from {}\n", site.upstream.address)), "{page}");
}

#[test]
fn without_credentials_only_metadata_is_answered() {
    #[derive(Debug)]
    struct Nobody;
    impl CredentialSource for Nobody {
        fn current(&self) -> Result<Arc<Credentials>, CredentialError> {
            Err(CredentialError("no credentials yet".into()))
        }
    }
    let over = SystemTime::now() - Duration::from_secs(1);
    let sources: [Arc<dyn CredentialSource>; 2] = [Arc::new(Nobody), Arc::new(credentials(Some(over)))];
    for source in sources {
        for proxy in [false, true] {
            let source = Arc::clone(&source);
            let site = Site::new(true, |upstream| {
                let origin = signed(upstream, source);
                if proxy { Bucket::Proxy(origin) } else { Bucket::Redirect(origin) }
            });
            let answer = site.server.get(&site.blob(&site.blob));
            assert_eq!((answer.status, answer.header("location")), (503, None));
            assert!(answer.text().contains("UNAVAILABLE"), "{}", answer.text());
            assert_eq!(site.server.get(&format!("/v1/images/{}/layer", ids().0)).status, 503);
            assert_eq!(site.server.get("/v2/tools/app/manifests/1.0").status, 200);
            assert_eq!(site.server.ask("HEAD", &site.blob(&site.blob), &[]).status, 200);
        }
    }
}

#[test]
fn a_url_does_not_outlive_its_key() {
    let soon = SystemTime::now() + Duration::from_secs(100);
    let site =
        Site::new(true, |upstream| Bucket::Redirect(signed(upstream, Arc::new(credentials(Some(soon))))));
    let answer = site.server.get(&site.blob(&site.blob));
    let location = answer.header("location").unwrap();
    let seconds = location.split("X-Amz-Expires=").nth(1).unwrap().split('&').next().unwrap();
    assert!((90..=100).contains(&seconds.parse().unwrap()), "{location}");
}

#[test]
fn a_proxied_bucket_is_streamed() {
    for private in [true, false] {
        let site = Site::new(private, |upstream| {
            Bucket::Proxy(if private { with_key(upstream) } else { open(upstream) })
        });
        let answer = site.server.get(&site.blob(&site.blob));
        assert_eq!((answer.status, answer.body.as_slice()), (200, LAYER));
        for (name, value) in [
            ("content-length", "10"),
            ("content-type", "application/octet-stream"),
            ("accept-ranges", "bytes"),
            ("cache-control", "public, max-age=31536000, immutable"),
            ("docker-content-digest", &site.blob.to_string()),
            ("etag", &format!("\"{}\"", site.blob)),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
        let asked = site.upstream.requests().len();
        assert_eq!(site.server.ask("HEAD", &site.blob(&site.blob), &[]).header("content-length"), Some("10"));
        assert_eq!(site.upstream.requests().len(), asked, "HEAD is answered from metadata");
        let (one, ..) = ids();
        for file in V1File::ALL {
            let path = format!("/v1/images/{one}/{}", file.name());
            let answer = site.server.get(&path);
            assert_eq!((answer.status, answer.text()), (200, file.name()));
            assert_eq!(answer.header("x-docker-registry-config"), Some("common"));
            let head = site.server.ask("HEAD", &path, &[]);
            let length = file.name().len().to_string();
            assert_eq!((head.status, head.header("content-length")), (200, Some(length.as_str())));
            // A file of unknown length is always sent whole.
            let part = site.server.ask("GET", &path, &[("range", "bytes=1-2")]);
            let expected = if file == V1File::Layer { (206, "ay") } else { (200, file.name()) };
            assert_eq!((part.status, part.text()), expected);
        }
        assert_eq!(site.server.get(&site.blob(&site.masked)).header("location"), Some(ELSEWHERE));
    }
}

#[test]
fn ranges_of_a_proxied_bucket_are_streamed() {
    let site = Site::new(true, |upstream| Bucket::Proxy(with_key(upstream)));
    for (range, status, body, told) in [
        ("bytes=2-4", 206, &LAYER[2..5], Some("bytes 2-4/10")),
        ("bytes=7-", 206, &LAYER[7..], Some("bytes 7-9/10")),
        ("bytes=-1", 206, &LAYER[9..], Some("bytes 9-9/10")),
        ("bytes=0-99", 206, LAYER, Some("bytes 0-9/10")),
        ("bytes=0-1,3-4", 200, LAYER, None),
        ("lines=1", 200, LAYER, None),
    ] {
        let answer = site.ranged(range);
        assert_eq!((answer.status, answer.body.as_slice()), (status, body), "{range}");
        assert_eq!(answer.header("content-range"), told, "{range}");
        assert_eq!(answer.header("content-length"), Some(body.len().to_string().as_str()), "{range}");
    }
    let beyond = site.ranged("bytes=10-");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */10")));
    let other = [("range", "bytes=2-4"), ("if-range", "\"other\"")];
    assert_eq!(site.server.ask("GET", &site.blob(&site.blob), &other).status, 200);
    let etag = format!("\"{}\"", site.blob);
    let same = [("range", "bytes=2-4"), ("if-range", etag.as_str())];
    assert_eq!(site.server.ask("GET", &site.blob(&site.blob), &same).status, 206);
    site.upstream.fail(&site.object(&site.blob), Fault::NoRanges, 1);
    let whole = site.ranged("bytes=2-4");
    assert_eq!((whole.status, whole.body.as_slice(), whole.header("content-range")), (200, LAYER, None));
}

#[test]
fn faults_of_a_proxied_bucket_have_the_right_error() {
    let site = Site::new(true, |upstream| Bucket::Proxy(with_key(upstream)));
    let (path, object) = (site.blob(&site.blob), site.object(&site.blob));
    let error = |status: u16, code: &str| {
        let answer = site.server.get(&path);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(code), "{}", answer.text());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    };
    assert_eq!(site.server.get(&site.blob(&site.missing)).status, 500);
    site.upstream.fail(&object, Fault::Status(403), 1);
    error(503, "UNAVAILABLE");
    site.upstream.fail(&object, Fault::Status(503), 9);
    error(503, "UNAVAILABLE");
    site.upstream.fail(&object, Fault::Status(503), 2);
    assert_eq!(site.server.get(&path).body, LAYER, "the request to a busy service is repeated");
    site.upstream.fail(&object, Fault::Status(302), 1);
    error(503, "UNAVAILABLE");
    site.upstream.set(&object, b"short");
    error(500, "UNKNOWN");
    site.upstream.set(&object, LAYER);
    site.upstream.fail(&object, Fault::BreaksOff, 1);
    let broken = site.server.get(&path);
    assert_eq!((broken.status, broken.header("content-length")), (200, Some("10")));
    assert!(broken.body.len() < 10, "the connection ends before the announced length");
    assert_eq!(site.server.get(&path).body, LAYER);
}

#[test]
fn an_unreachable_proxied_bucket_is_unavailable() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = BaseUrl::parse(&format!("http://{nobody}/")).unwrap();
    let site = Site::new(false, |_| Bucket::Proxy(Origin::Open(url)));
    assert_eq!(site.server.get(&site.blob(&site.blob)).status, 503);
    assert_eq!(site.server.get("/v2/tools/app/manifests/1.0").status, 200);
}

/// A folder
#[test]
fn links_do_not_lead_out_of_a_folder() {
    let folders = Folders::new("acme");
    let mut app = Published::new("app");
    let layer = app.blob_entry(LAYER, None);
    let digest = app.image(DOCKER_MANIFEST, "app", "");
    app.tag("latest", digest);
    folders.publish(&app);
    let outside = folders.metadata().join("outside");
    std::fs::write(&outside, LAYER).unwrap();
    let path = folders.bucket().join(ObjectKey::Blob(app.name.clone(), layer).to_string());
    std::os::unix::fs::symlink(&outside, &path).unwrap();
    let server = Server::start(vec![folders.site()]);
    let ask = || server.get(&format!("/v2/app/blobs/{layer}")).status;
    assert_eq!(ask(), 500);
    std::fs::remove_file(&path).unwrap();
    std::fs::hard_link(&outside, &path).unwrap();
    assert_eq!(ask(), 200, "repositories share content by hard links");
}

/// An open bucket or a CDN
#[test]
fn a_cdn_gets_its_token() {
    let base = || BaseUrl::parse("https://cdn.example.com/x").unwrap();
    let akamai = AkamaiToken::new("abc123", "_auth_", Duration::from_secs(300), TokenAlgorithm::Sha256);
    let cloudfront = CloudFront::new("K2JCJMDEHXQW5F", include_str!("../data/cloudfront-ec.pem"));
    let table = [
        (CdnToken::Akamai(akamai.unwrap()), "?_auth_=exp="),
        (CdnToken::CloudFront(cloudfront.unwrap()), "?Policy="),
    ];
    for (token, begin) in table {
        let folders = Folders::new("acme");
        let mut app = Published::new("app");
        let layer = app.blob_entry(LAYER, None);
        let masked = app.masked_image();
        folders.publish(&app);
        let bucket = Bucket::Redirect(Origin::Cdn(Arc::new(Cdn::new(base(), token).unwrap())));
        let server = Server::start(vec![SiteConfig { bucket, ..folders.site() }]);
        let answer = server.get(&format!("/v2/app/blobs/{layer}"));
        let expected = format!("https://cdn.example.com/x/app/_v2/blobs/{layer}{begin}");
        let location = answer.header("location").unwrap_or_default();
        assert!(answer.status == 307 && location.starts_with(&expected), "{location}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let masked = server.get(&format!("/v2/app/blobs/{masked}"));
        assert_eq!(masked.header("location"), Some(ELSEWHERE), "the vendor's CDN does not have it");
    }
}
