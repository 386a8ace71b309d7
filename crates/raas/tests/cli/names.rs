//! Stable names for what differs between two runs of a command.

use std::collections::BTreeMap;

/// The names that were given so far.
#[derive(Default)]
pub(crate) struct Names {
    digests: BTreeMap<String, String>,
    commits: BTreeMap<String, String>,
}

impl Names {
    /// The line with digests and commits numbered in the order of their appearance, and without times.
    pub(crate) fn stable(&mut self, line: &str) -> String {
        let mut stable = String::new();
        // `raas status` says of each check how long it took, and a push how long it took.
        if let Some((before, after)) = line.split_once("\"seconds\": ") {
            return format!("{before}\"seconds\": N{}", if after.ends_with(',') { "," } else { "" });
        }
        let took = line.strip_suffix(" ms)").and_then(|line| line.rsplit_once(" ("));
        let mut rest = took.map_or(line, |(line, _)| line);
        while let Some(first) = rest.chars().next() {
            let end =
                rest.find(|c: char| !c.is_ascii_alphanumeric() && !"-:.".contains(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end.max(first.len_utf8()));
            stable.push_str(&self.word(word));
            rest = after;
        }
        stable
    }

    fn word(&mut self, word: &str) -> String {
        let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
        let bare = word.trim_end_matches([':', '.']);
        let end = &word[bare.len()..];
        if let Some(hex) = bare.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && is_hex(hex)) {
            let number = self.digests.len() + 1;
            let name = self.digests.entry(hex.to_owned()).or_insert_with(|| format!("DIGEST-{number}"));
            return format!("{name}{end}");
        }
        if matches!(bare.len(), 12 | 40) && is_hex(bare) {
            let number = self.commits.len() + 1;
            let name =
                self.commits.entry(bare[..12].to_owned()).or_insert_with(|| format!("COMMIT-{number}"));
            return format!("{name}{end}");
        }
        if bare.len() == 20 && bare.ends_with('Z') && bare.as_bytes()[10] == b'T' {
            return format!("TIME{end}");
        }
        word.to_owned()
    }
}
