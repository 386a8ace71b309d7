//! A hidden repository cannot be told from a missing one.

use crate::answers::{self, fill};
use crate::support::Answer;

/// Every request that names a repository, with digests of the hidden repository.
const ASKED: [(&str, &str); 28] = [
    ("GET", "/v2/NAME/manifests/latest"),
    ("HEAD", "/v2/NAME/manifests/latest"),
    ("GET", "/v2/NAME/manifests/none"),
    ("GET", "/v2/NAME/manifests/MANIFEST"),
    ("HEAD", "/v2/NAME/manifests/MANIFEST"),
    ("GET", "/v2/NAME/manifests/sha256:abc"),
    ("GET", "/v2/NAME/blobs/LAYER"),
    ("HEAD", "/v2/NAME/blobs/LAYER"),
    ("GET", "/v2/NAME/blobs/x"),
    ("GET", "/v2/NAME/tags/list"),
    ("GET", "/v2/NAME/tags/list?n=x"),
    ("GET", "/v2/NAME/referrers/MANIFEST"),
    ("GET", "/v2/NAME/referrers/x"),
    ("GET", "/v2/library/NAME/manifests/latest"),
    ("GET", "/v2/NAME/blobs/uploads/1"),
    ("POST", "/v2/NAME/blobs/uploads/?mount=LAYER&from=NAME"),
    ("PUT", "/v2/NAME/manifests/latest"),
    ("DELETE", "/v2/NAME/manifests/MANIFEST"),
    ("GET", "/v2/_catalog?last=NAME"),
    ("GET", "/v1/repositories/NAME/images"),
    ("GET", "/v1/repositories/NAME/tags"),
    ("GET", "/v1/repositories/NAME/tags/latest"),
    ("GET", "/v1/repositories/library/NAME/images"),
    ("GET", "/v1/search?q=NAME"),
    ("GET", "/?image=NAME"),
    ("GET", "/?image=NAME&tag=latest"),
    ("GET", "/?last=NAME"),
    ("GET", "/?q=NAME"),
];

/// Sends every request for a hidden name and for a missing name of the same length that is next to it in every list.
/// Status, headers and body must be equal except for the name.
pub(crate) fn is_like_nothing(
    [hidden, nothing]: [&str; 2],
    [manifest, layer]: [&str; 2],
    ask: impl Fn(&str, &str) -> Answer,
) {
    assert_eq!(hidden.len(), nothing.len());
    for (method, path) in ASKED {
        let path = path.replace("MANIFEST", manifest).replace("LAYER", layer);
        let told = |name: &str| {
            let answer = ask(method, &path.replace("NAME", name));
            let whole = format!("{} {:?} {}", answer.status, answer.all_headers(), answer.text());
            whole.replace(name, "NAME")
        };
        assert_eq!(told(hidden), told(nothing), "{method} {path}");
    }
}

/// "Hidden repositories"
#[test]
fn a_hidden_repository_is_like_a_missing_one() {
    let (manifest, layer) = (fill("{hidden}"), fill("{hidden layer}"));
    is_like_nothing(["hidden", "hiddeo"], [&manifest, &layer], |method, path| {
        answers::ask(method, path, &[])
    });
}

/// "Hidden repositories"
#[test]
fn the_content_of_a_hidden_repository_is_nowhere() {
    let told = |path: &str, own: &str| {
        let answer = answers::ask("GET", &path.replace("OWN", own), &[]);
        format!("{} {:?} {}", answer.status, answer.all_headers(), answer.text()).replace(&fill(own), "OWN")
    };
    let of_hidden_and_of_nothing = [
        ("/v1/images/OWN/json", ["{7}", "{9}"]),
        ("/v1/images/OWN/layer", ["{7}", "{9}"]),
        ("/v2/tools/app/blobs/OWN", ["{hidden layer}", "{nothing}"]),
        ("/v2/tools/app/manifests/OWN", ["{hidden}", "{nothing}"]),
        ("/v2/tools/app/referrers/OWN", ["{hidden}", "{nothing}"]),
    ];
    for (path, [hidden, nothing]) in of_hidden_and_of_nothing {
        assert_eq!(told(path, hidden), told(path, nothing), "{path}");
    }
    for path in [
        "/",
        "/?q=hid",
        "/feed.atom",
        "/v2/_catalog",
        "/v1/search",
        "/crane/repositories",
        "/crane/repositories/v2",
        "/-/readyz",
    ] {
        for accept in ["*/*", "application/json"] {
            let answer = answers::ask("GET", path, &[("accept", accept)]);
            assert!(!answer.text().contains("hidden"), "{path}: {}", answer.text());
            assert!(answer.all_headers().iter().all(|(_, value)| !value.contains("hidden")), "{path}");
        }
    }
    // Pages of a list that end just before the hidden repository, or begin just after it, do not reveal it.
    let page = answers::ask("GET", "/v2/_catalog?n=1&last=a/manifests/b", &[]);
    assert_eq!(page.text(), r#"{"repositories":["legacy/four"]}"#);
    // The hidden repository does not get in the way of another one with the same image.
    assert_eq!(answers::ask("GET", "/v1/images/{1}/layer", &[]).text(), "layer");
}
