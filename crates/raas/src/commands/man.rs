//! `raas man`.

mod page;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command};
use raas_base::failure::{Context as _, Failure, Kind};

use crate::output::{self, number};

/// Print the manual page of a command, or write the pages of all commands
///
/// The pages have the same texts as `raas help`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  raas man push | man -l -\n  raas man --to /usr/local/share/man/man1"
)]
pub(crate) struct Arguments {
    /// Print the page of this command [default: raas itself]
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,

    /// Write the pages of all commands into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    to: Option<PathBuf>,
}

/// Prints or writes manual pages of a command line.
pub(crate) fn run(arguments: &Arguments, command_line: Command) -> Result<ExitCode, Failure> {
    // `raas help` has no page: it prints the help of the other commands.
    let mut root = command_line.disable_help_subcommand(true);
    root.build();
    match &arguments.to {
        Some(folder) => {
            fs::create_dir_all(folder).context(|| format!("cannot make {}", folder.display()))?;
            let count = write_all(&root, folder)?;
            output::line(&format!("Wrote {} to {}", number(count, "page"), folder.display()));
        }
        None => output::raw(&page::of(find(&root, &arguments.command)?)),
    }
    Ok(ExitCode::SUCCESS)
}

fn find<'a>(root: &'a Command, words: &[String]) -> Result<&'a Command, Failure> {
    words.iter().try_fold(root, |command, word| {
        command.find_subcommand(word).ok_or_else(|| {
            Failure::new(Kind::Usage, format!("raas has no command `{}`", words.join(" ")))
                .hint("run `raas help` to see the commands")
        })
    })
}

/// Writes the pages of a command and of all commands below it. Returns their number.
fn write_all(command: &Command, folder: &Path) -> Result<u64, Failure> {
    let file = folder.join(page::file_name(command));
    fs::write(&file, page::of(command)).context(|| format!("cannot write {}", file.display()))?;
    command.get_subcommands().try_fold(1, |count, below| Ok(count + write_all(below, folder)?))
}
