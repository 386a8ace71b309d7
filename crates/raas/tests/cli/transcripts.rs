//! What the commands print, word for word: transcripts of runs, kept as files beside this one.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use raas_testkit::generated;
use raas_testkit::oci::Layout;

use crate::names::Names;
use crate::sandbox::Sandbox;

/// Runs of the program, and what they print.
struct Transcript<'a> {
    sandbox: &'a Sandbox,
    text: String,
    names: Names,
}

impl<'a> Transcript<'a> {
    fn new(sandbox: &'a Sandbox) -> Self {
        Self { sandbox, text: String::new(), names: Names::default() }
    }

    fn run(&mut self, line: &str) {
        let arguments: Vec<&str> = line.split(' ').collect();
        let output = command(self.sandbox, &arguments).output().unwrap();
        self.text.push_str(&format!("$ raas {line}\n"));
        for line in self.lines(output.stdout) {
            self.line("", &line);
        }
        let mut lines = self.lines(output.stderr);
        // Layers are stored at the same time, in any order.
        lines.sort_by_key(|line| line.starts_with("Stored ").then(|| line.clone()));
        for line in lines {
            self.line("stderr: ", &line);
        }
        match output.status.code() {
            Some(0) => {}
            code => self.text.push_str(&format!("[exit code {}]\n", code.unwrap())),
        }
        self.text.push('\n');
    }

    fn lines(&self, output: Vec<u8>) -> Vec<String> {
        let text = String::from_utf8(output).unwrap();
        let text = text.replace(self.sandbox.home().to_str().unwrap(), "HOME");
        let file = self.sandbox.path("raas.cfg");
        let text = text.replace(file.parent().unwrap().to_str().unwrap(), "WORK");
        text.lines().map(str::to_owned).collect()
    }

    fn line(&mut self, before: &str, line: &str) {
        let line = format!("{before}{}", self.names.stable(line));
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn check(self, name: &str) {
        let text = self.text;
        generated::check(
            &format!("crates/raas/tests/cli/transcripts/{name}"),
            "--test cli transcripts",
            |_| text,
        );
    }
}

/// A run whose output does not depend on the environment of the tests.
fn command(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(arguments);
    for (name, _) in std::env::vars() {
        if (name.starts_with("RAAS_") && name != "RAAS_HOME") || name == "CRANE_CONFIG_PATH" {
            command.env_remove(name);
        }
    }
    command
        .env("COLUMNS", "100")
        .env("GIT_COMMITTER_NAME", "Jane")
        .env("GIT_COMMITTER_EMAIL", "jane@example.com");
    command.env("NO_COLOR", "1");
    command
}

fn image(tags: &[&str], content: &str) -> Vec<u8> {
    let mut layout = Layout::new();
    for tag in tags {
        let image = layout.simple_image(&format!("{content} {tag}"));
        layout.tag(&image, tag);
    }
    layout.tar()
}

#[test]
fn a_session_prints_what_it_printed_before() {
    let sandbox = Sandbox::new();
    sandbox.write("one.tar", image(&["1.0"], "one"));
    sandbox.write("two.tar", image(&["1.0", "2.0"], "two"));
    let config =
        sandbox.write("raas.cfg", "[openshift]\nauth_token = secret\nserver_url = https://u.example.com\n");
    // Whether other users may read it depends on the umask, and a warning on that.
    std::fs::set_permissions(config, Permissions::from_mode(0o600)).unwrap();
    let mut session = Transcript::new(&sandbox);
    for line in [
        "setup acme",
        "push acme app --from one.tar --dry-run",
        "push acme app --from one.tar",
        "push acme app --from one.tar",
        "push acme app --from two.tar --json",
        "push acme tools/app:2.0 --from two.tar --terse",
        "list acme",
        "list --json",
        "log acme",
        "log acme app -n 1 --json",
        "diff acme app",
        "diff acme app --json",
        "status acme",
        "status acme app --json",
        "status --egress acme",
        "rollback acme app",
        "unpublish acme app:1.0",
        "gc acme",
        "config check",
        "config show",
        "push acme App --from one.tar",
        "push acme app --from nothing.tar",
        "push acme app:3.0 --from two.tar",
        "list nobody",
        "log acme nothing",
    ] {
        session.run(line);
    }
    // How long a push took.
    let seconds = |line: &str| match line.rsplit_once("; ") {
        Some((before, last)) if last.ends_with(" s") => format!("{before}; SECONDS s"),
        _ => line.to_owned(),
    };
    session.text = session.text.lines().map(|line| seconds(line) + "\n").collect();
    session.check("session.txt");
}

#[test]
fn the_json_of_commands_is_what_it_was_before() {
    let sandbox = Sandbox::new();
    sandbox.write("one.tar", image(&["1.0"], "one"));
    sandbox.write("two.tar", image(&["1.0", "2.0"], "two"));
    sandbox.write("bad.json", "{}");
    let mut session = Transcript::new(&sandbox);
    for line in [
        "setup acme",
        "config check",
        "config show",
        "push acme app --from one.tar --dry-run",
        "push acme app --from one.tar",
        "push acme app --from two.tar",
        "tag acme app:stable app:2.0",
        "deprecate acme app:1.0 --use 2.0 --until 9999-12-31",
        "list",
        "log acme -n 2",
        "diff acme app",
        "rollback acme app",
        "retire acme app --keep 0",
        "unpublish acme app:1.0",
        "protect acme tools/*",
        "status acme",
        "status --egress",
        "gc acme",
        "lint bad.json",
    ] {
        session.run(&format!("{line} --json"));
    }
    // The command prints a random password.
    sandbox.ok(&["access", "add", "acme", "bigbank", "--repositories", "tools/*"]);
    for line in [
        "access show acme bigbank",
        "access list acme",
        "access grant acme bigbank app",
        "access revoke acme bigbank",
        "remove acme --yes",
        "push acme app --from nothing.tar",
        "push acme app --no-such-option",
    ] {
        session.run(&format!("{line} --json"));
    }
    session.check("json.txt");
}

#[test]
fn the_help_of_every_command_is_what_it_was_before() {
    let sandbox = Sandbox::new();
    let mut help = Transcript::new(&sandbox);
    for line in [
        "--help",
        "-h",
        "setup --help",
        "push --help",
        "push -h",
        "serve --help",
        "status --help",
        "list --help",
        "log --help",
        "diff --help",
        "rollback --help",
        "unpublish --help",
        "gc --help",
        "doctor --help",
        "pulls --help",
        "config --help",
        "config check --help",
        "config show --help",
        "lint --help",
        "version --help",
        "completions --help",
        "man --help",
    ] {
        help.run(line);
    }
    help.check("help.txt");
}
