//! The pages of a large registry.

use raas_types::media_type::DOCKER_MANIFEST;

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
