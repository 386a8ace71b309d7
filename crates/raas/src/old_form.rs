//! The command line of the original tool: `raas ISV IMAGE` is `raas push ISV IMAGE`, if the vendor is known.
//!
//! A misspelt command is no vendor that is set up, so it never becomes a push.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::Cli;
use crate::command_line;

/// The push that the words mean, after clap has found no command in them.
///
/// # Errors
/// The words are no push of a known vendor. If they look like one, the error is a hint.
pub(crate) fn push(
    error: &clap::Error,
    words: impl Iterator<Item = OsString>,
) -> Result<Cli, Option<String>> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return Err(None);
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return Err(None);
    };
    let mut words: Vec<OsString> = words.collect();
    let Some(at) = words.iter().skip(1).position(|other| other == word.as_str()) else { return Err(None) };
    words.insert(at + 1, "push".into());
    let cli: Cli = command_line::parse(words).map_err(|_| None)?;
    match cli.push_of_known_vendor() {
        Some((true, _)) => Ok(cli),
        Some((false, image)) => Err(Some(format!(
            "run `raas push {word} {image}` to publish the image, if {word} is a vendor; no vendor of that name is known"
        ))),
        None => Err(None),
    }
}
