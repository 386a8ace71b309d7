//! Documents and manifests on a web server.

use raas_http::Agent;
use raas_types::crane::Document;

use raas_base::failure::{Context as _, Failure, Kind};

/// The largest number of documents in one index.
const MAX_DOCUMENTS: usize = 10_000;

/// The documents at a URL, each with its own URL: the document there, or the documents of the folder's `index.json`,
/// which is a JSON array of names.
///
/// # Errors
/// A document cannot be fetched, or the index lists a name outside its folder.
pub(super) fn documents(agent: &Agent, url: &str) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let first = if url.ends_with(".json") { url.to_owned() } else { format!("{url}/index.json") };
    let bytes = fetch(agent, &first, Document::MAX_SIZE)?;
    let Ok(names) = serde_json::from_slice::<Vec<String>>(&bytes) else { return Ok(vec![(first, bytes)]) };
    if names.len() > MAX_DOCUMENTS {
        return Err(Failure::new(Kind::Refused, format!("{first} lists {} documents", names.len())));
    }
    let folder = first.rsplit_once('/').map_or(first.as_str(), |(folder, _)| folder);
    let mut documents = Vec::new();
    for name in names {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._/".contains(c);
        let good = name.ends_with(".json")
            && name.chars().all(plain)
            && !name.split('/').any(|part| matches!(part, "" | "." | ".."));
        if !good {
            let shown: String = name.chars().take(200).collect();
            return Err(Failure::new(
                Kind::Refused,
                format!("{first} lists `{shown}`, which is no document's name in that folder"),
            ));
        }
        let url = format!("{folder}/{name}");
        let bytes = fetch(agent, &url, Document::MAX_SIZE)?;
        documents.push((url, bytes));
    }
    Ok(documents)
}

/// The body of the answer at a URL, of `most` bytes at most.
///
/// # Errors
/// The server does not answer with success, or the body is longer.
pub(super) fn fetch(agent: &Agent, url: &str, most: u64) -> Result<Vec<u8>, Failure> {
    let response = agent.get(url).call().map_err(|error| {
        Failure::new(Kind::Environment, format!("cannot ask {url}"))
            .caused_by(error)
            .hint("check `metadata` in raas.cfg, and the network")
    })?;
    if !response.status().is_success() {
        let message = format!("{url} answers {}", response.status());
        return Err(Failure::new(Kind::Environment, message).hint(
            "check the URL: a folder of documents needs an `index.json`, a JSON array of their names",
        ));
    }
    response.into_body().read_all(most).context(|| format!("cannot read {url}"))
}

#[cfg(test)]
mod tests {
    use raas_testkit::http::Server;

    use super::*;
    use crate::http::agent;

    fn names(server: &Server, path: &str) -> Result<Vec<String>, String> {
        let found = documents(&agent().unwrap(), &server.url(path)).map_err(|failure| failure.to_string())?;
        let base = server.url("");
        Ok(found.into_iter().map(|(url, _)| url.replace(&base, "")).collect())
    }

    #[test]
    fn a_url_leads_to_a_document_or_to_an_index() {
        let server = Server::of([
            ("/m/index.json", r#"["a.json", "sub/b.json"]"#),
            ("/m/a.json", "{}"),
            ("/m/sub/b.json", "{}"),
        ]);
        assert_eq!(names(&server, "/m").unwrap(), ["/m/a.json", "/m/sub/b.json"]);
        assert_eq!(names(&server, "/m/index.json").unwrap(), ["/m/a.json", "/m/sub/b.json"]);
        assert_eq!(names(&server, "/m/a.json").unwrap(), ["/m/a.json"]);
        assert!(names(&server, "/n").unwrap_err().contains("index.json"));
    }

    #[test]
    fn an_index_lists_only_documents_of_its_folder() {
        for name in ["../a.json", "/a.json", "http://x/a.json", "a", "a//b.json", "a.json?x"] {
            let index = serde_json::to_string(&[name]).unwrap();
            let server = Server::of([("/m/index.json", index)]);
            let failure = names(&server, "/m").unwrap_err();
            assert!(failure.contains("no document's name"), "{name}: {failure}");
        }
    }
}
