//! The note of a home about where a vendor's objects are, and which configuration said so.
//!
//! The record of a vendor says what is published, and the configuration says where its objects are. A command with another
//! configuration would take another storage for the vendor's: it would store objects where no server looks for them, or
//! miss all objects. So the home remembers the storage, and a command compares before it uses a storage. The note holds
//! names and addresses only, never a secret.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use raas_types::crane::{Document, tree};
use serde::{Deserialize, Serialize};

use crate::home::Vendor;
use crate::inventory;
use crate::storage::Storage;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::files;

/// The folder of the home as a storage.
pub const HOME_STORAGE: &str = "the folder `bucket` of the home";

/// How many missing objects an error names.
const MOST_NAMED: usize = 5;

/// Where a vendor's objects are, and which configuration said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageNote {
    /// The storage: [`HOME_STORAGE`], or a bucket with its service.
    pub storage: String,
    /// The configuration, for people.
    pub configuration: String,
}

impl StorageNote {
    /// Refuses a storage that is not the vendor's. The setup decides which storage is the vendor's, so another storage is
    /// refused before the first publication too.
    ///
    /// # Errors
    /// The vendor's objects are in another storage, or the home cannot be read.
    pub fn check(&self, vendor: &Vendor) -> Result<(), Failure> {
        if vendor.is_absent() {
            return Ok(());
        }
        let differs = match read(vendor)? {
            Some(known) if known.storage == self.storage => return Ok(()),
            Some(known) => known.to_string(),
            // An older raas wrote no note. The published documents say which kind of storage it is.
            None => match published_elsewhere(vendor, self.storage == HOME_STORAGE)? {
                Some(url) => format!("a storage with the address {url} (its documents say so)"),
                None => return Ok(()),
            },
        };
        let name = vendor.name();
        let condition = match vendor.record().head()? {
            Some(_) => "if you have copied all objects",
            None => "if it is the right one: nothing is published yet",
        };
        let message = format!("the objects of {name} are in {differs}, but this command would use {self}");
        Err(Failure::new(Kind::Usage, message)
            .hint("run the command in the folder of the vendor's configuration, or name that file with --config FILE")
            .hint(format!("run `raas setup {name} --accept-storage` with this configuration, {condition}")))
    }

    /// Whether the home remembers another storage. Reads one small file only, so a server can ask often.
    pub fn differs_from_noted(&self, vendor: &Vendor) -> Result<Option<StorageNote>, Failure> {
        Ok(read(vendor)?.filter(|known| known.storage != self.storage))
    }

    /// Remembers the storage. The caller has checked it.
    pub fn remember(&self, vendor: &Vendor) -> Result<(), Failure> {
        // A note that cannot be read is replaced.
        if matches!(read(vendor), Ok(Some(known)) if known == *self) {
            return Ok(());
        }
        let path = path(vendor);
        vendor.make_folder()?;
        let mut text = serde_json::to_string_pretty(self).expect("a note has text only");
        text.push('\n');
        files::write_shared(&path, text.as_bytes()).context(|| format!("cannot write {}", path.display()))
    }
}

impl fmt::Display for StorageNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (configuration: {})", self.storage, self.configuration)
    }
}

/// The note of a vendor. `None` if an older raas has set the vendor up.
pub fn read(vendor: &Vendor) -> Result<Option<StorageNote>, Failure> {
    let path = path(vendor);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.context(|| format!("cannot read {}", path.display()))?,
    };
    let note = serde_json::from_slice(&bytes).map_err(|error| {
        Failure::new(Kind::Environment, format!("{} is no note of raas", path.display()))
            .caused_by(error)
            .hint("run `raas setup ISV --repair` with the right configuration")
    })?;
    Ok(Some(note))
}

/// Removes a note that makes no sense, if the published documents are of this storage. Returns whether there was one.
///
/// # Errors
/// The documents say another storage.
pub fn mend(vendor: &Vendor, storage: &dyn Storage) -> Result<bool, Failure> {
    let path = path(vendor);
    let (Err(damaged), true) = (read(vendor), path.exists()) else { return Ok(false) };
    let base = storage.base_url();
    let is_of_storage =
        |document: &Document| match (document.url.strip_prefix("file://"), base.starts_with("file://")) {
            // A home may have been moved.
            (Some(_), true) => true,
            (None, false) => document.url.starts_with(&base),
            (Some(_), false) | (None, true) => false,
        };
    let published = published(vendor)?;
    if !published.is_empty() && !published.iter().any(is_of_storage) {
        let name = vendor.name();
        return Err(damaged.hint(format!(
            "run `raas setup {name} --repair --accept-storage` if {} has all objects of {name}",
            storage.display_name()
        )));
    }
    fs::remove_file(&path).context(|| format!("cannot remove {}", path.display()))?;
    Ok(true)
}

/// Checks that a storage holds every object of the last publication.
///
/// # Errors
/// Objects are missing or have another length.
pub fn check_complete(vendor: &Vendor, storage: &dyn Storage) -> Result<(), Failure> {
    let mut wrong = inventory::compare(&published(vendor)?, storage, None)?.wrong;
    if wrong.is_empty() {
        return Ok(());
    }
    let count = wrong.len();
    wrong.truncate(MOST_NAMED);
    let more = if count > MOST_NAMED { format!(", and {} more", count - MOST_NAMED) } else { String::new() };
    let message = format!(
        "{} does not have all that {} publishes: {}{more}",
        storage.display_name(),
        vendor.name(),
        wrong.join(", ")
    );
    Err(Failure::new(Kind::Refused, message).hint(
        "copy all objects from the old storage first, with `aws s3 sync` or `cp -a`; nothing was changed",
    ))
}

fn path(vendor: &Vendor) -> PathBuf {
    vendor.folder().join("storage.json")
}

/// The vendor's own documents in the last publication. A document that does not parse is left out.
fn published(vendor: &Vendor) -> Result<Vec<Document>, Failure> {
    let record = vendor.record();
    let Some(head) = record.head()? else { return Ok(Vec::new()) };
    let mut documents = record.files(&head, tree::DATA)?;
    documents.retain(|file| file.path.ends_with(".json") && !tree::is_operators(&file.path));
    let mut parsed = Vec::new();
    record.read_each(&documents, |_, bytes| {
        parsed.extend(Document::parse(&bytes).ok());
        Ok(())
    })?;
    Ok(parsed)
}

/// The address of a published document, if no document is of this kind of storage: the home, or a bucket.
fn published_elsewhere(vendor: &Vendor, in_home: bool) -> Result<Option<String>, Failure> {
    if !vendor.record().git().folder().is_dir() {
        return Ok(None);
    }
    // A record that cannot be read says nothing about the storage. The command, or a repair, finds that out.
    let Ok(published) = published(vendor) else { return Ok(None) };
    let urls: Vec<String> = published.into_iter().map(|document| document.url).collect();
    let agrees = urls.iter().any(|url| url.starts_with("file://") == in_home);
    Ok(urls.into_iter().next().filter(|_| !agrees))
}

#[cfg(test)]
mod tests {
    use raas_types::crane::{Content, V2Content, V2Extension};

    use super::*;
    use crate::home::Home;
    use crate::storage::Directory;

    fn note(storage: &str, configuration: &str) -> StorageNote {
        StorageNote { storage: storage.to_owned(), configuration: configuration.to_owned() }
    }

    fn vendor() -> (Vendor, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(Some(folder.path().to_owned())).unwrap();
        let vendor = home.vendor(&"acme".parse().unwrap());
        vendor.create(&raas_base::Say::nothing()).unwrap();
        (vendor, folder)
    }

    /// Publishes a document with this address.
    fn publish(vendor: &Vendor, url: &str) {
        let name: raas_types::RepositoryName = "app".parse().unwrap();
        let document = Document {
            repository: Document::repository_id(vendor.name(), &name),
            name: name.clone(),
            url: url.to_owned(),
            protected: false,
            content: Content::V2(V2Content::new(V2Extension::default(), |_| None)),
        };
        let record = vendor.record();
        let change = (tree::document(&name), Some(document.to_bytes()));
        record.commit(record.head().unwrap().as_ref(), &[change], "Publish app").unwrap();
    }

    #[test]
    fn another_storage_is_refused_after_the_setup_and_both_are_named() {
        let (vendor, _folder) = vendor();
        let (bucket, home) = (note("s3://b/reg of AWS", "/etc/raas.cfg"), note(HOME_STORAGE, "none"));
        home.check(&vendor).unwrap();
        bucket.check(&vendor).unwrap();
        bucket.remember(&vendor).unwrap();
        let refused = home.check(&vendor).unwrap_err().to_string();
        assert!(refused.contains("nothing is published yet"), "{refused}");
        publish(&vendor, "https://b.s3.amazonaws.com/reg/app/_v2/");
        bucket.check(&vendor).unwrap();
        // The file may have another path, if it says the same.
        note("s3://b/reg of AWS", "/elsewhere/raas.cfg").check(&vendor).unwrap();
        for other in
            [home, note("s3://b of AWS", "/x/raas.cfg"), note("s3://b/reg of http://x", "/x/raas.cfg")]
        {
            let failure = other.check(&vendor).unwrap_err();
            assert_eq!(failure.kind(), Kind::Usage);
            let text = failure.to_string();
            for word in
                ["s3://b/reg of AWS", "/etc/raas.cfg", &*other.storage, &*other.configuration, "--config"]
            {
                assert!(text.contains(word), "{word}: {text}");
            }
        }
    }

    #[test]
    fn a_home_without_a_note_is_judged_by_its_documents() {
        let (vendor, _folder) = vendor();
        let (bucket, home) = (note("s3://b of AWS", "x"), note(HOME_STORAGE, "x"));
        publish(&vendor, "file:///old/home/acme/bucket/app/_v2/");
        home.check(&vendor).unwrap();
        assert!(bucket.check(&vendor).unwrap_err().to_string().contains("file:///old/home"));
        publish(&vendor, "https://cdn.example.com/app/_v2/");
        bucket.check(&vendor).unwrap();
        assert!(home.check(&vendor).unwrap_err().to_string().contains("https://cdn.example.com"));
    }

    #[test]
    fn a_storage_without_the_published_objects_is_not_accepted() {
        let (vendor, folder) = vendor();
        publish(&vendor, "file:///x/app/_v2/");
        let storage = Directory::new(folder.path().join("new"));
        let failure = check_complete(&vendor, &storage).unwrap_err();
        assert_eq!(failure.kind(), Kind::Refused);
        assert!(failure.to_string().contains("app/_v2/tags/list: missing"), "{failure}");
        fs::create_dir_all(folder.path().join("new/app/_v2/tags")).unwrap();
        fs::write(folder.path().join("new/app/_v2/tags/list"), r#"{"name":"app","tags":[]}"#).unwrap();
        check_complete(&vendor, &storage).unwrap();
    }

    #[test]
    fn a_damaged_note_is_an_error_and_is_mended_from_the_published_documents() {
        let (vendor, folder) = vendor();
        let storage = Directory::new(folder.path().join("new"));
        assert!(!mend(&vendor, &storage).unwrap(), "there is no note");
        for (url, is_mended) in
            [("file:///moved/home/app/_v2/", true), ("https://b.example.com/app/_v2/", false)]
        {
            publish(&vendor, url);
            fs::write(path(&vendor), "{").unwrap();
            let refused = note(HOME_STORAGE, "x").check(&vendor).unwrap_err().to_string();
            assert!(refused.contains("storage.json") && refused.contains("--repair"), "{refused}");
            match mend(&vendor, &storage) {
                Ok(mended) => assert!(mended && is_mended && !path(&vendor).exists()),
                Err(failure) => {
                    assert!(!is_mended && failure.to_string().contains("--accept-storage"), "{failure}");
                }
            }
            note(HOME_STORAGE, "x").remember(&vendor).unwrap();
            assert!(!mend(&vendor, &storage).unwrap(), "a good note stays");
        }
    }
}
