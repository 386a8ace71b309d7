//! Reads the words and the environment variables of a command line.

use std::env;
use std::ffi::{OsStr, OsString};

use clap::builder::{BoolishValueParser, Resettable, TypedValueParser as _};
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};

/// Reads the command line.
///
/// # Errors
/// The words, or the values of variables, do not make a command.
pub(crate) fn parse<C: CommandFactory + FromArgMatches>(
    words: impl IntoIterator<Item = OsString>,
) -> Result<C, clap::Error> {
    let mut command = with_lenient_variables(C::command());
    let matches = command.try_get_matches_from_mut(words)?;
    C::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// An empty variable counts as unset, as in many files of variables. The variable of an option without a value takes the
/// words that people write for yes and no.
fn with_lenient_variables(command: Command) -> Command {
    let lenient = |arg: Arg| {
        let Some(variable) = arg.get_env() else { return arg };
        if env::var_os(variable).is_some_and(|value| value.is_empty()) {
            return arg.env(Resettable::Reset);
        }
        match arg.get_action() {
            ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
            _ => arg,
        }
    };
    command.mut_args(lenient).mut_subcommands(with_lenient_variables)
}

/// Reads an answer, in the words that the variable of an option without a value takes too.
///
/// # Errors
/// The text is none of these words.
pub(crate) fn yes_or_no(text: &str) -> Result<bool, String> {
    let answer = BoolishValueParser::new().parse_ref(&Command::new("raas"), None, OsStr::new(text));
    answer.map_err(|_| format!("`{text}` is neither `yes` nor `no`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_words_of_variables() {
        for (words, expected) in [
            (["1", "y", "yes", "YES", "t", "true", "True", "on"], Ok(true)),
            (["0", "n", "no", "NO", "f", "false", "False", "off"], Ok(false)),
            (["", "2", "ja", "yes ", "maybe", "-", "none", "tru"], Err(())),
        ] {
            for word in words {
                assert_eq!(yes_or_no(word).map_err(drop), expected, "{word:?}");
            }
        }
    }
}
