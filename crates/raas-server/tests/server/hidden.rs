//! What is not shown cannot be told from what is not there.

use crate::answers::{self, fill};
use crate::support::Answer;

/// Whatever can be asked of a name, with digests that the hidden repository has.
const ASKED: [(&str, &str); 27] = [
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
];

/// Asks for all of it under a name that is hidden and under one that is not there, which are of one length and side by side in any list, and sees
/// that but for the name they come to the same: status, headers and body.
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

/// What is not shown
#[test]
fn a_hidden_repository_is_like_one_that_is_not_there() {
    let (manifest, layer) = (fill("{hidden}"), fill("{hidden layer}"));
    is_like_nothing(["hidden", "hiddeo"], [&manifest, &layer], |method, path| {
        answers::ask(method, path, &[])
    });
}

/// What is not shown
#[test]
fn what_only_a_hidden_repository_has_is_nowhere() {
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
    for path in
        ["/", "/v2/_catalog", "/v1/search", "/crane/repositories", "/crane/repositories/v2", "/-/readyz"]
    {
        for accept in ["*/*", "application/json"] {
            let answer = answers::ask("GET", path, &[("accept", accept)]);
            assert!(!answer.text().contains("hidden"), "{path}: {}", answer.text());
            assert!(answer.all_headers().iter().all(|(_, value)| !value.contains("hidden")), "{path}");
        }
    }
    // A page of a list that ends just before it, and one that begins just behind it, do not show that it is there.
    let page = answers::ask("GET", "/v2/_catalog?n=1&last=a/manifests/b", &[]);
    assert_eq!(page.text(), r#"{"repositories":["legacy/four"]}"#);
    // Nor does it stand before others who have the same image.
    assert_eq!(answers::ask("GET", "/v1/images/{1}/layer", &[]).text(), "layer");
}
