//! The objects that were read last. An object never changes, since its id is the hash of its content.

use std::collections::HashMap;
use std::sync::Arc;

use crate::object::{Object, ObjectKind};

/// The most bytes that the cache holds.
const LARGEST: usize = 16 << 20;

/// Objects by id, in two generations. When the newer one is full it becomes the older one, and the older one is forgotten.
#[derive(Default)]
pub(crate) struct ObjectCache {
    newer: HashMap<String, (ObjectKind, Arc<Vec<u8>>)>,
    older: HashMap<String, (ObjectKind, Arc<Vec<u8>>)>,
    /// The bytes in the newer generation.
    bytes: usize,
}

impl ObjectCache {
    /// The content of an object, if it is there and of this kind.
    pub(crate) fn get(&mut self, id: &str, kind: ObjectKind) -> Option<Arc<Vec<u8>>> {
        if let Some((_, bytes)) = self.newer.get(id).filter(|(found, _)| *found == kind) {
            return Some(Arc::clone(bytes));
        }
        let (found, bytes) = self.older.remove(id)?;
        self.keep(id.to_owned(), found, Arc::clone(&bytes));
        (found == kind).then_some(bytes)
    }

    /// Keeps an object, and returns its content.
    pub(crate) fn insert(&mut self, object: Object) -> Arc<Vec<u8>> {
        let bytes = Arc::new(object.bytes);
        self.keep(object.id, object.kind, Arc::clone(&bytes));
        bytes
    }

    fn keep(&mut self, id: String, kind: ObjectKind, bytes: Arc<Vec<u8>>) {
        let size = bytes.len() + id.len();
        // One such object would leave no room for the others.
        if size > LARGEST / 8 {
            return;
        }
        if self.bytes + size > LARGEST / 2 {
            self.older = std::mem::take(&mut self.newer);
            self.bytes = 0;
        }
        self.bytes += size;
        self.newer.insert(id, (kind, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(id: usize, size: usize) -> Object {
        Object { id: format!("{id:040x}"), kind: ObjectKind::Blob, bytes: vec![b'x'; size] }
    }

    #[test]
    fn the_cache_keeps_what_is_used_within_its_limit() {
        let mut cache = ObjectCache::default();
        let used = object(0, 1000).id;
        cache.insert(object(0, 1000));
        for id in 1..100 {
            cache.insert(object(id, LARGEST / 16));
            assert!(cache.get(&used, ObjectKind::Blob).is_some(), "{id}");
            let all: usize =
                cache.newer.values().chain(cache.older.values()).map(|(_, bytes)| bytes.len()).sum();
            assert!(all <= LARGEST, "{id}: {all}");
        }
        assert!(cache.get(&object(1, 0).id, ObjectKind::Blob).is_none(), "it was not used again");
        assert!(cache.get(&used, ObjectKind::Tree).is_none(), "it is no tree");
    }

    #[test]
    fn a_large_object_is_not_kept() {
        let mut cache = ObjectCache::default();
        let large = object(1, LARGEST / 2);
        let id = large.id.clone();
        assert_eq!(cache.insert(large).len(), LARGEST / 2);
        assert!(cache.get(&id, ObjectKind::Blob).is_none());
    }
}
