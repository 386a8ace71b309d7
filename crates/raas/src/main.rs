//! The `raas` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    raas::run()
}
