//! A home and a working folder for one test, and the command that runs in them.

use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Once, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::printed_json;

pub(crate) struct Sandbox {
    folder: TempDir,
}

/// The file of the only trusted certificate.
const AUTHORITY: &str = "authority.pem";

/// A certificate that no server of a test has.
fn authority() -> &'static str {
    static PEM: OnceLock<String> = OnceLock::new();
    PEM.get_or_init(|| rcgen::generate_simple_self_signed(["nobody.example".into()]).unwrap().cert.pem())
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        reset_interrupts();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("work")).unwrap();
        fs::write(folder.path().join(AUTHORITY), authority()).unwrap();
        Self { folder }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A file in the working folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    /// The file of the user's configuration.
    pub(crate) fn user_config(&self) -> PathBuf {
        self.folder.path().join(".config/raas/raas.cfg")
    }

    /// Prepares a command to run in another folder, which has no configuration.
    pub(crate) fn elsewhere(&self, arguments: &[&str]) -> Command {
        let folder = self.folder.path().join("elsewhere");
        fs::create_dir_all(&folder).unwrap();
        let mut command = self.command(arguments);
        command.current_dir(folder);
        command
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Prepares a command to run in the working folder, without the settings of the user who runs the tests.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raas"));
        self.contain(&mut command);
        command.args(arguments);
        command
    }

    pub(crate) fn contain(&self, command: &mut Command) {
        command
            .current_dir(self.folder.path().join("work"))
            .env("RAAS_HOME", self.home())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env_remove("RAAS_CONF_REPO")
            // Tests name locations elsewhere, and ask only this machine.
            .env("RAAS_OFFLINE", "true")
            // Logins of the user's docker and podman.
            .env("HOME", self.folder.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("DOCKER_CONFIG")
            .env_remove("REGISTRY_AUTH_FILE")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env_remove("AWS_ENDPOINT_URL")
            .env_remove("AWS_ENDPOINT_URL_S3")
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .env_remove("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .env_remove("TRACEPARENT")
            // Reading the many root certificates of this machine is slow in an unoptimised program.
            .env("SSL_CERT_FILE", self.folder.path().join(AUTHORITY))
            .env_remove("SSL_CERT_DIR")
            .stdin(Stdio::null());
    }

    /// Runs the command. The schema of its command describes its JSON.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        printed_json::check(arguments, &output);
        output
    }

    /// The standard output of a run that must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        succeeded(&self.run(arguments))
    }

    /// The standard output of [`ok`](Self::ok) as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(arguments)).unwrap()
    }

    /// The standard error of a run that must end with this exit code.
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains("error: "), "{error}");
        error
    }

    /// Runs the command with this standard input.
    pub(crate) fn fed(&self, input: &[u8], arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that has read enough closes its standard input.
        drop(stdin.write_all(input));
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        printed_json::check(arguments, &output);
        output
    }

    /// The relative paths of all files below a folder of the home.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let mut files = Vec::new();
        let root = self.home().join(folder);
        walk(&root, &root, &mut files);
        files.sort();
        files
    }

    /// The number of the vendor's publications.
    pub(crate) fn commits(&self, vendor: &str) -> usize {
        let git_dir = self.home().join(vendor).join("metadata.git");
        let output =
            Command::new("git").arg("--git-dir").arg(git_dir).args(["log", "--oneline", "main"]).output();
        String::from_utf8(output.unwrap().stdout).unwrap().lines().count()
    }

    /// The id of the vendor's last commit.
    pub(crate) fn head(&self, vendor: &str) -> String {
        let git_dir = self.home().join(vendor).join("metadata.git");
        let output = Command::new("git").arg("--git-dir").arg(git_dir).args(["rev-parse", "main"]).output();
        String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
    }

    /// Makes a commit on top of the last one in which a file has this content, as somebody does who uses git by hand.
    pub(crate) fn commit_by_hand(&self, vendor: &str, path: &str, content: &str) {
        let git = |arguments: &[&str], input: &str| {
            let mut command = Command::new("git");
            command.arg("--git-dir").arg(self.home().join(vendor).join("metadata.git")).args(arguments);
            command.env("GIT_INDEX_FILE", self.path("index"));
            for who in ["AUTHOR", "COMMITTER"] {
                command.env(format!("GIT_{who}_NAME"), "x").env(format!("GIT_{who}_EMAIL"), "x@x");
            }
            let file = self.write("input", input);
            let output = command.stdin(fs::File::open(file).unwrap()).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        git(&["read-tree", "main"], "");
        let blob = git(&["hash-object", "-w", "--stdin"], content);
        git(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{path}")], "");
        let tree = git(&["write-tree"], "");
        let commit = git(&["commit-tree", &tree, "-p", "main", "-m", "By hand"], "");
        git(&["update-ref", "refs/heads/main", &commit], "");
    }

    /// Starts a stateless server, which has no registration. It prints its address.
    pub(crate) fn serve_alone(&self, arguments: &[&str]) -> Server {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(arguments);
        Server::started(command)
    }

    pub(crate) fn serve(&self, arguments: &[&str]) -> Server {
        self.serve_logged(arguments, Stdio::null())
    }

    /// Starts a server that writes its log to this file.
    pub(crate) fn serve_logged(&self, arguments: &[&str], log: impl Into<Stdio>) -> Server {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(arguments).stderr(log);
        let child = command.spawn().unwrap();
        let notes = self.home().join("_servers");
        let prefix = format!("{}-", child.id());
        let begun = Instant::now();
        let address = loop {
            let note = fs::read_dir(&notes).into_iter().flatten().flatten().find(|entry| {
                let name = entry.file_name().into_string().unwrap();
                name.starts_with(&prefix) && name.ends_with(".json")
            });
            if let Some(note) = note {
                let note: Value = serde_json::from_slice(&fs::read(note.path()).unwrap()).unwrap();
                break note["address"].as_str().unwrap().parse().unwrap();
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "the server does not start");
            thread::sleep(Duration::from_millis(10));
        };
        Server { child, address, log: None }
    }
}

/// The digest of a tag in the report of a command.
pub(crate) fn digest_of<'a>(report: &'a Value, tag: &str) -> &'a Value {
    let tags = report["tags"].as_array().unwrap();
    &tags.iter().find(|listed| listed["tag"] == tag).unwrap_or_else(|| panic!("no tag {tag}: {report}"))["digest"]
}

/// The names of the tags in the report of a command.
pub(crate) fn tags_of(report: &Value) -> Vec<&str> {
    report["tags"].as_array().unwrap().iter().map(|listed| listed["tag"].as_str().unwrap()).collect()
}

pub(crate) fn succeeded(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(root, &path, files);
        } else {
            files.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

/// Sends a signal to a process that the test has started.
pub(crate) fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
}

/// Lets programs that the tests start be interrupted. `nohup` ignores SIGHUP and a shell's `&` SIGINT, and programs inherit
/// that; a signal that has a handler is not ignored by the programs that a process starts.
fn reset_interrupts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        for kind in [SignalKind::interrupt(), SignalKind::hangup()] {
            if ignored & (1 << (kind.as_raw_value() - 1)) != 0 {
                drop(signal(kind).unwrap());
            }
        }
    });
}

/// A running server, which is killed at the end of the test.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    /// Reads the log of a stateless server to its end.
    log: Option<JoinHandle<String>>,
}

impl Server {
    /// Starts a server that prints its address.
    pub(crate) fn started(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let (mut line, mut log) = (String::new(), String::new());
        // The server logs notes about its configuration before.
        while !line.starts_with("Serving") {
            log.push_str(&line);
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended");
        }
        let address = line.trim().rsplit("http://").next().unwrap().parse();
        // The rest of the output is read too, so that the server never waits for the test.
        let log = thread::spawn(move || {
            // The log of a killed server may end in the middle of a character.
            drop(said.read_to_string(&mut log));
            log
        });
        Self { child, address: address.unwrap_or_else(|_| panic!("{line}")), log: Some(log) }
    }

    /// Sends SIGTERM.
    pub(crate) fn signal(&self) {
        send(self.child.id(), Signal::TERM);
    }

    /// Asks a stateless server to stop. Returns its log.
    pub(crate) fn stop_and_log(mut self) -> String {
        self.signal();
        self.child.wait().unwrap();
        self.log.take().unwrap().join().unwrap()
    }

    /// Asks the server to stop. Returns its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
