//! `raas completions`.

use std::process::ExitCode;

use clap::{Args, Command, ValueEnum};
use clap_complete::aot;
use raas_base::failure::Failure;

use crate::output;

/// Print a script that completes the command line in a shell
///
/// The script completes commands, options and the values that an option may have.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  raas completions bash > /etc/bash_completion.d/raas\n  raas completions zsh > /usr/local/share/zsh/site-functions/_raas\n  raas completions fish > ~/.config/fish/completions/raas.fish"
)]
pub(crate) struct Arguments {
    /// Print the script for this shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

/// Prints the completions of a command line.
pub(crate) fn run(arguments: &Arguments, mut command_line: Command) -> Result<ExitCode, Failure> {
    let shell = match arguments.shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    let mut script = Vec::new();
    aot::generate(shell, &mut command_line, "raas", &mut script);
    output::raw(&script);
    Ok(ExitCode::SUCCESS)
}
