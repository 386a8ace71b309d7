//! A manual page, made from the definition of a command.

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// The exit codes, which are the same for all commands.
const EXIT_CODES: &str = "Exit codes:";
const EXAMPLE: &str = "Example:";

/// `raas-access-add.1`
pub(super) fn file_name(command: &Command) -> String {
    format!("{}.1", name(command))
}

fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// The page in the language of man.
pub(super) fn of(command: &Command) -> Vec<u8> {
    let man = Man::new(command.clone())
        .title(name(command).to_uppercase())
        .source(format!("raas {}", env!("CARGO_PKG_VERSION")))
        .manual("raas");
    let mut page = Vec::new();
    let written = man
        .render_title(&mut page)
        .and_then(|()| man.render_name_section(&mut page))
        .and_then(|()| synopsis(command).to_writer(&mut page))
        .and_then(|()| man.render_description_section(&mut page))
        .and_then(|()| man.render_options_section(&mut page))
        .and_then(|()| match command.has_subcommands() {
            true => man.render_subcommands_section(&mut page),
            false => Ok(()),
        })
        .and_then(|()| more_sections(command).to_writer(&mut page));
    written.expect("a vector takes every byte");
    page
}

/// The usage as in the help, which does not repeat every option.
fn synopsis(command: &Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.control("nf", []);
    for line in usage.lines() {
        roff.text([roman(line.trim_start_matches("Usage:").trim())]);
    }
    roff.control("fi", []);
    roff
}

/// What the help has below the options: exit codes and examples. Each line stays a line.
fn more_sections(command: &Command) -> Roff {
    let mut roff = Roff::new();
    let help = command.get_after_long_help().or(command.get_after_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    let mut is_open = false;
    for line in help.lines() {
        let heading = match line {
            EXIT_CODES => "EXIT STATUS",
            EXAMPLE => "EXAMPLES",
            "" => continue,
            line => {
                roff.text([roman(line.trim())]);
                continue;
            }
        };
        if is_open {
            roff.control("fi", []);
        }
        roff.control("SH", [heading]);
        roff.control("nf", []);
        is_open = true;
    }
    if is_open {
        roff.control("fi", []);
    }
    if name(command) != "raas" {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold("raas"), roman("(1), which has the exit codes of all commands")]);
    }
    roff
}
