//! The description of a key of `raas.cfg`: its name, its meaning, and how its value is read.
//!
//! The descriptions are the only list of keys. The parser, the suggestion for a misspelt key, the hidden values of
//! `raas config show`, `raas.cfg.template` and the reference in `docs/configuration.md` are made from them.

use std::path::Path;

use crate::ini::{Ini, IniError, Value};

/// The sections that belong to no vendor. Every other section is a vendor's.
pub(crate) const COMMON_SECTIONS: [&str; 4] = ["redhat", "openshift", "aws", "pulpserver"];

/// A section of `raas.cfg`, whose keys fill a `T`.
pub(crate) struct Section<T: 'static> {
    /// The section's name. For the sections of vendors, an example of a vendor's name.
    pub(crate) name: &'static str,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the template and the reference are made from it, by a test")
    )]
    pub(crate) text: SectionText,
    /// The keys, in the order of the reference.
    pub(crate) keys: &'static [Key<T>],
}

/// What the template and the reference say about a section.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the template and the reference are made from it, by a test")
)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct SectionText {
    /// The heading in the reference.
    pub(crate) heading: &'static str,
    /// The comment in the template.
    pub(crate) comment: &'static str,
}

/// A key of a section that fills a `T`.
pub(crate) struct Key<T> {
    pub(crate) name: &'static str,
    pub(crate) text: KeyText,
    /// Whether `raas config show` hides the value.
    pub(crate) is_secret: bool,
    /// Reads the value.
    read: Read<T>,
}

/// How a value is read. Relative paths start at the given folder.
#[derive(Clone, Copy)]
enum Read<T> {
    /// The value of one key.
    One(fn(&mut T, &Value, &Path) -> Result<(), IniError>),
    /// The value of any key that begins like this. The function gets the rest of the key's name.
    Family(&'static str, fn(&mut T, &str, &Value) -> Result<(), IniError>),
}

/// What the template and the reference say about a key.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the template and the reference are made from it, by a test")
)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyText {
    /// The meaning, in one sentence without a full stop.
    pub(crate) meaning: &'static str,
    /// What raas does without the key, unless that is plain from the meaning.
    pub(crate) default: Option<&'static str>,
    /// A value as it may stand in the file.
    pub(crate) example: &'static str,
}

impl<T> Key<T> {
    pub(crate) const fn new(
        name: &'static str,
        meaning: &'static str,
        example: &'static str,
        read: fn(&mut T, &Value, &Path) -> Result<(), IniError>,
    ) -> Self {
        Self {
            name,
            text: KeyText { meaning, default: None, example },
            is_secret: false,
            read: Read::One(read),
        }
    }

    /// Any number of keys that begin alike. `name` is an example of their names.
    pub(crate) const fn family(
        beginning: &'static str,
        name: &'static str,
        meaning: &'static str,
        example: &'static str,
        read: fn(&mut T, &str, &Value) -> Result<(), IniError>,
    ) -> Self {
        let text = KeyText { meaning, default: None, example };
        Self { name, text, is_secret: false, read: Read::Family(beginning, read) }
    }

    fn is_called(&self, name: &str) -> bool {
        match self.read {
            Read::One(_) => self.name == name,
            Read::Family(beginning, _) => name.starts_with(beginning),
        }
    }

    /// Makes `raas config show` hide the value.
    pub(crate) const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }

    /// Sets the text that says what raas does without the key.
    pub(crate) const fn default(mut self, default: &'static str) -> Self {
        self.text.default = Some(default);
        self
    }
}

impl<T> Section<T> {
    /// Reads the section of this name into `settings`. Relative paths start at `folder`.
    ///
    /// # Errors
    /// A key is unknown, or a value cannot be used. `settings` then has all other values, and the error is the first one.
    pub(crate) fn read(
        &self,
        ini: &Ini,
        name: &str,
        folder: &Path,
        settings: &mut T,
    ) -> Result<(), IniError> {
        let mut whole = Ok(());
        for (name_of_key, value) in ini.section(name) {
            let key = self.keys.iter().find(|key| key.is_called(name_of_key));
            let read = match key.map(|key| &key.read) {
                None => Err(self.unknown(name, name_of_key, value)),
                Some(Read::One(read)) => read(settings, value, folder),
                Some(Read::Family(beginning, read)) => {
                    read(settings, name_of_key.strip_prefix(beginning).unwrap_or_default(), value)
                }
            };
            whole = whole.and(read);
        }
        whole
    }

    /// Whether the value of a key is hidden. The value of an unknown key is hidden too: it may be a misspelt password.
    pub(crate) fn is_secret(&self, key: &str) -> bool {
        self.keys.iter().find(|known| known.is_called(key)).is_none_or(|known| known.is_secret)
    }

    fn unknown(&self, section: &str, key: &str, value: &Value) -> IniError {
        let keys: Vec<&str> = self.keys.iter().map(|key| key.name).collect();
        let hint = match (nearest(key, &keys), nearest(section, &COMMON_SECTIONS)) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Some(near)) if near != section => format!("did you mean the section [{near}]?"),
            _ => format!("it has {}", keys.join(", ")),
        };
        value.error(format!("[{section}] has no key `{key}`; {hint}"))
    }
}

/// The known word that a misspelt word was probably meant to be.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let distances = known.iter().map(|other| (strsim::damerau_levenshtein(word, other), *other));
    // More wrong letters than a third make another word.
    distances
        .min()
        .filter(|(distance, other)| *distance <= other.len().min(word.len()) / 3)
        .map(|(_, other)| other)
}
