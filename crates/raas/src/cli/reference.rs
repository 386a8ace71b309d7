//! `docs/cli.md`, made from the command line's definition.

use clap::{Arg, Command, CommandFactory as _};
use raas_testkit::generated;

use super::Cli;

const HEAD: &str = "\
# The command line

For everybody who runs raas: every command, with its options and an example. This page is generated from the definition of
the command line, which `raas --help` and `raas COMMAND --help` print too. `ISV` stands for the vendor; the name comes from
the tool that raas replaces. `IMAGE` stands for a repository.

Results go to standard output, and everything else to standard error. You may leave out arguments in brackets. If an
option has an environment variable, and you do not give the option, raas takes its value from the variable.

With `--json`, results and failures are JSON: [json/README.md](json/README.md) has the names and the schemas. `raas
completions` prints completions for a shell, and `raas man` prints these texts as manual pages.
";

#[test]
fn the_reference_of_commands_is_generated() {
    generated::check("docs/cli.md", "--lib generated", |_| reference());
}

#[test]
fn every_help_text_is_one_line_and_every_command_has_an_example() {
    let mut root = Cli::command();
    root.build();
    for command in commands(&root) {
        let name = command.get_bin_name().unwrap_or_default();
        let about = command.get_about().expect("a help text").to_string();
        assert!(about.len() <= 100, "{name}: {about}");
        let example = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        assert!(example.starts_with("Example:\n"), "{name} has no example");
        for argument in arguments(command) {
            let help = argument.get_help().expect("a help text").to_string();
            assert!(help.len() <= 100, "{name} {}: {help}", argument.get_id());
            assert!(
                help.starts_with(|c: char| c.is_ascii_uppercase()) && !help.ends_with('.'),
                "{name}: {help}"
            );
        }
    }
}

fn reference() -> String {
    let mut root = Cli::command();
    root.build();
    let mut text = format!("{HEAD}\n{}\n", contents(&root));
    text.push_str("\n## Global options\n\nEvery command has these options:\n\n");
    root.get_arguments()
        .filter(|argument| argument.is_global_set())
        .for_each(|argument| entry(argument, &mut text));
    text.push_str("\n## Exit codes\n\n| code | means |\n|---|---|\n");
    let codes = root.get_after_help().map(ToString::to_string).unwrap_or_default();
    for line in codes.lines().skip(1).take_while(|line| !line.is_empty()) {
        let (code, meaning) = line.trim().split_once("  ").expect("a code and its meaning");
        text.push_str(&format!("| {code} | {meaning} |\n"));
    }
    commands(&root).for_each(|command| section(command, &mut text));
    text
}

/// All commands, and below a command with commands of its own, these.
fn commands(root: &Command) -> Box<dyn Iterator<Item = &Command> + '_> {
    let listed = root.get_subcommands().filter(|command| command.get_name() != "help");
    Box::new(listed.flat_map(|command| std::iter::once(command).chain(commands(command))))
}

/// The arguments of a command itself.
fn arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    let own = |argument: &&Arg| {
        !argument.is_global_set() && !matches!(argument.get_id().as_str(), "help" | "version")
    };
    command.get_arguments().filter(own)
}

fn contents(root: &Command) -> String {
    let row = |command: &Command| {
        let name = command.get_name();
        format!("| [`raas {name}`](#raas-{name}) | {} |\n", command.get_about().expect("a help text"))
    };
    let rows: String =
        root.get_subcommands().filter(|command| command.get_name() != "help").map(row).collect();
    format!("| command | does |\n|---|---|\n{}", rows.trim_end())
}

fn section(command: &Command, text: &mut String) {
    let name = command.get_bin_name().expect("the command line is built");
    let level = if name.split(' ').count() > 2 { "###" } else { "##" };
    text.push_str(&format!("\n{level} {name}\n"));
    let help = command.get_long_about().or(command.get_about()).expect("a help text").to_string();
    help.split("\n\n").for_each(|paragraph| text.push_str(&format!("\n{}\n", sentence(paragraph))));
    let usage = command.clone().render_usage().to_string();
    let usage: Vec<&str> = usage.lines().map(|line| line.trim_start_matches("Usage:").trim()).collect();
    text.push_str(&format!("\n```text\n{}\n```\n", usage.join("\n")));
    let mut heading = "";
    let mut all: Vec<&Arg> = arguments(command).collect();
    // As in `--help`: arguments and options first, then the groups with headings.
    all.sort_by_key(|argument| argument.get_help_heading().is_some());
    for (n, argument) in all.into_iter().enumerate() {
        let group = argument.get_help_heading().unwrap_or_default();
        if group != heading {
            text.push_str(&format!("\n**{group}**\n"));
            heading = group;
            text.push('\n');
        } else if n == 0 {
            text.push('\n');
        }
        entry(argument, text);
    }
    if let Some(example) = command.get_after_long_help() {
        let example = example.to_string();
        let lines: Vec<&str> = example.lines().skip(1).map(str::trim).collect();
        text.push_str(&format!("\nExample:\n\n```sh\n{}\n```\n", lines.join("\n")));
    }
}

/// One argument: its form, its help, and where else its value comes from.
fn entry(argument: &Arg, text: &mut String) {
    let help = argument.get_long_help().or(argument.get_help()).expect("a help text").to_string();
    let mut words: Vec<String> = help.split("\n\n").map(sentence).collect();
    let values = argument.get_possible_values();
    if argument.get_action().takes_values() && !values.is_empty() {
        let value = |value: &clap::builder::PossibleValue| match value.get_help() {
            Some(help) => format!("`{}`: {help}", value.get_name()),
            None => format!("`{}`", value.get_name()),
        };
        words.push(format!("Values: {}.", values.iter().map(value).collect::<Vec<_>>().join("; ")));
    }
    let defaults: Vec<_> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        words.push(format!("Default: `{}`.", defaults.join(",")));
    }
    if let Some(variable) = argument.get_env() {
        words.push(format!("Environment: `{}`.", variable.to_string_lossy()));
    }
    text.push_str(&format!("- `{}`: {}\n", form(argument), words.join(" ")));
}

/// `-n, --max-count <COUNT>`, `[IMAGE]`
fn form(argument: &Arg) -> String {
    let shown = argument.to_string();
    match argument.get_short() {
        Some(short) if !argument.is_positional() => format!("-{short}, {shown}"),
        _ => shown,
    }
}

/// A help text as a sentence: clap's texts of one line have no full stop.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', ':']) { text.to_owned() } else { format!("{text}.") }
}
