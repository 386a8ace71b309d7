//! One copy of each manifest of a site, however many documents name it.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raas_types::Digest;

use super::{Manifest, MemoryBudget};

/// The manifests of a site by digest, and the site's memory budget.
#[derive(Debug)]
pub(crate) struct ManifestPool {
    pub(crate) budget: Arc<MemoryBudget>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Those that nothing else holds any longer stay until they are swept out.
    manifests: HashSet<ByDigest>,
    /// The number of manifests after the last sweep.
    swept: usize,
}

/// A manifest with the identity of its digest. It takes one pointer in the set, not a digest beside it.
#[derive(Debug)]
struct ByDigest(Arc<Manifest>);

impl Borrow<Digest> for ByDigest {
    fn borrow(&self) -> &Digest {
        &self.0.digest
    }
}

impl Hash for ByDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.digest.hash(state);
    }
}

impl PartialEq for ByDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.digest == other.0.digest
    }
}

impl Eq for ByDigest {}

impl ManifestPool {
    pub(crate) fn new(budget: Arc<MemoryBudget>) -> Self {
        Self { budget, known: Mutex::default() }
    }

    /// The manifest with this digest, if any document has it.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Arc<Manifest>> {
        self.lock().manifests.get(digest).map(|known| Arc::clone(&known.0))
    }

    /// Adds manifests, unless others with the same digests are there.
    pub(crate) fn extend(&self, manifests: impl Iterator<Item = Arc<Manifest>>) {
        let mut known = self.lock();
        for manifest in manifests {
            known.manifests.insert(ByDigest(manifest));
        }
    }

    /// Drops the manifests that nothing else holds, if the pool has grown enough to make that worth a look at all.
    pub(crate) fn sweep(&self) {
        /// A few manifests too many cost nothing.
        const FEW: usize = 64;
        let mut known = self.lock();
        if known.manifests.len() > known.swept + known.swept / 8 + FEW {
            Self::sweep_all(&mut known);
        }
    }

    /// Drops the manifests that nothing else holds.
    pub(crate) fn sweep_now(&self) {
        Self::sweep_all(&mut self.lock());
    }

    fn sweep_all(known: &mut Known) {
        known.manifests.retain(|manifest| Arc::strong_count(&manifest.0) > 1);
        known.swept = known.manifests.len();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
