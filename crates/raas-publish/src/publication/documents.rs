//! Checks of documents before they are published.

use raas_types::crane::{Document, Severity, lint};

use raas_base::failure::{Failure, Kind};
use raas_git::Change;

/// Refuses a document that servers would not load: its repository would vanish from them.
pub(super) fn check(changes: &[Change]) -> Result<(), Failure> {
    for (path, content) in changes {
        let Some(content) = content.as_ref().filter(|_| path.ends_with(".json")) else { continue };
        let refused = |reason: String| {
            Err(Failure::new(Kind::Refused, format!("{path} would not be served"))
                .caused_by(reason)
                .hint("report this as an error in raas; nothing was published"))
        };
        if content.len() as u64 > Document::MAX_SIZE {
            return refused(format!("it has {} bytes, more than {}", content.len(), Document::MAX_SIZE));
        }
        if let Some(finding) = lint(content).into_iter().find(|finding| finding.severity == Severity::Error) {
            return refused(finding.to_string());
        }
    }
    Ok(())
}
