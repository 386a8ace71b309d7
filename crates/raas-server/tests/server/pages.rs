//! The page of a registry with more than a page shows.

use raas_types::media_type::DOCKER_MANIFEST;

use crate::support::{Folders, Published, Server};

/// Follows the links to next pages, and counts what is linked to besides.
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
fn long_lists_are_cut_into_pages() {
    let folders = Folders::new("acme");
    for n in 0..201 {
        let mut app = Published::new(&format!("app-{n}"));
        let digest = app.image(DOCKER_MANIFEST, "app", "");
        for tag in 0..if n == 0 { 101 } else { 1 } {
            app.tag(&format!("{tag}"), digest);
        }
        folders.publish(&app);
    }
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    assert_eq!(counted(&server, "/", "<a href=\"/?image=app-"), [200, 1]);
    assert_eq!(counted(&server, "/?image=app-0", "&amp;tag="), [100, 1]);
}
