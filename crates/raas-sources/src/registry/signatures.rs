//! Atomic signatures, which some registries keep beside images.
//!
//! Source: the extension API of OpenShift's registry, which Pulp 3 has too.

use std::collections::BTreeMap;
use std::sync::Arc;

use raas_base::failure::Failure;
use raas_base::parallel;
use raas_types::{AtomicSignature, Digest, null_as_default};
use serde::Deserialize;

use super::connection::{JSON, Request};
use super::remote::Remote;
use crate::registry_error::{RegistryError, legible};

/// The longest list of signatures.
const MAX_LIST: u64 = 16 * 1024 * 1024;

/// How many lists are asked for at once.
const AT_ONCE: usize = 16;

#[derive(Deserialize)]
struct List {
    #[serde(default, deserialize_with = "null_as_default")]
    signatures: Vec<ListedSignature>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedSignature {
    schema_version: u64,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    content: String,
}

/// The atomic signatures of these manifests.
///
/// # Errors
/// The registry sends something else.
pub fn atomic_signatures(
    remote: &Arc<Remote>,
    manifests: Vec<Digest>,
) -> Result<BTreeMap<Digest, Vec<AtomicSignature>>, Failure> {
    // The first answer shows whether the registry has this list at all.
    let mut rest = manifests;
    let Some(first) = rest.pop() else { return Ok(BTreeMap::new()) };
    let Some(of_first) = remote.signatures(&first)? else { return Ok(BTreeMap::new()) };
    let mut found = vec![(first, of_first)];
    found.extend(parallel::each(AT_ONCE, rest, |digest| {
        Ok((digest, remote.signatures(&digest)?.unwrap_or_default()))
    })?);
    found.retain(|(_, signatures)| !signatures.is_empty());
    Ok(found.into_iter().collect())
}

impl Remote {
    /// The atomic signatures of a manifest. `None` if the registry has no list of them.
    fn signatures(&self, digest: &Digest) -> Result<Option<Vec<AtomicSignature>>, RegistryError> {
        let what = format!("the list of the signatures of {}", self.called(digest));
        let path = format!("/extensions/v2/{}/signatures/{digest}", self.name());
        let request = Request::get(&path, JSON, &what);
        let Some(document) = self.connection.read(&request, MAX_LIST)? else { return Ok(None) };
        let wrong = |why: String| self.connection.content(&request, why);
        let list: List = serde_json::from_slice(&document.bytes).map_err(|error| {
            wrong(format!("it is no list of signatures: {}", legible(&error.to_string())))
        })?;
        // Clients skip what they do not know.
        let known =
            list.signatures.iter().filter(|listed| listed.schema_version == 2 && listed.kind == "atomic");
        let signatures: Result<Vec<_>, _> =
            known.map(|listed| AtomicSignature::new(&listed.name, &listed.content)).collect();
        let signatures = signatures.map_err(|error| wrong(error.to_string()))?;
        if signatures.len() > AtomicSignature::MAX_COUNT {
            return Err(wrong(format!("it has more than {} signatures", AtomicSignature::MAX_COUNT)));
        }
        Ok(Some(signatures))
    }
}
