//! The pages of a large registry.

use raas_types::Digest;
use raas_types::crane::{HistoryStep, ImageFacts};
use raas_types::media_type::{DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};

use crate::support::{Folders, Published, Server};

/// Follows the links to the next pages, and counts the other links of each page.
fn counted(server: &Server, first: &str, link: &str) -> Vec<usize> {
    let mut counts = Vec::new();
    let mut next = Some(first.to_owned());
    while let Some(path) = next.take() {
        let page = server.get(&path);
        assert_eq!(page.status, 200, "{path}");
        counts.push(page.text().matches(link).count());
        let links = page.text().split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        let number = counts.len() + 1;
        let is_next = |link: &String| link.contains("last=") || link.ends_with(&format!("&page={number}"));
        next = links.map(|link| link.replace("&amp;", "&")).find(is_next);
    }
    counts
}

#[test]
fn long_lists_have_pages() {
    let folders = Folders::new("acme");
    let mut tagged = Published::new("app-0");
    let digest = tagged.image(DOCKER_MANIFEST, "app", "");
    for tag in 0..101 {
        tagged.tag(&tag.to_string(), digest);
    }
    folders.publish(&tagged);
    for n in 1..201 {
        folders.publish(&Published::new(&format!("app-{n}")));
    }
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    assert_eq!(counted(&server, "/", "<a class=\"name\" href=\"/?image=app-"), [200, 1]);
    assert_eq!(counted(&server, "/?q=app-1", "<a class=\"name\" href=\"/?image=app-1"), [111]);
    assert_eq!(counted(&server, "/?image=app-0", "&amp;tag="), [100, 1]);
    assert_eq!(counted(&server, "/?image=app-0&filter=9", "&amp;tag="), [19]);
    // The newest versions come first.
    let page = server.get("/?image=app-0");
    let at = |tag: &str| page.text().find(&format!("&amp;tag={tag}\"")).unwrap();
    assert!(at("100") < at("99") && at("99") < at("20"), "{}", page.text());
}

/// The pages of what a vendor has made to cost as much as possible.
#[test]
fn pages_have_a_fixed_number_of_rows() {
    let folders = Folders::new("acme");
    let mut app = Published::new("app");
    let config = app.blob(b"{}");
    let layer = Digest::of(b"layer");
    let part = |kind: &str, digest: &Digest| {
        format!("{{\"mediaType\":\"{kind}\",\"digest\":\"{digest}\",\"size\":2}}")
    };
    let image = |layers: usize, note: &str| {
        let layers = vec![part("a/b", &layer); layers].join(",");
        format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{OCI_MANIFEST}\",\"config\":{},\"layers\":[{layers}],\
             \"annotations\":{{\"note\":\"{note}\"}}}}",
            part("a/b", &config)
        )
    };
    let index = |children: &[Digest]| {
        let children: Vec<String> = children.iter().map(|child| part(OCI_MANIFEST, child)).collect();
        format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{OCI_INDEX}\",\"manifests\":[{}]}}",
            children.join(",")
        )
    };
    // One long manifest, named by its index again and again.
    let long = app.manifest(OCI_MANIFEST, image(20_000, "").as_bytes());
    let bomb = app.manifest(OCI_INDEX, index(&vec![long; 20_000]).as_bytes());
    app.tag("bomb", bomb);
    let many = app.manifest(OCI_MANIFEST, image(300, "many").as_bytes());
    app.tag("many", many);
    let different: Vec<Digest> =
        (0..150).map(|n| app.manifest(OCI_MANIFEST, image(130, &n.to_string()).as_bytes())).collect();
    let wide = app.manifest(OCI_INDEX, index(&different).as_bytes());
    app.tag("wide", wide);
    folders.publish(&app);
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    let page = |path: &str| server.get(path).text().to_owned();
    let bomb = page("/?image=app&tag=bomb");
    assert_eq!(
        (bomb.matches("<section").count(), bomb.matches("<tr><td class=\"n dim\">").count()),
        (1, 130)
    );
    assert!(
        bomb.contains(": 20000 layers and the config") && bomb.contains("names 19870 more layers"),
        "{bomb}"
    );
    assert!(bomb.len() < 100_000);
    let many = page("/?image=app&tag=many");
    assert_eq!(many.matches("<tr><td class=\"n dim\">").count(), 130);
    assert!(many.contains("The manifest names 170 more layers."), "{many}");
    let tags = page("/?image=app");
    assert!(tags.contains(">142 more<") && tags.len() < 30_000, "{tags}");
    let mut images = Vec::new();
    let mut next = Some("/?image=app&tag=wide".to_owned());
    while let Some(path) = next.take() {
        let page = page(&path);
        let number = images.len() + 2;
        assert_eq!(page.contains("The index names 50 more manifests."), number == 11);
        images.push(page.matches("<section").count());
        let links = page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        let end = format!("&page={number}");
        next = links.map(|link| link.replace("&amp;", "&")).find(|link| link.ends_with(&end));
    }
    assert_eq!(images, [10; 10]);
    let host = "h".repeat(20_000);
    assert!(server.ask("GET", "/", &[("host", &host)]).body.len() < 30_000, "a host of any length is shown");
}

/// What a document says of images, however long it is.
#[test]
fn a_page_shows_what_the_document_says_of_an_image() {
    let folders = Folders::new("acme");
    let mut app = Published::new("app");
    let image = app.image(OCI_MANIFEST, "app", "");
    app.tag("2.4", image);
    let step = |command: &str, empty| HistoryStep { command: command.into(), empty };
    let facts = ImageFacts {
        created: Some("2026-01-02T00:00:00Z".parse().unwrap()),
        entrypoint: vec!["/app".into(), "<serve>".into()],
        labels: [("vendor".into(), "<b>Acme</b>".into())].into(),
        history: vec![step("/bin/sh -c #(nop) ENV A=b", true), step("COPY app /app", false)],
        ..ImageFacts::default()
    };
    app.extension().manifests.get_mut(&image).unwrap().image = Some(Box::new(facts));
    app.extension().published.insert("2.4".parse().unwrap(), "2026-02-03T00:00:00Z".parse().unwrap());
    let mut long = Published::new("long");
    let hostile = long.image(OCI_MANIFEST, "long", "");
    long.tag("1.0", hostile);
    let text = "\u{7}<".repeat(100_000);
    let facts = ImageFacts {
        labels: (0..1000).map(|n| (format!("{n}{text}"), text.clone())).take(10).collect(),
        history: vec![step(&text, true); 30],
        ..ImageFacts::default()
    };
    long.extension().manifests.get_mut(&hostile).unwrap().image = Some(Box::new(facts));
    for repository in [&app, &long] {
        folders.publish(repository);
    }
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    let page = server.get("/?image=app&tag=2.4");
    let config = Digest::of(br#"{"config of":"app"}"#);
    for part in [
        "<div><dt>Published<dd><time datetime=\"2026-02-03T00:00:00Z\">3 February 2026</time></div>",
        "<div><dt>Created<dd><time datetime=\"2026-01-02T00:00:00Z\">2 January 2026</time></div>",
        "<div><dt>Entry point<dd><code>/app &#39;&lt;serve&gt;&#39;</code></div>",
        "<summary>1 label</summary>",
        "<div><dt><code>vendor</code><dd>&lt;b&gt;Acme&lt;/b&gt;</div>",
        "<code class=\"step\">ENV A=b</code>",
        "<tr><td class=\"n dim\">1<td><code class=\"step\">COPY app /app</code><code class=\"digest\"",
        &format!("<dt>Image ID<dd><code class=\"digest\" title=\"{config}\">"),
    ] {
        assert!(page.text().contains(part), "{part} is not in {}", page.text());
    }
    let tags = server.get("/?image=app");
    assert!(tags.text().contains(">3 February 2026</time>"), "{}", tags.text());
    let long = server.get("/?image=long&tag=1.0");
    assert!(long.status == 200 && long.body.len() < 100_000, "{}", long.body.len());
    assert!(!long.text().contains('\u{7}'));
}

/// "v2: lists", "Docker v1" and "Crane's own lists"
#[test]
fn lists_have_pages_without_being_asked() {
    let folders = Folders::new("acme");
    for n in 0..1001 {
        folders.publish(&Published::new(&format!("app-{n:04}")));
    }
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    let json = [("accept", "application/json")];
    for (path, entries) in
        [("/v2/_catalog", "app-"), ("/v1/search", "\"name\":"), ("/crane/repositories/v2", "app-")]
    {
        let first = server.ask("GET", path, &json);
        assert_eq!(first.text().matches(entries).count(), 1000, "{path}");
        let link = first.header("link").unwrap();
        let next = link.strip_prefix('<').unwrap().split_once(">; rel=\"next\"").unwrap().0;
        let second = server.ask("GET", next, &json);
        assert_eq!((second.text().matches(entries).count(), second.header("link")), (1, None), "{path}");
    }
}
