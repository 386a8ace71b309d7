//! For tests: a storage that answers some requests itself, and passes the others on to another storage.

/// The methods of [`Storage`](crate::storage::Storage) that the storage in a field answers.
macro_rules! pass_on {
    ($field:ident: $($method:ident),*) => { $(crate::storage::pass_on!(@ $method $field);)* };
    (@ create $field:ident) => {
        fn create(
            &self,
            options: crate::storage::PutOptions,
        ) -> Result<Box<dyn crate::storage::Upload>, crate::storage::StorageError> {
            self.$field.create(options)
        }
    };
    (@ stat $field:ident) => {
        fn stat(
            &self,
            key: &raas_types::ObjectKey,
        ) -> Result<Option<crate::storage::ObjectMeta>, crate::storage::StorageError> {
            self.$field.stat(key)
        }
    };
    (@ read $field:ident) => {
        fn read(
            &self,
            key: &raas_types::ObjectKey,
        ) -> Result<Option<Box<dyn std::io::Read + Send>>, crate::storage::StorageError> {
            self.$field.read(key)
        }
    };
    (@ others $field:ident) => {
        fn copy(
            &self,
            from: &raas_types::ObjectKey,
            to: &raas_types::ObjectKey,
            size: u64,
        ) -> Result<(), crate::storage::StorageError> {
            self.$field.copy(from, to, size)
        }

        fn delete_key(&self, key: &str) -> Result<(), crate::storage::StorageError> {
            self.$field.delete_key(key)
        }

        fn list(
            &self,
            prefix: &str,
            each: &mut dyn FnMut(crate::storage::ListedObject),
        ) -> Result<(), crate::storage::StorageError> {
            self.$field.list(prefix, each)
        }

        fn abort_stale_uploads(&self) -> Result<usize, crate::storage::StorageError> {
            self.$field.abort_stale_uploads()
        }

        fn base_url(&self) -> String {
            self.$field.base_url()
        }

        fn display_name(&self) -> String {
            self.$field.display_name()
        }
    };
}

pub(crate) use pass_on;
