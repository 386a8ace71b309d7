//! The files of the record that `git fsck` does not read: the references, the settings and the branch's log. Here a flipped
//! bit may be of no consequence to git, such as a capital letter in an id. It counts as damage nevertheless: a disk that flips
//! one bit flips the next.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use raas_base::failure::{Context as _, Failure};
use raas_base::files;
use raas_git::CommitId;

use super::{REFERENCE, Record};

/// The references whose names end with the commit.
const ASIDE: &str = "refs/raas/aside/";
const PACKED: &str = "packed-refs";

impl Record {
    /// What is wrong with these files, a line each.
    pub(crate) fn damaged_files(&self) -> Result<Vec<String>, Failure> {
        let mut damaged = self.damaged_references()?;
        if self.bytes(PACKED)?.is_some_and(|text| !are_packed_references(&text)) {
            damaged.push(PACKED.to_owned());
        }
        if !self.has_sound_settings() {
            damaged.push("config".to_owned());
        }
        if self.log()?.is_some_and(|log| !is_log(&log)) {
            damaged.push(format!("logs/{REFERENCE}"));
        }
        Ok(damaged.into_iter().map(|name| format!("{name}: damaged")).collect())
    }

    /// Mends what can be known from these files alone. Returns what was mended, a sentence each. The caller holds the vendor's
    /// lock.
    pub(crate) fn mend_files(&self) -> Result<Vec<String>, Failure> {
        let mut mended = Vec::new();
        for name in self.damaged_references()? {
            let path = self.git().folder().join(&name);
            let cannot = || format!("cannot mend {}", path.display());
            let text = fs::read(&path).context(cannot)?;
            let said = String::from_utf8_lossy(&text).trim().to_ascii_lowercase();
            let id = name.strip_prefix(ASIDE).unwrap_or(&said);
            let commit = match CommitId::parse(id) {
                Ok(commit) if self.has(&commit)? => Some(commit),
                Ok(_) | Err(_) => None,
            };
            match commit {
                Some(commit) => files::replace(&path, format!("{commit}\n").as_bytes()).context(cannot)?,
                // Other evidence says where the branch was.
                None if name == REFERENCE => continue,
                None => fs::remove_file(&path).context(cannot)?,
            }
            mended.push(format!("Reference {name} of the record was damaged"));
        }
        if let Some(log) = self.log()?
            && !is_log(&log)
        {
            let sound: Vec<u8> =
                log_lines(&log).filter(|line| is_log_line(line)).flatten().copied().collect();
            let path = self.log_file();
            let cannot = || format!("cannot mend {}", path.display());
            if sound.is_empty() {
                fs::remove_file(&path).context(cannot)?;
            } else {
                files::replace(&path, &sound).context(cannot)?;
            }
            mended.push("The log of the record's branch had damaged lines, which are removed".to_owned());
        }
        Ok(mended)
    }

    /// Whether the settings that `git init` writes are there. The other settings are the operator's.
    pub(crate) fn has_sound_settings(&self) -> bool {
        let file = self.git().folder().join("config");
        // git fails if the file makes no sense. The folder need not be a repository: `HEAD` may be damaged too.
        let arguments = ["config", "--file", &file.to_string_lossy(), "--list", "-z"];
        let Ok(listing) = self.git().run(&arguments) else { return false };
        let settings: BTreeMap<&str, &str> =
            listing.split_terminator('\0').filter_map(|setting| setting.split_once('\n')).collect();
        let extended = settings.keys().any(|name| name.starts_with("extensions."));
        settings.get("core.bare") == Some(&"true")
            && settings.get("core.filemode").is_some_and(|value| ["true", "false"].contains(value))
            && settings.get("core.repositoryformatversion") == Some(if extended { &"1" } else { &"0" })
    }

    /// Leaves only the last entry of the branch's log, which names this commit: the others name commits that may be lost.
    pub(crate) fn begin_log(&self, head: &CommitId) -> Result<(), Failure> {
        // git logs `HEAD` as well, and nobody reads that.
        drop(fs::remove_file(self.git().folder().join("logs/HEAD")));
        let Some(log) = self.log()? else { return Ok(()) };
        // <old id> SP <new id> SP: the end of the line before may be damaged.
        let id = format!(" {head} ");
        let Some(at) = log.windows(id.len()).rposition(|window| window == id.as_bytes()) else {
            return Ok(());
        };
        let begin = at.saturating_sub(head.as_str().len());
        if begin == 0 {
            return Ok(());
        }
        let path = self.log_file();
        files::replace(&path, &log[begin..]).context(|| format!("cannot write {}", path.display()))
    }

    /// The references in files of their own that are not as git writes them.
    fn damaged_references(&self) -> Result<Vec<String>, Failure> {
        let folder = self.git().folder();
        let mut names = Vec::new();
        files::walk(folder, "refs", &mut |path, _| names.push(path.to_owned()))
            .context(|| format!("cannot read {}", folder.display()))?;
        // A lock is of a git that runs at this moment, or was killed.
        names.retain(|name| !name.ends_with(".lock"));
        let mut damaged = Vec::new();
        for name in names {
            let text = self.bytes(&name)?.unwrap_or_default();
            let id = String::from_utf8_lossy(&text);
            if !id.strip_suffix('\n').is_some_and(|id| is_reference(&name, id)) {
                damaged.push(name);
            }
        }
        Ok(damaged)
    }

    fn log_file(&self) -> PathBuf {
        self.git().folder().join("logs").join(REFERENCE)
    }

    fn log(&self) -> Result<Option<Vec<u8>>, Failure> {
        self.bytes(&format!("logs/{REFERENCE}"))
    }

    /// The bytes of a file of the record; `None` if there is no such file.
    fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.git().folder().join(name);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            bytes => bytes.map(Some).context(|| format!("cannot read {}", path.display())),
        }
    }
}

fn is_reference(name: &str, id: &str) -> bool {
    CommitId::parse(id).is_ok() && name.strip_prefix(ASIDE).is_none_or(|named| named == id)
}

/// Whether a file of packed references is as git writes it. Source: `gitrepository-layout(5)`, `refs/files-backend.c`.
fn are_packed_references(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let is_line = |line: &str| {
        if let Some(properties) = line.strip_prefix("# pack-refs with:") {
            return properties
                .split_ascii_whitespace()
                .all(|word| ["peeled", "fully-peeled", "sorted"].contains(&word));
        }
        match line.split_once(' ') {
            Some((id, name)) => name.starts_with("refs/") && is_reference(name, id),
            None => line.strip_prefix('^').is_some_and(|id| CommitId::parse(id).is_ok()),
        }
    };
    text.is_empty() || (text.ends_with('\n') && text.lines().all(is_line))
}

fn is_log(log: &[u8]) -> bool {
    !log.is_empty() && log_lines(log).all(is_log_line)
}

fn log_lines(log: &[u8]) -> impl Iterator<Item = &[u8]> {
    log.split_inclusive(|byte| *byte == b'\n')
}

/// Whether a line of the log has this form: `<old id> SP <new id> SP <person> SP <time> SP <zone> [TAB <words>] LF`.
fn is_log_line(line: &[u8]) -> bool {
    let is_line = |line: &str| {
        let line = line.strip_suffix('\n')?;
        let (facts, words) = line.split_once('\t').unwrap_or((line, ""));
        let (old, rest) = facts.split_once(' ')?;
        let (new, rest) = rest.split_once(' ')?;
        let (rest, zone) = rest.rsplit_once(' ')?;
        let (person, time) = rest.rsplit_once(' ')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_zone = zone.len() == 5 && zone.starts_with(['+', '-']) && digits(&zone[1..]);
        // With another person in it, two lines have become one.
        let is_person = person.matches(['<', '>']).count() == 2 && person.ends_with('>');
        let are_ids = [old, new].iter().all(|id| CommitId::parse(id).is_ok());
        (are_ids && is_person && is_zone && digits(time) && !words.contains('>')).then_some(())
    };
    is_line(&String::from_utf8_lossy(line)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> (Record, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let record = Record::new(folder.path().join("r.git"));
        record.create().unwrap();
        for text in ["1", "2"] {
            let change = ("crane/data/a.json".to_owned(), Some(text.as_bytes().to_vec()));
            record.commit(record.head().unwrap().as_ref(), &[change], "Publish").unwrap();
        }
        record.set_aside(&record.head().unwrap().unwrap()).unwrap();
        (record, folder)
    }

    #[test]
    fn what_git_writes_is_sound() {
        let (record, _folder) = record();
        assert_eq!(record.damaged_files().unwrap(), Vec::<String>::new());
        record.git().run(&["pack-refs", "--all"]).unwrap();
        assert_eq!(record.damaged_files().unwrap(), Vec::<String>::new());
        record.git().run(&["config", "user.signingkey", "X"]).unwrap();
        assert!(record.has_sound_settings(), "the operator may set what raas does not");
        assert!(record.mend_files().unwrap().is_empty());
    }

    #[test]
    fn a_capital_letter_in_a_reference_is_found_and_mended() {
        let (record, _folder) = record();
        let head = record.head().unwrap().unwrap();
        for name in [REFERENCE.to_owned(), format!("{ASIDE}{head}")] {
            let path = record.git().folder().join(&name);
            let good = fs::read(&path).unwrap();
            for damaged in [good.to_ascii_uppercase(), [&good[..], b"\n"].concat(), good[..40].to_vec()] {
                if damaged == good {
                    continue;
                }
                fs::write(&path, damaged).unwrap();
                assert_eq!(record.damaged_files().unwrap(), [format!("{name}: damaged")]);
                assert_eq!(record.mend_files().unwrap().len(), 1);
                assert_eq!(fs::read(&path).unwrap(), good);
            }
        }
    }

    #[test]
    fn a_reference_that_says_nothing_is_left_to_other_evidence_or_removed() {
        let (record, _folder) = record();
        record.mark_unconfirmed(record.head().unwrap().as_ref()).unwrap();
        let path = |name: &str| record.git().folder().join(name);
        for name in [REFERENCE, "refs/raas/unconfirmed"] {
            fs::write(path(name), "x\n").unwrap();
        }
        record.mend_files().unwrap();
        assert!(path(REFERENCE).exists() && !path("refs/raas/unconfirmed").exists());
    }

    #[test]
    fn a_flip_in_the_settings_that_is_not_found_means_nothing() {
        let (record, _folder) = record();
        let path = record.git().folder().join("config");
        let good = fs::read(&path).unwrap();
        let mut found = 0;
        for at in 0..good.len() {
            // Each bit in turn: git is run for each flip.
            let bit = 1 << (at % 8);
            let mut bytes = good.clone();
            bytes[at] ^= bit;
            fs::write(&path, &bytes).unwrap();
            let (old, new) = (good[at], bytes[at]);
            let same =
                old.eq_ignore_ascii_case(&new) || (old.is_ascii_whitespace() && new.is_ascii_whitespace());
            found += usize::from(!record.has_sound_settings());
            assert!(same || !record.has_sound_settings(), "byte {at} of the settings: {old} is {new}");
        }
        assert!(found > good.len() / 2, "{found}");
    }

    #[test]
    fn damaged_lines_of_the_log_are_found_and_removed() {
        let (record, _folder) = record();
        let path = record.log_file();
        let good = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = good.split_inclusive('\n').collect();
        assert_eq!(lines.len(), 2, "{good}");
        for at in [0, 40, 79, 80, lines[0].len() - 1] {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = b'!';
            fs::write(&path, bytes).unwrap();
            assert_eq!(record.damaged_files().unwrap(), [format!("logs/{REFERENCE}: damaged")], "byte {at}");
            assert_eq!(record.mend_files().unwrap().len(), 1);
            assert!(record.damaged_files().unwrap().is_empty());
            record.last_logged().unwrap();
            fs::write(&path, &good).unwrap();
        }
        let head = record.head().unwrap().unwrap();
        record.begin_log(&head).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), lines[1]);
        record.begin_log(&head).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), lines[1], "it can be done twice");
    }

    #[test]
    fn packed_references_have_one_form() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let good = format!("# pack-refs with: peeled fully-peeled sorted \n{id} refs/heads/main\n^{id}\n");
        assert!(are_packed_references(good.as_bytes()) && are_packed_references(b""));
        for (from, to) in [("fully", "fullx"), ("# p", "! p"), ("cde", "cDe"), ("refs/", "qefs/"), ("^", "~")]
        {
            assert!(!are_packed_references(good.replacen(from, to, 1).as_bytes()), "{from}");
        }
        assert!(!are_packed_references(good.trim_end().as_bytes()));
        assert!(!are_packed_references(format!("{id} {ASIDE}{}\n", id.replace('0', "1")).as_bytes()));
    }
}
