//! The pages of a large registry.

use raas_types::Digest;
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
        next = links.map(|link| link.replace("&amp;", "&")).find(|link| link.contains("last="));
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
    assert_eq!(counted(&server, "/", "<a href=\"/?image=app-"), [200, 1]);
    assert_eq!(counted(&server, "/?image=app-0", "&amp;tag="), [100, 1]);
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
    assert_eq!((bomb.matches("<h2>").count(), bomb.matches("<tr><td>").count()), (1, 0));
    assert!(bomb.contains("in 20000 layers") && bomb.contains("too long to show"), "{bomb}");
    let many = page("/?image=app&tag=many");
    assert_eq!(many.matches("<tr><td>").count(), 130);
    assert!(many.contains("The manifest names 170 more layers."), "{many}");
    let tags = page("/?image=app");
    assert!(tags.contains(", 142 more<") && tags.len() < 20_000, "{tags}");
    let mut images = Vec::new();
    let mut next = Some("/?image=app&tag=wide".to_owned());
    while let Some(path) = next.take() {
        let page = page(&path);
        assert_eq!(page.contains("The index names 50 more manifests."), !page.contains("More platforms"));
        images.push(page.matches("<h2>").count());
        let links = page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        next = links.map(|link| link.replace("&amp;", "&")).find(|link| link.contains("&from="));
    }
    assert_eq!(images, [10; 10]);
    let host = "h".repeat(20_000);
    assert!(server.ask("GET", "/", &[("host", &host)]).body.len() < 20_000, "a host of any length is shown");
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
