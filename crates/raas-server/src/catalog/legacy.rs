//! A repository of a document that raas did not write. The server knows the URLs of its content, and nothing of the
//! content itself.

use std::collections::BTreeMap;

use raas_types::crane::V2Content;
use raas_types::{Digest, RepositoryName};

use super::MemoryCharge;
use super::view::path_of;

/// A repository as Pulp publishes it: everything is below one URL.
#[derive(Debug)]
pub(crate) struct LegacyRepository {
    pub(crate) name: RepositoryName,
    /// Pulp's id of the repository.
    pub(crate) id: Box<str>,
    /// The base URL, without a slash at the end. It was checked to be visible ASCII.
    url: Box<str>,
    content: V2Content,
    /// The URLs of the blobs that are not below the base URL.
    elsewhere: BTreeMap<Digest, Box<str>>,
    /// The memory that this takes.
    pub(super) charge: Option<MemoryCharge>,
}

/// The manifest types that a client accepts, according to its `Accept`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AcceptedSchemas {
    pub(crate) lists: bool,
    pub(crate) schema2: bool,
}

impl LegacyRepository {
    pub(crate) fn new(
        name: RepositoryName,
        id: String,
        url: Box<str>,
        mut content: V2Content,
        elsewhere: BTreeMap<Digest, Box<str>>,
    ) -> Self {
        // The digests become part of URLs and paths, so they must be digests.
        content.amd64_tags.retain(|_, (digest, _)| digest.parse::<Digest>().is_ok());
        Self { name, id: id.into(), url, content, elsewhere, charge: None }
    }

    /// The URL of a blob that is not below the repository's own URL.
    pub(crate) fn elsewhere(&self, digest: &Digest) -> Option<&str> {
        self.elsewhere.get(digest).map(AsRef::as_ref)
    }

    /// The path of the base URL.
    pub(crate) fn url_path(&self) -> &str {
        path_of(&self.url)
    }

    /// The URL of a path in the repository, such as `blobs/<digest>` or `tags/list`.
    pub(crate) fn url(&self, rest: &str) -> String {
        format!("{}/{rest}", self.url)
    }

    /// The path of the manifest that a client gets for a tag or a digest. The kind is chosen as Crane chooses it, with
    /// one exception: a digest that the document knows has its own kind, whatever the client accepts. Crane redirects a
    /// client without `Accept` to a schema 1 manifest with that digest, which cannot exist.
    pub(crate) fn manifest(&self, reference: &str, reads: AcceptedSchemas) -> String {
        let V2Content { flat, schema2, lists, amd64_tags, .. } = &self.content;
        let digest = reference.contains(':');
        if *flat {
            return format!("manifests/{reference}");
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
        format!("manifests/{kind}/{reference}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_manifests_are_chosen_as_in_crane() {
        let list = format!("sha256:{}", "a".repeat(64));
        let (x, y) = (format!("sha256:{}", "b".repeat(64)), format!("sha256:{}", "c".repeat(64)));
        let content = V2Content {
            schema2: ["two".into(), "both".into()].into(),
            lists: ["multi".into(), "foreign".into(), "both".into(), list.clone()].into(),
            amd64_tags: [
                ("multi".into(), (x.clone(), 2)),
                ("old".into(), (y.clone(), 1)),
                ("hostile".into(), ("../../../etc/passwd".into(), 2)),
            ]
            .into(),
            ..V2Content::default()
        };
        let name: RepositoryName = "app".parse().unwrap();
        let repository = |content| {
            LegacyRepository::new(
                name.clone(),
                "app".into(),
                "https://x/app".into(),
                content,
                BTreeMap::new(),
            )
        };
        let legacy = repository(content);
        let reads = |lists, schema2| AcceptedSchemas { lists, schema2 };
        let (all, two, none) = (reads(true, true), reads(false, true), reads(false, false));
        let by_digest = format!("list/{list}");
        let (two_x, one_y) = (format!("2/{x}"), format!("1/{y}"));
        let table = [
            ("multi", all, "list/multi"),
            ("multi", two, two_x.as_str()),
            ("multi", none, "1/multi"),
            ("foreign", all, "list/foreign"),
            ("foreign", two, "1/foreign"),
            ("both", two, "2/both"),
            ("old", two, one_y.as_str()),
            ("old", none, one_y.as_str()),
            ("two", all, "2/two"),
            ("two", none, "1/two"),
            ("other", all, "1/other"),
            ("hostile", two, "1/hostile"),
            (list.as_str(), none, by_digest.as_str()),
        ];
        for (reference, reads, rest) in table {
            let expected = format!("manifests/{rest}");
            assert_eq!(legacy.manifest(reference, reads), expected, "{reference} {reads:?}");
        }
        let flat = V2Content { flat: true, ..V2Content::default() };
        let legacy = repository(flat);
        assert_eq!(legacy.url(&legacy.manifest("1.0", all)), "https://x/app/manifests/1.0");
    }
}
