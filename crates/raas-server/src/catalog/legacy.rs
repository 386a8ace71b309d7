//! A repository of a document that raas did not write: the server knows where everything lies, and nothing of it.

use raas_types::RepositoryName;
use raas_types::crane::V2Content;

/// A repository as Pulp publishes it, all of it below one URL.
#[derive(Debug)]
pub(crate) struct LegacyRepository {
    pub(crate) name: RepositoryName,
    /// Without a slash at the end; it may stand in a header.
    url: Box<str>,
    content: V2Content,
}

/// What a client can read, as far as it says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reads {
    pub(crate) lists: bool,
    pub(crate) schema2: bool,
}

impl LegacyRepository {
    pub(crate) fn new(name: RepositoryName, url: Box<str>, content: V2Content) -> Self {
        Self { name, url, content }
    }

    /// Where something lies that has one place: `blobs/<digest>`, `tags/list`.
    pub(crate) fn url(&self, rest: &str) -> String {
        format!("{}/{rest}", self.url)
    }

    /// Where the manifest lies that a client gets for a tag or a digest: by kind, as Crane chooses it. A digest that
    /// the document knows lies where it lies, whatever the client says; Crane sends a client that names no type to
    /// a schema 1 manifest of that digest, which cannot be.
    pub(crate) fn manifest(&self, reference: &str, reads: Reads) -> String {
        let V2Content { flat, schema2, lists, amd64_tags, .. } = &self.content;
        let digest = reference.contains(':');
        if *flat {
            return self.url(&format!("manifests/{reference}"));
        }
        let is_list = lists.contains(reference) && (reads.lists || digest);
        let is_schema2 = schema2.contains(reference) && (reads.schema2 || digest);
        let (kind, reference) = match amd64_tags.get(reference) {
            _ if is_list => ("list", reference),
            Some((digest, 2)) if reads.schema2 => ("2", digest.as_str()),
            Some((digest, 1)) => ("1", digest.as_str()),
            Some(_) => ("1", reference),
            None if is_schema2 => ("2", reference),
            None => ("1", reference),
        };
        self.url(&format!("manifests/{kind}/{reference}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_chosen_as_crane_chooses_them() {
        let list = format!("sha256:{}", "a".repeat(64));
        let content = V2Content {
            schema2: ["two".into(), "both".into()].into(),
            lists: ["multi".into(), "foreign".into(), "both".into(), list.clone()].into(),
            amd64_tags: [("multi".into(), ("sha256:x".into(), 2)), ("old".into(), ("sha256:y".into(), 1))]
                .into(),
            ..V2Content::default()
        };
        let name: RepositoryName = "app".parse().unwrap();
        let legacy = LegacyRepository::new(name.clone(), "https://x/app".into(), content);
        let reads = |lists, schema2| Reads { lists, schema2 };
        let (all, two, none) = (reads(true, true), reads(false, true), reads(false, false));
        let by_digest = format!("list/{list}");
        let table = [
            ("multi", all, "list/multi"),
            ("multi", two, "2/sha256:x"),
            ("multi", none, "1/multi"),
            ("foreign", all, "list/foreign"),
            ("foreign", two, "1/foreign"),
            ("both", two, "2/both"),
            ("old", two, "1/sha256:y"),
            ("old", none, "1/sha256:y"),
            ("two", all, "2/two"),
            ("two", none, "1/two"),
            ("other", all, "1/other"),
            (list.as_str(), none, by_digest.as_str()),
        ];
        for (reference, reads, rest) in table {
            let expected = format!("https://x/app/manifests/{rest}");
            assert_eq!(legacy.manifest(reference, reads), expected, "{reference} {reads:?}");
        }
        let flat = V2Content { flat: true, ..V2Content::default() };
        let legacy = LegacyRepository::new(name, "https://x/app".into(), flat);
        assert_eq!(legacy.manifest("1.0", all), "https://x/app/manifests/1.0");
    }
}
