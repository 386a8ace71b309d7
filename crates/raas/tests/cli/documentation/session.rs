//! A page's commands in a shell, and what they print.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use raas_testkit::generated;
use rustix::process::Signal;

use crate::names::Names;
use crate::sandbox::{Sandbox, send};

/// Where the reader of a page is.
const READERS_HOME: &str = "/home/jane";

type Hook = Box<dyn FnMut(&str, &mut Session)>;

/// A reader at a terminal.
pub(super) struct Session {
    sandbox: Sandbox,
    /// What the page has, and what stands for it here.
    stand_ins: Vec<(String, String)>,
    /// What a command prints here, and what the page has for it.
    sayings: Vec<(String, String)>,
    /// Beginnings of lines that the page does not have, since they come from what stands in here.
    hidden: Vec<String>,
    variables: BTreeMap<String, String>,
    servers: Vec<Child>,
    /// Runs before each command.
    hook: Option<Hook>,
}

/// A command, and what the page says that it prints.
struct Step<'a> {
    /// With the lines that a backslash continues.
    lines: Vec<&'a str>,
    printed: Vec<&'a str>,
}

impl Session {
    pub(super) fn new() -> Self {
        let sandbox = Sandbox::new();
        let programs = sandbox.path("../bin");
        fs::create_dir(&programs).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_raas"), programs.join("raas")).unwrap();
        let stand_ins = Vec::new();
        Self {
            sandbox,
            stand_ins,
            sayings: Vec::new(),
            hidden: Vec::new(),
            variables: BTreeMap::new(),
            servers: Vec::new(),
            hook: None,
        }
    }

    /// Gives the reader the sample of the repository.
    pub(super) fn has_sample(&mut self) {
        let sample = raas_testkit::fixtures::pulp2();
        self.write("fixtures/bigdata-app.tar", &fs::read(sample).unwrap());
    }

    pub(super) fn write(&mut self, name: &str, bytes: &[u8]) {
        self.sandbox.write(name, bytes);
    }

    /// Uses something else in place of what the page has, such as an address of this machine for a host.
    pub(super) fn stands_in(&mut self, in_page: &str, here: &str) {
        self.stand_ins.push((in_page.to_owned(), here.to_owned()));
    }

    /// Shows in the page something else than what a command prints here.
    pub(super) fn says(&mut self, here: &str, in_page: &str) {
        self.sayings.push((here.to_owned(), in_page.to_owned()));
    }

    /// Leaves out lines with this beginning.
    pub(super) fn hides(&mut self, beginning: &str) {
        self.hidden.push(beginning.to_owned());
    }

    pub(super) fn set(&mut self, variable: &str, value: &str) {
        self.variables.insert(variable.to_owned(), value.to_owned());
    }

    /// Runs this before each command.
    pub(super) fn before(&mut self, hook: impl FnMut(&str, &mut Session) + 'static) {
        self.hook = Some(Box::new(hook));
    }

    /// Runs a command that the page takes for done.
    pub(super) fn prepare(&mut self, command: &str) {
        let output = self.shell(command).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The commit of the last publication of the vendor of the documents.
    pub(super) fn last_commit(&self) -> Option<String> {
        let text = fs::read_to_string(self.home().join("bigdatainc/checkout/revision")).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Starts a server of the bucket at this address, which the page does not start.
    pub(super) fn server_elsewhere(&mut self, listen: &str) {
        let place = "bigdatainc --metadata s3://bigdatainc-images";
        self.begin(&format!("raas serve {place} --listen {listen} 2>elsewhere.log"), "elsewhere.log");
    }

    fn home(&self) -> PathBuf {
        self.sandbox.path("../.local/share/raas")
    }

    /// Runs the commands of a page in its order, and compares what they print with what the page has.
    pub(super) fn run(&mut self, page: &str) {
        generated::check(page, "--test cli documentation", |text| self.again(text));
    }

    /// The page with what the commands print now.
    fn again(&mut self, page: &str) -> String {
        let (mut before, mut now) = (Names::default(), Names::default());
        let mut text = String::new();
        let mut lines = page.lines();
        let mut file = None;
        let mut is_same = true;
        while let Some(line) = lines.next() {
            text.push_str(line);
            text.push('\n');
            let name = line.strip_prefix("<!-- file: ").and_then(|rest| rest.strip_suffix(" -->"));
            file = name.map(str::to_owned).or(file);
            let Some(language) = line.strip_prefix("```") else { continue };
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            if let Some(name) = file.take() {
                let content: String = block.iter().map(|line| format!("{}\n", self.here(line))).collect();
                self.sandbox.write(&name, content);
            }
            if language != "console" {
                block.iter().for_each(|line| text.push_str(&format!("{line}\n")));
                text.push_str("```\n");
                continue;
            }
            for step in steps(&block) {
                let printed = self.step(&step);
                let old: Vec<String> = stable(&mut before, step.printed.iter().copied());
                let new: Vec<String> = stable(&mut now, printed.iter().map(String::as_str));
                is_same &= old == new;
                let lines = step.lines.iter().copied().chain(printed.iter().map(String::as_str));
                lines.for_each(|line| text.push_str(&format!("{line}\n")));
            }
            text.push_str("```\n");
        }
        // What differs in each run stays as it is in the page.
        if is_same { page.to_owned() } else { text }
    }

    /// What a command prints, with the names of the page.
    fn step(&mut self, step: &Step<'_>) -> Vec<String> {
        let command = step.lines.join("\n");
        let command = self.here(command.strip_prefix("$ ").unwrap_or(&command));
        if let Some(mut hook) = self.hook.take() {
            hook(&command, self);
            self.hook = Some(hook);
        }
        if command == "kill %1" {
            let mut server = self.servers.pop().expect("the page has started a server");
            send(server.id(), Signal::TERM);
            assert!(server.wait().unwrap().success(), "the server ends with an error");
            return Vec::new();
        }
        if let Some(server) = command.strip_suffix(" &") {
            let log = server.rsplit_once("2>").expect("the log of a server goes to a file").1.trim();
            let address = self.begin(server, log);
            if !server.contains("--listen") {
                self.stands_in("127.0.0.1:5000", &address);
            }
            return Vec::new();
        }
        // The next command has the variables of this one.
        let script = format!(
            "exec 2>&1\n[ ! -e ../variables ] || . ../variables\n{command}\nstatus=$?\nexport -p >../variables\nexit $status"
        );
        let output = self.shell(&script).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // The page shows a failure only where it is meant.
        let is_failure = |line: &&str| {
            line.starts_with("error: ") || line.starts_with("FAIL ") || line.trim() == "\"error\": {"
        };
        let is_writing = std::env::var_os("UPDATE").is_some();
        let may_fail = is_writing || step.printed.iter().any(is_failure);
        assert!(output.status.success() || may_fail, "{command}: {}\n{text}", output.status);
        let is_shown = |line: &&str| !self.hidden.iter().any(|beginning| line.starts_with(beginning));
        text.lines().filter(is_shown).map(|line| self.in_page(line)).collect()
    }

    /// Starts a server, and returns its address when it serves.
    fn begin(&mut self, command: &str, log: &str) -> String {
        let mut server = self.shell(&format!("exec {command}"));
        let mut server = server.stdout(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        let line = loop {
            let said = fs::read_to_string(self.sandbox.path(log)).unwrap_or_default();
            let line = said.lines().find(|line| line.starts_with("Serving "));
            // A server without a home reads the bucket first.
            let is_ready = !command.contains("--from-config") || said.contains("metadata loaded");
            if let Some(line) = line.filter(|_| is_ready) {
                break line.to_owned();
            }
            let ended = server.try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed() < Duration::from_secs(20), "{command}: {said}");
            thread::sleep(Duration::from_millis(10));
        };
        self.servers.push(server);
        let address = line.split("://").nth(1).expect("a server says its address");
        address.split([' ', ';', ',']).next().unwrap().to_owned()
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        self.sandbox.contain(&mut command);
        for (name, _) in std::env::vars() {
            if name.starts_with("RAAS_")
                || name.starts_with("XDG_")
                || name.starts_with("AWS_")
                || name == "CRANE_CONFIG_PATH"
            {
                command.env_remove(name);
            }
        }
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(["-c", script])
            .env_remove("RAAS_HOME")
            .env("PATH", format!("{}:{path}", self.sandbox.path("../bin").display()))
            .env("RAAS_LISTEN", "127.0.0.1:0")
            .env("COLUMNS", "100")
            .env("NO_COLOR", "1")
            .env("GIT_COMMITTER_NAME", "Jane")
            .env("GIT_COMMITTER_EMAIL", "jane@example.com")
            .envs(&self.variables);
        command
    }

    /// A text of the page, for this machine.
    fn here(&self, text: &str) -> String {
        let replace = |text: String, (page, here): &(String, String)| text.replace(page, here);
        self.stand_ins.iter().fold(text.to_owned(), replace)
    }

    /// A text of this machine, for the page.
    fn in_page(&self, text: &str) -> String {
        let stand_ins = self.stand_ins.iter().rev();
        let text = stand_ins.fold(text.to_owned(), |text, (page, here)| text.replace(here, page));
        let text = self.sayings.iter().fold(text, |text, (here, page)| text.replace(here, page));
        let folder = self.sandbox.home();
        let folder = folder.parent().unwrap().to_str().unwrap();
        text.replace(folder, READERS_HOME).trim_end().to_owned()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for server in &mut self.servers {
            drop(server.kill());
            drop(server.wait());
        }
    }
}

fn steps<'a>(block: &[&'a str]) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'a>> = Vec::new();
    let mut goes_on = false;
    for line in block {
        match steps.last_mut() {
            Some(step) if goes_on => step.lines.push(line),
            _ if line.starts_with("$ ") => steps.push(Step { lines: vec![line], printed: Vec::new() }),
            Some(step) => step.printed.push(line),
            None => panic!("a transcript begins with a command: {line}"),
        }
        let is_command = steps.last().is_some_and(|step| step.printed.is_empty());
        goes_on = is_command && line.ends_with('\\');
    }
    steps
}

/// Lines without what differs in each run.
fn stable<'a>(names: &mut Names, lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut lines: Vec<String> = lines.map(|line| without_secrets(&without_seconds(line))).collect();
    // Layers are stored at the same time, in any order.
    for run in lines.chunk_by_mut(|a, b| a.starts_with("Stored ") && b.starts_with("Stored ")) {
        run.sort();
    }
    lines.iter().map(|line| names.stable(line).trim_end().to_owned()).collect()
}

/// `; 61 requests; 0.2 s` or ` (1.2 s)` at the end
fn without_seconds(line: &str) -> String {
    if let Some((before, last)) = line.rsplit_once(" (")
        && (last.ends_with(" ms)") || last.ends_with(" s)"))
    {
        return before.to_owned();
    }
    match line.rsplit_once("; ") {
        Some((before, last)) if last.ends_with(" s") => format!("{}; SECONDS s", without_seconds(before)),
        Some((before, last)) if last.ends_with(" requests") => format!("{before}; REQUESTS"),
        _ => line.to_owned(),
    }
}

/// A password of `raas access` is random, and the name of a pod depends on the address of the bucket service.
fn without_secrets(line: &str) -> String {
    let word = |word: &str| match word.split_once("-pod") {
        Some((set, number)) => {
            format!("{}-HASH-pod{number}", set.rsplit_once('-').map_or(set, |(name, _)| name))
        }
        None if word.starts_with("raas_") && word.len() > 20 => "SECRET".to_owned(),
        None => word.to_owned(),
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
