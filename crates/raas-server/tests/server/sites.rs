//! Several vendors in one server.

use raas_types::media_type::DOCKER_MANIFEST;

use crate::support::{Folders, Published, Server, image_id, store_v1, v1_document};

/// The vendors `acme` and `other`, each with an image: `acme-app:latest` and `other-app:latest`.
pub(crate) fn two_vendors() -> [Folders; 2] {
    ["acme", "other"].map(|vendor| {
        let folders = Folders::new(vendor);
        let name = format!("{vendor}-app");
        let mut app = Published::new(&name);
        let digest = app.image(DOCKER_MANIFEST, &name, "");
        app.tag("latest", digest);
        folders.publish(&app);
        folders
    })
}

fn two_sites() -> (Folders, Folders, Server) {
    let [acme, other] = two_vendors();
    let id = image_id('a');
    acme.write("crane/data/old/_v1.json", &v1_document("old", &[("latest", id)], &[(id, None)], true));
    store_v1(&acme, "old", id);
    let server = Server::start(vec![acme.site(), other.site()]);
    (acme, other, server)
}

#[test]
fn the_host_selects_the_site_and_no_site_shows_anothers_images() {
    let (_acme, _other, server) = two_sites();
    let layer = format!("/v1/images/{}/layer", image_id('a'));
    let table = [
        ("acme.localhost", "/v2/acme-app/manifests/latest", 200),
        ("ACME.localhost:5000", "/v2/acme-app/manifests/latest", 200),
        ("acme.localhost", "/v2/other-app/manifests/latest", 404),
        ("other.localhost", "/v2/other-app/manifests/latest", 200),
        ("other.localhost", "/v2/acme-app/manifests/latest", 404),
        ("acme.localhost", layer.as_str(), 200),
        ("other.localhost", layer.as_str(), 404),
        ("acme.localhost", "/", 200),
        ("acme.example.com", "/v2/", 404),
        ("localhost", "/v2/", 404),
        ("127.0.0.1", "/v1/_ping", 404),
        ("nobody.localhost", "/", 404),
        ("nobody.localhost", "/-/revision", 404),
        ("nobody.localhost", "/-/healthz", 200),
    ];
    for (host, path, status) in table {
        let answer = server.ask("GET", path, &[("host", host)]);
        assert_eq!(answer.status, status, "{host} {path}");
        if status == 404 {
            let text = answer.text();
            assert!(
                !text.contains("localhost") && !text.contains("acme.") && !text.contains("other."),
                "{text}"
            );
        }
    }
    let catalog = server.ask("GET", "/v2/_catalog", &[("host", "other.localhost")]);
    assert_eq!(catalog.text(), r#"{"repositories":["other-app"]}"#);
}

#[test]
fn an_unknown_host_gets_an_error_in_the_form_of_the_api() {
    let (_acme, _other, server) = two_sites();
    let v2 = server.ask("GET", "/v2/", &[("host", "x.localhost")]);
    assert_eq!(v2.header("docker-distribution-api-version"), Some("registry/2.0"));
    assert_eq!(
        (v2.status, v2.text()),
        (404, r#"{"errors":[{"code":"NAME_UNKNOWN","message":"there is no registry at this host"}]}"#)
    );
    // A browser sees a page. It names no vendor.
    let page = server.ask("GET", "/", &[("host", "x.localhost"), ("accept", "text/html")]);
    assert_eq!((page.status, page.header("content-type")), (404, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("Container registries live here"), "{}", page.text());
    assert!(!page.text().contains("acme") && !page.text().contains("other"), "{}", page.text());
    assert_eq!(
        server.ask("GET", "/", &[("host", "x.localhost")]).text(),
        "there is no registry at this host\n"
    );
    let v1 = server.ask("POST", "/v1/users", &[("host", "x.localhost")]);
    assert_eq!((v1.status, v1.header("x-docker-registry-version")), (404, Some("0.6.6")));
    let without_host = server.send(b"GET /v2/ HTTP/1.0\r\n\r\n");
    assert_eq!(without_host.status, 404);
    let two_hosts =
        b"GET /v2/ HTTP/1.1\r\nhost: acme.localhost\r\nhost: acme.localhost\r\nconnection: close\r\n\r\n";
    assert_eq!(server.send(two_hosts).status, 404);
    let absolute =
        b"GET http://acme.localhost/v2/ HTTP/1.1\r\nhost: x.localhost\r\nconnection: close\r\n\r\n";
    assert_eq!(server.send(absolute).status, 200);
}
