//! The source of an image, asked for its tags.

use std::collections::BTreeMap;
use std::sync::Arc;

use raas_base::Say;
use raas_base::failure::{Failure, Kind};
use raas_base::parallel;
use raas_sources::registry::{Patience, RegistryAddress, Remote, RemoteOptions};
use raas_types::{Digest, RepositoryName, Tag, VendorName};

use crate::config::{Config, SyncSource};

/// Where an image is, and who may pull it there.
pub(crate) struct Located {
    /// The repository.
    pub(crate) address: RegistryAddress,
    /// How it is asked.
    pub(crate) access: RemoteOptions,
    /// Whether only some users may pull it.
    pub(crate) private: bool,
}

/// How many tags are asked for at once.
pub(super) const AT_ONCE: usize = 16;

/// Finds the repository of an image. For a registry nothing is asked yet.
///
/// # Errors
/// Pulp is not configured, does not answer, or has no such repository.
pub(crate) fn locate(
    config: &Config,
    vendor: &VendorName,
    image: &RepositoryName,
    source: &SyncSource,
    say: Say,
) -> Result<Located, Failure> {
    match source {
        SyncSource::Registry(address) => {
            let access = RemoteOptions { say, ..RemoteOptions::default() };
            Ok(Located { address: address.clone(), access, private: false })
        }
        SyncSource::Pulp => {
            let pulp = config.pulpserver.settings()?.ok_or_else(|| {
                Failure::new(Kind::Usage, "no Pulp server is configured").hint("set `host` in [pulpserver]")
            })?;
            let access = pulp.access(say, Patience::default());
            let found = pulp.find(vendor, image, access.clone())?;
            Ok(Located { address: found.address, access, private: found.private })
        }
    }
}

/// The digests of tags; a tag that is gone has none. `known` are the digests that tags had: a registry that understands
/// conditions only compares them.
///
/// # Errors
/// The registry gives no good answer.
pub(crate) fn digests(
    remote: &Arc<Remote>,
    tags: Vec<Tag>,
    known: &BTreeMap<Tag, Digest>,
) -> Result<BTreeMap<Tag, Digest>, Failure> {
    let found = parallel::each(AT_ONCE, tags, |tag| {
        let digest = remote.digest_of(&tag, known.get(&tag))?;
        Ok(digest.map(|digest| (tag, digest)))
    })?;
    Ok(found.into_iter().flatten().collect())
}
