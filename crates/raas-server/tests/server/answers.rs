//! Every decision of `docs/request-handling.md`, at a site that has one of everything. The headings are those of that
//! document.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_types::crane::V2Content;
use raas_types::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use raas_types::{Digest, ObjectKey, V1File};

use crate::support::{Answer, Folders, Published, Server, image_id, pulp_document, store_v1, v1_document};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const FOREVER: &str = "public, max-age=31536000, immutable";
const ELSEWHERE: &str = "https://cdn.example.com/base/layer";
const SIGNATURE: &str = "application/vnd.example.signature";
const SBOM: &str = "application/vnd.example.sbom";

struct Site {
    server: Server,
    _folders: Folders,
    /// Texts that paths, headers and bodies name in braces.
    names: Vec<(&'static str, String)>,
}

static SITE: LazyLock<Site> = LazyLock::new(|| {
    let folders = Folders::new("acme");
    let mut app = Published::new("tools/app");
    let amd64 = app.image(DOCKER_MANIFEST, "amd64", "");
    let arm64 = app.image(OCI_MANIFEST, "arm64", "");
    let list = app.index(OCI_INDEX, &[(arm64, "arm64"), (amd64, "amd64")]);
    let foreign = app.index(DOCKER_LIST, &[(arm64, "arm64")]);
    let attached = |kind: &str, note: &str| {
        format!(
            ",\"artifactType\":\"{kind}\",\"annotations\":{{\"note\":\"{note}\"}},\"subject\":{{\"mediaType\":\
             \"{DOCKER_MANIFEST}\",\"digest\":\"{amd64}\",\"size\":1}}"
        )
    };
    let signature = app.image(OCI_MANIFEST, "signature", &attached(SIGNATURE, "signed"));
    let sbom = app.image(OCI_MANIFEST, "sbom", &attached(SBOM, "listed"));
    let odd = app.manifest("application/vnd.example.odd+json", b"{\"odd\":true}");
    for (tag, digest) in [("1.0", amd64), ("multi", list), ("Beta", arm64), ("tags", foreign), ("odd", odd)] {
        app.tag(tag, digest);
    }
    let blob = app.blob(b"0123456789");
    let empty = app.blob(b"");
    let masked = app.blob_entry(b"masked layer", Some(ELSEWHERE));
    let missing = app.blob_entry(b"missing", None);
    let short = app.blob_entry(b"whole", None);
    folders.publish(&app);
    folders.store(&ObjectKey::Blob(app.name.clone(), short), b"who");

    let mut words = Published::new("a/manifests/b");
    let digest = words.image(DOCKER_MANIFEST, "words", "");
    words.tag("latest", digest);
    folders.publish(&words);
    let mut hidden = Published::new("hidden");
    let hidden_manifest = hidden.image(DOCKER_MANIFEST, "hidden", "");
    hidden.tag("latest", hidden_manifest);
    folders.publish(&hidden);
    folders.write("crane/data/hidden.json", &hidden.document(true));
    // `tools/old`, which comes later by name, has one of these images too.
    let images = [(image_id('1'), None), (image_id('7'), None)];
    let document = v1_document("hidden", &[("latest", image_id('7'))], &images, true);
    folders.write("crane/data/hidden/_v1.json", &document);
    let mut library = Published::new("library/only");
    let digest = library.image(DOCKER_MANIFEST, "library", "");
    library.tag("latest", digest);
    folders.publish(&library);

    // Docker v1: `old` has its images in the bucket, except one at a location and one that is missing. `older` masks an
    // image that `old` has in the bucket. raas did not write `pulp`.
    let (one, two, gone, shared) = (image_id('1'), image_id('2'), image_id('3'), image_id('4'));
    let (foreign_id, local_id) = (image_id('5'), image_id('6'));
    let (short_id, foreign_first, masked_twice) = (image_id('8'), image_id('a'), image_id('b'));
    let base = Some("https://cdn.example.com/v1/base");
    let old = v1_document(
        "tools/old",
        &[("latest", one), ("images", two)],
        &[
            (one, None),
            (two, base),
            (gone, None),
            (shared, None),
            (short_id, None),
            (masked_twice, Some("https://cdn.example.com/v1/second")),
        ],
        true,
    );
    folders.store(&ObjectKey::V1("tools/old".parse().unwrap(), short_id, V1File::Layer), b"lay");
    folders.write("crane/data/tools/old/_v1.json", &old);
    folders.write(
        "crane/data/older/_v1.json",
        &v1_document("older", &[], &[(shared, base), (foreign_first, base), (masked_twice, base)], true),
    );
    folders.write(
        "crane/data/pulp.json",
        &v1_document("pulp", &[], &[(foreign_id, None), (local_id, None), (foreign_first, None)], false),
    );
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let pulp4 = V2Content {
        schema2: texts(&["two"]),
        lists: texts(&["multi", &Digest::of(b"list").to_string()]),
        amd64_tags: [("multi".to_owned(), (Digest::of(b"child").to_string(), 2))].into(),
        ..V2Content::default()
    };
    folders.write("crane/data/legacy/four.json", &pulp_document("legacy/four", pulp4));
    let pulp2 = V2Content { flat: true, ..V2Content::default() };
    folders.write("crane/data/legacy/two.json", &pulp_document("legacy/two", pulp2));
    // raas's own document comes first.
    folders.write("crane/data/tools/app-of-pulp.json", &pulp_document("tools/app", V2Content::default()));
    for (name, id) in [("tools/old", one), ("tools/old", shared), ("pulp", local_id)] {
        store_v1(&folders, name, id);
    }
    folders.revision("0123abc");

    let size = |digest: &Digest| app.bytes(digest).len().to_string();
    let names = vec![
        ("{amd64 encoded}", amd64.to_string().replace(':', "%3A")),
        ("{amd64}", amd64.to_string()),
        ("{amd64 size}", size(&amd64)),
        ("{list}", list.to_string()),
        ("{list size}", size(&list)),
        ("{arm64}", arm64.to_string()),
        ("{foreign}", foreign.to_string()),
        ("{odd}", odd.to_string()),
        ("{signature}", signature.to_string()),
        ("{sbom}", sbom.to_string()),
        ("{signature entry}", referrer(&app, &signature, SIGNATURE, "signed")),
        ("{sbom entry}", referrer(&app, &sbom, SBOM, "listed")),
        ("{blob}", blob.to_string()),
        ("{empty}", empty.to_string()),
        ("{masked}", masked.to_string()),
        ("{missing}", missing.to_string()),
        ("{short}", short.to_string()),
        ("{nothing}", Digest::of(b"nothing").to_string()),
        ("{list of pulp}", Digest::of(b"list").to_string()),
        ("{child of pulp}", Digest::of(b"child").to_string()),
        ("{sha512}", format!("sha512:{}", "ab".repeat(64))),
        ("{1}", one.to_string()),
        ("{2}", two.to_string()),
        ("{3}", gone.to_string()),
        ("{4}", shared.to_string()),
        ("{5}", foreign_id.to_string()),
        ("{6}", local_id.to_string()),
        ("{7}", image_id('7').to_string()),
        ("{hidden}", hidden_manifest.to_string()),
        ("{hidden layer}", Digest::of(b"layer of hidden").to_string()),
        ("{8}", short_id.to_string()),
        ("{9}", image_id('9').to_string()),
        ("{a}", foreign_first.to_string()),
        ("{b}", masked_twice.to_string()),
    ];
    Site { server: Server::start(vec![folders.site()]), _folders: folders, names }
});

fn referrer(app: &Published, digest: &Digest, kind: &str, note: &str) -> String {
    format!(
        "{{\"mediaType\":\"{OCI_MANIFEST}\",\"digest\":\"{digest}\",\"size\":{},\"annotations\":{{\"note\":\"{note}\"}},\
         \"artifactType\":\"{kind}\"}}",
        app.bytes(digest).len()
    )
}

/// Replaces the names in braces by their texts.
pub(crate) fn fill(text: &str) -> String {
    SITE.names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// Sends a request to the site, with the names in braces replaced.
pub(crate) fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let headers: Vec<(&str, String)> = headers.iter().map(|(name, value)| (*name, fill(value))).collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = SITE.server.ask(method, &fill(path), &headers);
    // An unknown expectation has no effect except that hyper answers the request instead of the fast path.
    let same = SITE.server.ask(method, &fill(path), &[&headers[..], &[("expect", "nothing")]].concat());
    assert_eq!((answer.status, answer.all_headers()), (same.status, same.all_headers()), "{method} {path}");
    assert_eq!(answer.body, same.body, "{method} {path}");
    // A request that comes again within the same second may get the bytes of the last answer.
    for _ in 0..3 {
        let again = SITE.server.ask(method, &fill(path), &headers);
        assert_eq!(
            (answer.status, answer.all_headers()),
            (again.status, again.all_headers()),
            "{method} {path}"
        );
        assert_eq!(answer.body, again.body, "{method} {path}");
    }
    answer
}

/// A request and its expected answer.
struct Row {
    method: &'static str,
    path: &'static str,
    asked: Vec<(&'static str, &'static str)>,
    status: u16,
    headers: Vec<(&'static str, Option<&'static str>)>,
    body: Body,
}

enum Body {
    Any,
    Is(&'static str),
    Has(&'static str),
    HasNot(&'static str),
}

fn row(method: &'static str, path: &'static str, status: u16) -> Row {
    Row { method, path, asked: vec![], status, headers: vec![], body: Body::Any }
}

fn get(path: &'static str, status: u16) -> Row {
    row("GET", path, status)
}

fn head(path: &'static str, status: u16) -> Row {
    row("HEAD", path, status).is("")
}

/// An error in the form of v2.
fn v2_error(method: &'static str, path: &'static str, status: u16, code: &'static str) -> Row {
    row(method, path, status)
        .header("content-type", JSON)
        .header("docker-distribution-api-version", "registry/2.0")
        .header("cache-control", "no-store")
        .has(code)
}

/// An error in the form of v1.
fn v1_error(method: &'static str, path: &'static str, status: u16) -> Row {
    row(method, path, status).header("content-type", TEXT).header("x-docker-registry-version", "0.6.6")
}

impl Row {
    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.asked.push((name, value));
        self
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, Some(value)));
        self
    }

    fn no(mut self, name: &'static str) -> Self {
        self.headers.push((name, None));
        self
    }

    fn is(mut self, body: &'static str) -> Self {
        self.body = Body::Is(body);
        self
    }

    fn has(mut self, part: &'static str) -> Self {
        self.body = Body::Has(part);
        self
    }

    fn has_not(mut self, part: &'static str) -> Self {
        self.body = Body::HasNot(part);
        self
    }

    fn check(&self) -> Result<(), String> {
        let answer = ask(self.method, self.path, &self.asked);
        let mut wrong = Vec::new();
        if answer.status != self.status {
            wrong.push(format!("status {} instead of {}", answer.status, self.status));
        }
        for (name, value) in &self.headers {
            let expected = value.map(fill);
            if answer.header(name) != expected.as_deref() {
                wrong.push(format!("{name}: {:?} instead of {expected:?}", answer.header(name)));
            }
        }
        let text = String::from_utf8_lossy(&answer.body);
        let right = match &self.body {
            Body::Any => true,
            Body::Is(body) => text == fill(body),
            Body::Has(part) => text.contains(&fill(part)),
            Body::HasNot(part) => !text.contains(&fill(part)),
        };
        if !right {
            wrong.push(format!("body {text}"));
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(format!("{} {} {:?}: {}", self.method, self.path, self.asked, wrong.join("; ")))
        }
    }
}

fn check(rows: &[Row]) {
    let wrong: Vec<String> = rows.iter().filter_map(|row| row.check().err()).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn paths() {
    check(&[
        get("/", 200),
        get("/nothing", 404).header("content-type", TEXT),
        get("/v3/", 404).header("content-type", TEXT),
        get("/favicon.ico", 404),
        get("//v2/", 404),
        get("/%zz", 400).header("content-type", TEXT).header("cache-control", "no-store"),
        get("/-/%00", 400).header("content-type", TEXT),
        v2_error("GET", "/v2/app", 404, "UNSUPPORTED"),
        v2_error("GET", "/v2/tools/app/tags/list/", 404, "UNSUPPORTED"),
        v2_error("GET", "/v2/%zz", 400, "UNSUPPORTED"),
        v2_error("GET", "/v2/tools/app/manifests/%00", 400, "UNSUPPORTED"),
        v2_error("GET", "/v2/%ff/tags/list", 400, "UNSUPPORTED"),
        v2_error("GET", "/v2/tools/app/manifests/a%0d%0ab", 400, "UNSUPPORTED"),
        v1_error("GET", "/v1/repositories/%zz/tags", 400),
        v1_error("GET", "/v1/other", 404),
        v2_error("GET", "/v2/../manifests/latest", 400, "NAME_INVALID"),
        v2_error("GET", "/v2/%2e%2e/%2E%2e/manifests/latest", 400, "NAME_INVALID"),
        v2_error("GET", "/v2/tools//app/manifests/1.0", 400, "NAME_INVALID"),
        v2_error("GET", "/v2//manifests/1.0", 400, "NAME_INVALID"),
        v2_error("GET", "/v2/Tools/app/manifests/1.0", 400, "NAME_INVALID"),
        v1_error("GET", "/v1/images/..%2f..%2fetc/json", 404),
        v1_error("GET", "/v1/images/{1}/..%2f..%2fetc", 404),
        get("/v2/tools%2Fapp/manifests/1%2E0", 200),
    ]);
}

#[test]
fn methods() {
    let publish = "raas push";
    check(&[
        v2_error("POST", "/v2/tools/app/blobs/uploads/", 405, publish).header("allow", "GET, HEAD"),
        v2_error("PATCH", "/v2/tools/app/blobs/uploads/1", 405, "UNSUPPORTED"),
        v2_error("PUT", "/v2/tools/app/manifests/1.0", 405, publish).header("allow", "GET, HEAD"),
        v2_error("DELETE", "/v2/tools/app/manifests/{amd64}", 405, "UNSUPPORTED"),
        v2_error("DELETE", "/v2/tools/app/blobs/nonsense", 405, "UNSUPPORTED"),
        v2_error("POST", "/v2/", 405, "UNSUPPORTED"),
        v2_error("GET", "/v2/tools/app/blobs/uploads/1", 404, "BLOB_UPLOAD_UNKNOWN"),
        v1_error("PUT", "/v1/repositories/tools/old/images", 405).header("allow", "GET, HEAD"),
        v1_error("DELETE", "/v1/users/", 405),
        row("POST", "/", 405).header("allow", "GET, HEAD").header("content-type", TEXT),
        row("POST", "/-/healthz", 405),
        row("OPTIONS", "/v2/", 405),
        head("/v2/", 200).header("content-length", "2"),
        head("/", 200),
    ]);
}

#[test]
fn operations() {
    check(&[
        get("/-/healthz", 200).is("ok\n"),
        get("/-/readyz", 200).is("ok\n"),
        get("/-/revision", 200).is("0123abc").header("content-type", TEXT),
        get("/-/metadata", 200).has("\"revision\":\"0123abc\"").header("content-type", "application/json"),
        head("/-/healthz", 200).header("content-length", "3"),
    ]);
}

#[test]
fn the_page() {
    let page = |path| get(path, 200).header("content-type", "text/html; charset=utf-8");
    let browser = |path| get(path, 404).with("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    check(&[
        page("/").header("x-content-type-options", "nosniff").header("referrer-policy", "no-referrer"),
        // The highest release, not the last tag by name.
        page("/").has(">docker pull registry.example.com/tools/app:1.0<"),
        page("/").has(">docker pull registry.example.com/a/manifests/b<"),
        page("/").has(r#"<a class="name" href="/?image=tools%2Fapp">tools/app</a>"#),
        page("/").has(r#"<td class="n">5 tags"#),
        page("/").has_not("hidden"),
        page("/").has(r#"<link rel="alternate" type="application/atom+xml""#),
        page("/").has_not("<script"),
        page("/").with("host", "<b>").has("docker pull &lt;b&gt;/"),
        page("/").with("host", "<b>").has_not("<b>"),
        page("/?q=+TOOLS%2F").has(r#"<a class="name" href="/?image=tools%2Fapp">"#),
        page("/?q=TOOLS").has_not("a/manifests/b"),
        page("/?q=hidden").has("No image has that in its name."),
        page("/?q=%3Cb%3E").has("Images with “&lt;b&gt;”"),
        page("/?q=%3Cb%3E").has_not("<b>"),
        page("/?image=tools/app")
            .has(r#"<a class="name" href="/?image=tools%2Fapp&amp;tag=multi">multi</a>"#),
        page("/?image=tools/app")
            .has(r#"<span class="chip">linux/arm64</span> <span class="chip">linux/amd64</span>"#),
        page("/?image=tools%2Fapp").has(r#"<code class="digest" title="{list}">{list}</code>"#),
        page("/?image=tools%2Fapp").has(">podman pull registry.example.com/tools/app:1.0<"),
        page("/?image=tools%2Fapp")
            .with("host", "acme.localhost:5000")
            .has(">podman pull --tls-verify=false acme.localhost:5000/tools/app:1.0<"),
        page("/?image=tools%2Fapp&filter=OD").has("&amp;tag=odd\">"),
        page("/?image=tools%2Fapp&filter=OD").has_not("&amp;tag=multi\">"),
        page("/?image=tools%2Fapp&filter=none").has("No tag has that in its name."),
        page("/?image=tools%2Fapp&page=99").has("&amp;tag=odd\">"),
        page("/?image=tools%2Fapp&tag=multi").has(r##"<a class="chip" href="#linux-arm64">linux/arm64</a>"##),
        page("/?image=tools%2Fapp&tag=multi").has(r#"<section class="image" id="linux-arm64">"#),
        page("/?image=tools%2Fapp&tag=multi").has(">docker pull registry.example.com/tools/app:multi<"),
        page("/?image=tools%2Fapp&tag=multi").has(">podman pull registry.example.com/tools/app@{list}<"),
        page("/?image=tools%2Fapp&tag=1.0").has(">35 B of 35 B</meter> 35 B from this registry"),
        page("/?image=tools%2Fapp&tag=1.0").has(r#"<td class="n">14 B<td>this registry"#),
        page("/?image=tools%2Fapp&tag=1.0").has("<h3>Signatures and attachments</h3>"),
        page("/?image=tools%2Fapp&tag=1.0")
            .has(r#"<tr><th scope="row">Signature<td><code class="digest" title="{signature}">"#),
        page("/?image=tools%2Fapp&tag=1.0")
            .has(r#"<tr><th scope="row">SBOM<td><code class="digest" title="{sbom}">"#),
        page("/?image=tools%2Fapp&tag=multi")
            .has(r#"<tr><th scope="row">SBOM<td><code class="digest" title="{sbom}">"#),
        page("/?image=tools%2Fapp&tag=Beta").has_not("Signatures and attachments"),
        page("/?image=tools%2Fapp&tag=odd")
            .has("This tag is not an image. Its type is <code>application/vnd.example.odd+json</code>"),
        get("/?image=hidden", 404).header("content-type", TEXT),
        get("/?image=tools/app&tag=none", 404),
        get("/?image=%zz", 200),
        browser("/?image=%3Cscript%3E").has_not("<script"),
        browser("/?image=hidden").header("content-type", "text/html; charset=utf-8").header("vary", "Accept"),
        browser("/?image=hidden").has("<h1>There is nothing here</h1>"),
        browser("/nothing").has("<h1>There is nothing here</h1>").header("cache-control", "no-store"),
        browser("/v2/nothing").header("content-type", JSON),
    ]);
    // A browser compares the hash of the page's only style with the bytes, and runs nothing.
    for (path, headers) in [("/", &[][..]), ("/nothing", &[("accept", "text/html")])] {
        let page = ask("GET", path, headers);
        let style = page.text().split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
            STANDARD.encode(Digest::of(style.as_bytes()).bytes())
        );
        assert_eq!(page.header("content-security-policy"), Some(policy.as_str()), "{path}");
    }
}

#[test]
fn the_feed() {
    let feed = |path| get(path, 200).header("content-type", "application/atom+xml; charset=utf-8");
    check(&[
        feed("/feed.atom").has("<title>Publications of acme</title>"),
        feed("/feed.atom").has(
            r#"<link rel="self" type="application/atom+xml" href="http://registry.example.com/feed.atom"/>"#,
        ),
        feed("/feed.atom")
            .header("content-security-policy", "sandbox")
            .header("x-content-type-options", "nosniff"),
        feed("/feed.atom").with("host", "<b>").has("http://&lt;b&gt;/feed.atom"),
        // The site's documents have no times.
        feed("/feed.atom").has_not("<entry>"),
        row("POST", "/feed.atom", 405),
        head("/feed.atom", 200),
        get("/feed.atom/", 404),
    ]);
}

#[test]
fn v1_of_old_clients() {
    let v1 = |path| {
        get(path, 200)
            .header("x-docker-registry-version", "0.6.6")
            .header("x-docker-registry-config", "common")
    };
    check(&[
        v1("/v1/_ping")
            .is("true")
            .header("content-type", JSON)
            .header("x-docker-registry-standalone", "True"),
        v1("/v1/users").is("\"OK\""),
        v1("/v1/users/").is("\"OK\"").header("content-type", JSON),
        row("POST", "/v1/users/", 201).is("User Created").header("x-docker-registry-config", "common"),
        v1("/v1/repositories/tools/old/images")
            .is(r#"[{"id":"{1}"},{"id":"{2}"},{"id":"{3}"},{"id":"{4}"},{"id":"{8}"},{"id":"{b}"}]"#)
            .header("x-docker-endpoints", "registry.example.com"),
        v1("/v1/repositories/library/pulp/images").is(r#"[{"id":"{5}"},{"id":"{6}"},{"id":"{a}"}]"#),
        v1("/v1/repositories/tools/old/tags")
            .is(r#"{"images":"{2}","latest":"{1}"}"#)
            .header("content-type", JSON),
        v1("/v1/repositories/tools/old/tags/latest").is(r#""{1}""#),
        v1("/v1/repositories/tools/old/tags/images").is(r#""{2}""#),
        v1_error("GET", "/v1/repositories/tools/old/tags/none", 404),
        v1_error("GET", "/v1/repositories/none/tags", 404),
        v1_error("GET", "/v1/repositories/hidden/images", 404),
        v1_error("GET", "/v1/repositories/../images", 404),
        v1("/v1/search?q=TOOLS").has(r#""num_results":2"#),
        v1("/v1/search?q=only")
            .is(r#"{"query":"only","num_results":1,"results":[{"name":"library/only","description":"","is_official":false,"is_automated":false,"is_trusted":false,"star_count":0}]}"#)
            .header("content-type", JSON),
        v1("/v1/search?q=old&n=1").has(r#""num_results":2,"results":[{"name":"older","#),
        v1("/v1/search?q=old&n=1").has_not("tools/old"),
        v1("/v1/search?q=old&n=1").header("link", "</v1/search?q=old&n=1&last=older>; rel=\"next\""),
        v1("/v1/search?q=old&n=1&last=older")
            .has(r#""num_results":2,"results":[{"name":"tools/old","#)
            .no("link"),
        v1("/v1/search?q=old").no("link"),
        v1("/v1/search?q=old&n=0").is(r#"{"query":"old","num_results":2,"results":[]}"#),
        v1("/v1/search?q=old&n=x").has("tools/old"),
        v1("/v1/search?q=%3Cb%3E").is(r#"{"query":"<b>","num_results":0,"results":[]}"#),
        v1("/v1/search?q=old").has(r#""results":[{"name":"older""#),
        v1("/v1/search?q=hidden").has(r#""query":"hidden","num_results":0,"results":[]"#),
        v1("/v1/search").has(r#""name":"tools/old""#),
    ]);
}

#[test]
fn v1_images() {
    let pulp = "https://bucket.example.com/pulp/{5}/json";
    check(&[
        get("/v1/images/{1}/layer", 200)
            .is("layer")
            .header("content-type", BYTES)
            .header("content-length", "5")
            .header("cache-control", FOREVER)
            .header("accept-ranges", "bytes")
            .header("x-docker-registry-config", "common"),
        get("/v1/images/{1}/json", 200).is("json").header("content-type", JSON).header("x-docker-size", "5"),
        get("/v1/images/{1}/ancestry", 200).is("ancestry").header("content-type", JSON),
        head("/v1/images/{1}/layer", 200).header("content-length", "5"),
        get("/v1/images/{1}/layer", 206)
            .with("range", "bytes=1-2")
            .is("ay")
            .header("content-range", "bytes 1-2/5"),
        get("/v1/images/{1}/layer", 200).with("range", "bytes=0-1,3-4").is("layer").no("content-range"),
        v1_error("GET", "/v1/images/{1}/layer", 416)
            .with("range", "bytes=9-")
            .header("content-range", "bytes */5"),
        get("/v1/images/{2}/layer", 302).header("location", "https://cdn.example.com/v1/base/layer"),
        get("/v1/images/{2}/json", 302).header("location", "https://cdn.example.com/v1/base/json").is(""),
        get("/v1/images/{2}/ancestry", 302).header("cache-control", "no-store"),
        head("/v1/images/{2}/layer", 200).header("content-length", "5").no("location"),
        head("/v1/images/{2}/json", 302).no("content-type"),
        v1_error("GET", "/v1/images/{3}/layer", 500),
        v1_error("GET", "/v1/images/{8}/layer", 500),
        // Masked in one document, and served from the bucket by one that raas did not write.
        get("/v1/images/{a}/json", 302).header("location", "https://bucket.example.com/pulp/{a}/json"),
        // Masked in both documents.
        get("/v1/images/{b}/json", 302).header("location", "https://cdn.example.com/v1/base/json"),
        get("/v1/images/{4}/layer", 200).is("layer").no("location"),
        get("/v1/images/{5}/json", 302).header("location", pulp).header("x-docker-registry-version", "0.6.6"),
        get("/v1/images/{6}/json", 200).is("json"),
        v1_error("GET", "/v1/images/{7}/json", 404),
        v1_error("GET", "/v1/images/{9}/json", 404),
        v1_error("GET", "/v1/images/{1}/other", 404),
    ]);
}

#[test]
fn pulps_documents() {
    let to = |path, url| {
        get(path, 307)
            .header("location", url)
            .header("docker-distribution-api-version", "registry/2.0")
            .header("cache-control", "no-store")
            .is("")
    };
    let all = "application/vnd.docker.distribution.manifest.v2+json, \
               application/vnd.docker.distribution.manifest.list.v2+json;q=0.5";
    let two = "application/vnd.docker.distribution.manifest.v2+json";
    let base = "https://bucket.example.com/legacy/four";
    let url = |rest: &str| -> &'static str { format!("{base}/{rest}").leak() };
    check(&[
        to("/v2/legacy/four/manifests/multi", url("manifests/list/multi")).with("accept", all),
        to("/v2/legacy/four/manifests/multi", url("manifests/2/{child of pulp}")).with("accept", two),
        to("/v2/legacy/four/manifests/two", url("manifests/2/two"))
            .with("accept", all)
            .header("vary", "Accept"),
        to("/v2/legacy/four/manifests/two", url("manifests/1/two")),
        to("/v2/legacy/four/manifests/{list of pulp}", url("manifests/list/{list of pulp}")),
        to("/v2/legacy/four/blobs/{blob}", url("blobs/{blob}")),
        to("/v2/legacy/four/tags/list", url("tags/list")),
        to("/v2/library/legacy/four/tags/list", url("tags/list")),
        to("/v2/legacy/two/manifests/1.0", "https://bucket.example.com/legacy/two/manifests/1.0"),
        head("/v2/legacy/four/blobs/{blob}", 307).header("location", url("blobs/{blob}")),
        get("/v2/legacy/four/referrers/{blob}", 200).has(r#""manifests":[]"#),
        v2_error("GET", "/v2/legacy/four/blobs/x", 400, "DIGEST_INVALID"),
        v2_error("GET", "/v2/legacy/four/blobs/{sha512}", 404, "BLOB_UNKNOWN"),
        v2_error("GET", "/v2/legacy/four/manifests/%2e%2e", 404, "MANIFEST_UNKNOWN"),
        v2_error("PUT", "/v2/legacy/four/manifests/two", 405, "UNSUPPORTED"),
        get("/v2/tools/app/manifests/1.0", 200),
        get("/v1/search?q=legacy", 200).has(r#""num_results":2"#),
        get("/", 200).has("docker pull registry.example.com/legacy/four<"),
    ]);
}

#[test]
fn cranes_own_lists() {
    let json = |path| get(path, 200).with("accept", JSON).header("content-type", JSON).has_not("hidden");
    check(&[
        json("/crane/repositories")
            .has(r#""tools/old":{"image_ids":["{1}","{2}","{3}","{4}","{8}","{b}"],"tags":{"images":"{2}","#),
        json("/crane/repositories/v1").has(r#""protected":false"#),
        json("/crane/repositories/v2").has(r#""legacy/two":{"protected":false},"library/only""#),
        json("/crane/repositories/v2/").has(r#""tools/app":{"protected":false}"#).header("vary", "Accept"),
        get("/crane/repositories", 200).header("content-type", "text/html; charset=utf-8").has("tools/old"),
        get("/crane/repositories", 200).has("<code>pulp</code>: images: {5}, {6}, {a}; tags: </li>"),
        json("/crane/repositories/v2?n=1")
            .is(r#"{"a/manifests/b":{"protected":false}}"#)
            .header("link", "</crane/repositories/v2?n=1&last=a%2Fmanifests%2Fb>; rel=\"next\""),
        json("/crane/repositories/v2?n=1&last=library/only")
            .is(r#"{"tools/app":{"protected":false}}"#)
            .no("link"),
        json("/crane/repositories?n=1&last=older")
            .has(r#"{"pulp":{"image_ids":["{5}","#)
            .header("link", "</crane/repositories?n=1&last=pulp>; rel=\"next\""),
        get("/crane/repositories/v2?n=1", 200)
            .has(r#"<a href="/crane/repositories/v2?n=1&amp;last=a%2Fmanifests%2Fb">More"#),
        get("/crane/repositories?n=x", 400),
        get("/crane/repositories/v2", 200).has("<code>tools/app</code>").has_not("hidden"),
        row("POST", "/crane/repositories", 405),
        get("/crane/other", 404),
    ]);
}

#[test]
fn v2_base() {
    let version = "docker-distribution-api-version";
    check(&[
        get("/v2/", 200).is("{}").header(version, "registry/2.0").header("content-type", JSON),
        get("/v2", 200).is("{}").header(version, "registry/2.0"),
        get("/v2/", 200)
            .header("content-security-policy", "sandbox")
            .header("x-content-type-options", "nosniff"),
    ]);
}

#[test]
fn names() {
    check(&[
        v2_error("GET", "/v2/none/manifests/1.0", 404, "NAME_UNKNOWN"),
        v2_error("GET", "/v2/none/blobs/{blob}", 404, "NAME_UNKNOWN"),
        v2_error("GET", "/v2/none/tags/list", 404, "NAME_UNKNOWN"),
        get("/v2/none/referrers/{blob}", 200).has(r#""manifests":[]"#),
        v2_error("GET", "/v2/hidden/manifests/latest", 404, "NAME_UNKNOWN"),
        v2_error("GET", "/v2/hidden/tags/list", 404, "NAME_UNKNOWN"),
        v2_error("GET", "/v2/tools/old/tags/list", 404, "NAME_UNKNOWN"),
        get("/v2/a/manifests/b/manifests/latest", 200),
        get("/v2/a/manifests/b/tags/list", 200).is(r#"{"name":"a/manifests/b","tags":["latest"]}"#),
        get("/v2/library/tools/app/manifests/1.0", 200),
        get("/v2/library/only/manifests/latest", 200),
        v2_error("GET", "/v2/only/manifests/latest", 404, "NAME_UNKNOWN"),
    ]);
}

#[test]
fn manifests() {
    let manifest = |path| {
        get(path, 200)
            .header("docker-distribution-api-version", "registry/2.0")
            .header("docker-content-digest", "{amd64}")
            .header("etag", "\"{amd64}\"")
            .header("content-type", DOCKER_MANIFEST)
            .header("content-length", "{amd64 size}")
            .header("x-content-type-options", "nosniff")
            .has("\"schemaVersion\":2")
    };
    let by_digest = "/v2/tools/app/manifests/{amd64}";
    let by_tag = "/v2/tools/app/manifests/1.0";
    check(&[
        manifest(by_digest).header("cache-control", FOREVER).no("vary"),
        manifest("/v2/tools/app/manifests/{amd64 encoded}"),
        manifest(by_tag).header("cache-control", "no-cache").no("vary"),
        manifest(by_tag).with("accept", OCI_INDEX),
        head(by_tag, 200).header("content-length", "{amd64 size}").header("docker-content-digest", "{amd64}"),
        head(by_digest, 200).header("content-type", DOCKER_MANIFEST),
        get("/v2/tools/app/manifests/odd", 200)
            .is("{\"odd\":true}")
            .header("content-type", "application/vnd.example.odd+json"),
        get(by_digest, 304)
            .with("if-none-match", "\"{amd64}\"")
            .is("")
            .no("content-length")
            .no("content-type")
            .header("etag", "\"{amd64}\"")
            .header("cache-control", FOREVER),
        get(by_tag, 304).with("if-none-match", "\"x\", W/\"{amd64}\"").header("cache-control", "no-cache"),
        get(by_tag, 304).with("if-none-match", "*").header("docker-content-digest", "{amd64}"),
        get(by_tag, 304).with("if-none-match", "\"x\"").with("if-none-match", "\"{amd64}\""),
        head(by_tag, 304).with("if-none-match", "\"{amd64}\""),
        get(by_tag, 200).with("if-none-match", "\"{list}\""),
        get(by_tag, 200).with("if-none-match", "{amd64}"),
        v2_error("GET", "/v2/tools/app/manifests/none", 404, "MANIFEST_UNKNOWN").with("if-none-match", "*"),
        v2_error("GET", "/v2/tools/app/manifests/none", 404, "MANIFEST_UNKNOWN"),
        v2_error("GET", "/v2/tools/app/manifests/-bad-", 404, "MANIFEST_UNKNOWN"),
        v2_error("GET", "/v2/tools/app/manifests/", 404, "MANIFEST_UNKNOWN"),
        v2_error("GET", "/v2/tools/app/manifests/{nothing}", 404, "MANIFEST_UNKNOWN"),
        v2_error("GET", "/v2/tools/app/manifests/{blob}", 404, "MANIFEST_UNKNOWN"),
        v2_error("GET", "/v2/tools/app/manifests/{sha512}", 404, "MANIFEST_UNKNOWN"),
        v2_error("GET", "/v2/tools/app/manifests/sha256:abc", 400, "DIGEST_INVALID"),
        v2_error("HEAD", "/v2/tools/app/manifests/none", 404, ""),
    ]);
}

#[test]
fn negotiation() {
    let multi = "/v2/tools/app/manifests/multi";
    let index = || get(multi, 200).header("docker-content-digest", "{list}").header("vary", "Accept");
    let image = || get(multi, 200).header("docker-content-digest", "{amd64}").header("vary", "Accept");
    check(&[
        index().header("content-type", OCI_INDEX).header("content-length", "{list size}"),
        index().with("accept", "*/*"),
        index().with("accept", "text/html"),
        index().with("accept", DOCKER_MANIFEST).with("accept", OCI_INDEX),
        index().with("accept", DOCKER_MANIFEST).with("accept", "application/*"),
        image().with("accept", DOCKER_MANIFEST).header("content-type", DOCKER_MANIFEST),
        image().with("accept", DOCKER_MANIFEST).with("accept", DOCKER_LIST),
        // The `Accept` of Docker 1.10 to 17.05.
        image().with(
            "accept",
            "application/vnd.docker.distribution.manifest.v2+json, \
             application/vnd.docker.distribution.manifest.v1+prettyjws, application/json",
        ),
        image().with("accept", OCI_MANIFEST),
        image().with(
            "accept",
            "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json;q=0",
        ),
        head(multi, 200).with("accept", DOCKER_MANIFEST).header("docker-content-digest", "{amd64}"),
        get(multi, 304)
            .with("accept", DOCKER_MANIFEST)
            .with("if-none-match", "\"{amd64}\"")
            .header("vary", "Accept"),
        get(multi, 200).with("accept", DOCKER_MANIFEST).with("if-none-match", "\"{list}\""),
        get("/v2/tools/app/manifests/{list}", 200)
            .with("accept", DOCKER_MANIFEST)
            .header("content-type", OCI_INDEX)
            .no("vary"),
        // The index has no linux/amd64 manifest, so the index itself is served.
        get("/v2/tools/app/manifests/tags", 200)
            .with("accept", DOCKER_MANIFEST)
            .header("content-type", DOCKER_LIST),
    ]);
}

#[test]
fn blobs() {
    let path = "/v2/tools/app/blobs/{blob}";
    let blob = |status| {
        get(path, status)
            .header("docker-distribution-api-version", "registry/2.0")
            .header("docker-content-digest", "{blob}")
            .header("etag", "\"{blob}\"")
            .header("cache-control", FOREVER)
    };
    let whole = || {
        blob(200)
            .is("0123456789")
            .header("content-length", "10")
            .header("content-type", BYTES)
            .header("accept-ranges", "bytes")
            .header("x-content-type-options", "nosniff")
    };
    check(&[
        whole(),
        head(path, 200).header("content-length", "10").header("docker-content-digest", "{blob}"),
        get("/v2/tools/app/blobs/{empty}", 200).is("").header("content-length", "0"),
        blob(304).with("if-none-match", "\"{blob}\"").is(""),
        blob(304).with("if-none-match", "\"{empty}\", W/\"{blob}\"").no("content-length"),
        blob(304).with("if-none-match", "*").with("range", "bytes=2-4").no("content-range"),
        head(path, 304).with("if-none-match", "\"{blob}\""),
        head("/v2/tools/app/blobs/{masked}", 304).with("if-none-match", "\"{masked}\""),
        get("/v2/tools/app/blobs/{masked}", 304).with("if-none-match", "\"{masked}\"").no("location"),
        v2_error("GET", "/v2/tools/app/blobs/{nothing}", 404, "BLOB_UNKNOWN").with("if-none-match", "*"),
        blob(206)
            .with("range", "bytes=2-4")
            .is("234")
            .header("content-range", "bytes 2-4/10")
            .header("content-length", "3"),
        blob(206).with("range", "bytes=7-").is("789").header("content-range", "bytes 7-9/10"),
        blob(206).with("range", "bytes=-1").is("9").header("content-range", "bytes 9-9/10"),
        blob(206).with("range", "bytes=7-").with("if-range", "\"{blob}\"").is("789"),
        blob(206).with("range", "bytes=7-99").is("789").header("content-range", "bytes 7-9/10"),
        whole().with("range", "bytes=7-").with("if-range", "\"{empty}\""),
        // A weak entity tag does not identify the bytes.
        whole().with("range", "bytes=7-").with("if-range", "W/\"{blob}\""),
        whole().with("range", "bytes=7-").with("if-range", "Tue, 01 Jan 2030 00:00:00 GMT"),
        whole().with("range", "bytes=0-1,3-4").no("content-range"),
        whole().with("range", "bytes=0-1, 10-12, -1").no("content-range"),
        whole().with("range", "bytes=4-2"),
        whole().with("range", "lines=1-2"),
        v2_error("GET", path, 416, "RANGE_INVALID")
            .with("range", "bytes=10-")
            .header("content-range", "bytes */10")
            .no("etag"),
        v2_error("GET", path, 416, "RANGE_INVALID")
            .with("range", "bytes=-0")
            .header("content-range", "bytes */10"),
        v2_error("GET", "/v2/tools/app/blobs/{empty}", 416, "RANGE_INVALID")
            .with("range", "bytes=0-")
            .header("content-range", "bytes */0"),
        head(path, 200).with("range", "bytes=2-4").header("content-length", "10").no("content-range"),
        get("/v2/tools/app/blobs/{masked}", 307)
            .header("location", ELSEWHERE)
            .header("cache-control", "no-store")
            .header("docker-content-digest", "{masked}")
            .is(""),
        get("/v2/tools/app/blobs/{masked}", 307).with("range", "bytes=2-4"),
        head("/v2/tools/app/blobs/{masked}", 200).header("content-length", "12").no("location"),
        v2_error("GET", "/v2/tools/app/blobs/{missing}", 500, "UNKNOWN"),
        head("/v2/tools/app/blobs/{missing}", 200).header("content-length", "7"),
        v2_error("GET", "/v2/tools/app/blobs/{short}", 500, "UNKNOWN"),
        v2_error("GET", "/%762/tools/app/blobs/{short}", 500, "UNKNOWN"),
        v2_error("GET", "/v2/tools/app/blobs/{nothing}", 404, "BLOB_UNKNOWN"),
        v2_error("GET", "/v2/tools/app/blobs/{amd64}", 404, "BLOB_UNKNOWN"),
        v2_error("GET", "/v2/a/manifests/b/blobs/{blob}", 404, "BLOB_UNKNOWN"),
        v2_error("GET", "/v2/tools/app/blobs/{sha512}", 404, "BLOB_UNKNOWN"),
        v2_error("GET", "/v2/tools/app/blobs/sha256:..", 400, "DIGEST_INVALID"),
        v2_error("GET", "/v2/tools/app/blobs/..%2f..%2fetc", 404, "UNSUPPORTED"),
    ]);
}

#[test]
fn tag_lists() {
    let invalid = |path| v2_error("GET", path, 400, "PAGINATION_NUMBER_INVALID");
    check(&[
        get("/v2/tools/app/tags/list", 200)
            .is(r#"{"name":"tools/app","tags":["1.0","Beta","multi","odd","tags"]}"#)
            .header("content-type", JSON)
            .no("link"),
        get("/v2/tools/app/tags/list?n=2", 200)
            .is(r#"{"name":"tools/app","tags":["1.0","Beta"]}"#)
            .header("link", "</v2/tools/app/tags/list?n=2&last=Beta>; rel=\"next\""),
        get("/v2/tools/app/tags/list?n=2&last=Beta", 200)
            .is(r#"{"name":"tools/app","tags":["multi","odd"]}"#)
            .header("link", "</v2/tools/app/tags/list?n=2&last=odd>; rel=\"next\""),
        get("/v2/tools/app/tags/list?n=2&last=odd", 200)
            .is(r#"{"name":"tools/app","tags":["tags"]}"#)
            .no("link"),
        get("/v2/tools/app/tags/list?last=n", 200).is(r#"{"name":"tools/app","tags":["odd","tags"]}"#),
        get("/v2/tools/app/tags/list?n=1&last=n", 200)
            .is(r#"{"name":"tools/app","tags":["odd"]}"#)
            .header("link", "</v2/tools/app/tags/list?n=1&last=odd>; rel=\"next\""),
        get("/v2/tools/app/tags/list?last=", 200).has(r#""tags":["1.0","Beta""#),
        get("/v2/tools/app/tags/list?last=tags", 200).is(r#"{"name":"tools/app","tags":[]}"#),
        get("/v2/tools/app/tags/list?n=0", 200).is(r#"{"name":"tools/app","tags":[]}"#).no("link"),
        get("/v2/tools/app/tags/list?n=5", 200).no("link"),
        get("/v2/tools/app/tags/list?n=99999999999999999999999", 200).no("link"),
        invalid("/v2/tools/app/tags/list?n=-1"),
        invalid("/v2/tools/app/tags/list?n=x"),
        invalid("/v2/tools/app/tags/list?n="),
        invalid("/v2/tools/app/tags/list?last=%zz"),
    ]);
}

#[test]
fn the_catalog() {
    check(&[
        get("/v2/_catalog", 200)
            .is(r#"{"repositories":["a/manifests/b","legacy/four","legacy/two","library/only","tools/app"]}"#)
            .header("content-type", JSON)
            .no("link"),
        get("/v2/_catalog?n=1&last=a", 200)
            .is(r#"{"repositories":["a/manifests/b"]}"#)
            .header("link", "</v2/_catalog?n=1&last=a%2Fmanifests%2Fb>; rel=\"next\""),
        get("/v2/_catalog?n=5&last=a%2Fmanifests%2Fb", 200)
            .is(r#"{"repositories":["legacy/four","legacy/two","library/only","tools/app"]}"#),
        get("/v2/_catalog?n=0", 200).is(r#"{"repositories":[]}"#),
        v2_error("GET", "/v2/_catalog?n=1.5", 400, "PAGINATION_NUMBER_INVALID"),
    ]);
}

#[test]
fn referrers() {
    let path = "/v2/tools/app/referrers/{amd64}";
    let none = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    check(&[
        get(path, 200).header("content-type", OCI_INDEX).has("{signature entry}").no("oci-filters-applied"),
        get(path, 200).has("{sbom entry}"),
        get("/v2/tools/app/referrers/{amd64}?artifactType=application/vnd.example.sbom", 200)
            .is(r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{sbom entry}]}"#)
            .header("oci-filters-applied", "artifactType"),
        get("/v2/tools/app/referrers/{amd64}?artifactType=application%2Fvnd.example.none", 200)
            .is(none)
            .header("oci-filters-applied", "artifactType"),
        get("/v2/tools/app/referrers/{nothing}", 200)
            .is(none)
            .header("content-type", OCI_INDEX)
            .header("content-length", "88")
            .header("docker-distribution-api-version", "registry/2.0")
            .header("cache-control", "no-cache")
            .no("oci-filters-applied")
            .no("link"),
        get("/v2/tools/app/referrers/{nothing}?artifactType=application/vnd.example.sbom", 200)
            .is(none)
            .header("oci-filters-applied", "artifactType"),
        get("/v2/tools/app/referrers/{amd64}?artifactType=", 200).has("{sbom entry}").no("oci-filters-applied"),
        get("/v2/tools/app/referrers/{sha512}", 200).is(none).header("content-type", OCI_INDEX),
        get("/v2/never/pushed/referrers/{amd64}", 200)
            .is(none)
            .header("content-type", OCI_INDEX)
            .header("docker-distribution-api-version", "registry/2.0"),
        get("/v2/never/pushed/referrers/{sha512}", 200).is(none),
        get("/v2/never/pushed/referrers/{amd64}?artifactType=a/b", 200)
            .is(none)
            .header("oci-filters-applied", "artifactType"),
        v2_error("GET", "/v2/never/pushed/referrers/latest", 400, "DIGEST_INVALID"),
        v2_error("GET", "/v2/Never/referrers/{amd64}", 400, "NAME_INVALID"),
        v2_error("GET", "/v2/tools/app/referrers/{amd64}?last=x", 400, "PAGINATION_NUMBER_INVALID"),
        v2_error("GET", "/v2/tools/app/referrers/latest", 400, "DIGEST_INVALID"),
        v2_error("GET", "/v2/tools/app/referrers/sha256:abc", 400, "DIGEST_INVALID"),
        v2_error("GET", "/v2/tools/app/referrers/", 400, "DIGEST_INVALID"),
    ]);
}

#[test]
fn a_connection_serves_several_requests_in_order() {
    let answer = SITE.server.send(
        b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\nHEAD /v2/ HTTP/1.1\r\nhost: x\r\n\r\n\
          GET /-/healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    );
    let text = answer.text();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    assert!(text.starts_with("{}HTTP/1.1") && text.ends_with("\r\n\r\nok\n"), "{text}");
}

#[test]
fn the_only_site_answers_under_any_host_and_without_one() {
    for request in [
        "GET /v2/ HTTP/1.0\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nhost: \r\nconnection: close\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
    ] {
        let answer = SITE.server.send(request.as_bytes());
        assert_eq!((answer.status, answer.text()), (200, "{}"), "{request}");
    }
}

#[test]
fn invalid_requests_are_rejected() {
    for request in [&b"GET /v2/\xff HTTP/1.1\r\nhost: x\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\r\n\r\n"] {
        let answer = SITE.server.send(request);
        assert_eq!((answer.status, answer.body.as_slice()), (400, &b""[..]));
    }
    let long = format!("GET /v2/ HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(40_000));
    assert_eq!(SITE.server.send(long.as_bytes()).status, 431);
}
