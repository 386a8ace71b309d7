//! SIGINT, SIGTERM and SIGHUP end every command in the same way.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use raas_testkit::pulp2::Export;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::s3::layout;
use crate::sandbox::{Sandbox, send};

const SIGNALS: [(&str, Signal, i32); 3] =
    [("INT", Signal::INT, 130), ("TERM", Signal::TERM, 143), ("HUP", Signal::HUP, 129)];

fn wait_for(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        thread::sleep(Duration::from_millis(10));
    }
}

/// The exit code of a child, and its lines.
fn ended(child: Child) -> (Option<i32>, Vec<String>) {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said.lines().map(str::to_owned).collect())
}

/// A `git` that leaves a mark and waits before it does the command of this name, and then does it.
fn slow_git(sandbox: &Sandbox, verb: &str) -> (String, std::path::PathBuf) {
    let mark = sandbox.path("mark");
    let folder = sandbox.path("bin");
    fs::create_dir_all(&folder).unwrap();
    let path = std::env::var("PATH").unwrap();
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *\" {verb} \"*) : > '{}'; sleep 1;; esac\nPATH='{path}' exec git \"$@\"\n",
        mark.display()
    );
    fs::write(folder.join("git"), script).unwrap();
    fs::set_permissions(folder.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    (format!("{}:{path}", folder.display()), mark)
}

#[test]
fn each_signal_has_one_line_and_its_exit_code() {
    let sandbox = Sandbox::new();
    for (name, signal, code) in SIGNALS {
        // The push waits for its source.
        let mut command = sandbox.command(&["push", "acme", "app", "--from", "-"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        let status = format!("/proc/{}/status", child.id());
        // The mask of the signals that a process handles. Source: proc_pid_status(5), `SigCgt`.
        wait_for(|| {
            let text = fs::read_to_string(&status).unwrap();
            let mask = text.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim().to_owned();
            u64::from_str_radix(&mask, 16).unwrap() & 0x4003 == 0x4003
        });
        send(child.id(), signal);
        let (found, lines) = ended(child);
        drop(stdin);
        let line = format!("Interrupted by SIG{name}: nothing was published");
        assert_eq!((found, lines), (Some(code), vec![line]));
    }
}

#[test]
fn a_signal_to_the_whole_group_does_not_cut_a_commit() {
    for (name, signal, code) in SIGNALS {
        let sandbox = Sandbox::new();
        let path = sandbox.write("app.tar", Export::chain("app", 2).tar());
        let (search, mark) = slow_git(&sandbox, "fast-import");
        let mut command = sandbox.command(&["push", "acme", "app", "--from", &path]);
        command.env("PATH", search).process_group(0).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        wait_for(|| mark.exists());
        let group = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        kill_process_group(group, signal).unwrap();
        let (found, lines) = ended(child);
        let said = lines.join("\n");
        assert_eq!(found, Some(code), "{said}");
        let line = format!("Interrupted by SIG{name}: the publication is made");
        assert_eq!(lines.iter().filter(|said| said.starts_with(&line)).count(), 1, "{said}");
        assert!(!said.contains("error") && !said.contains("fsck"), "{said}");
        assert_eq!(sandbox.commits("acme"), 1);
        assert!(sandbox.files("acme/bucket").iter().all(|name| !name.contains("_uploads")), "{said}");
        // The next push completes it.
        let report = sandbox.json(&["push", "acme", "app", "--from", &path, "--json"]);
        assert_eq!(report["changed"], false, "{report:#}");
    }
}

#[test]
fn an_interrupted_push_to_the_home_says_what_it_removes() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["setup", "acme"]);
    let path = sandbox.write("app.tar", layout(1, 64 << 20));
    let mut command = sandbox.command(&["push", "acme", "app", "--from", &path]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let uploads = sandbox.home().join("acme/bucket/_uploads");
    let has_files =
        |run: fs::DirEntry| fs::read_dir(run.path()).is_ok_and(|mut files| files.next().is_some());
    wait_for(|| fs::read_dir(&uploads).is_ok_and(|mut runs| runs.any(|run| run.is_ok_and(has_files))));
    send(child.id(), Signal::INT);
    let (found, lines) = ended(child);
    let place = uploads.display();
    let line =
        format!("Interrupted by SIGINT: nothing was published; what was unfinished in {place} is removed");
    assert!(found == Some(130) && lines.contains(&line), "{found:?}: {lines:?}");
    assert_eq!(fs::read_dir(&uploads).unwrap().count(), 0);
}

#[test]
fn nohup_is_heeded_with_a_configuration_repository() {
    let sandbox = Sandbox::new();
    let ssh = sandbox.write("silent", "#!/bin/sh\nsleep 60\n");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let mut raas = sandbox.command(&["--config-repo", "git@silent.example.com:conf", "config", "show"]);
    raas.env("GIT_SSH_COMMAND", &ssh);
    // A program inherits the signals that are ignored, as under `nohup`.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(raas.get_program()).args(raas.get_args());
    for (name, value) in raas.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(folder) = raas.get_current_dir() {
        command.current_dir(folder);
    }
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let clones = sandbox.home().join("_config");
    wait_for(|| fs::read_dir(&clones).is_ok_and(|clones| clones.count() > 1));
    send(child.id(), Signal::HUP);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(child.try_wait().unwrap(), None, "it goes on");
    send(child.id(), Signal::TERM);
    let (found, lines) = ended(child);
    assert_eq!(found, Some(143), "{lines:?}");
    assert_eq!(fs::read_dir(&clones).unwrap().count(), 0);
}

#[test]
fn a_server_stops_at_a_hangup_too() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["setup", "acme"]);
    for (name, signal, _) in SIGNALS {
        let mut server = sandbox.serve(&[]);
        send(server.child.id(), signal);
        assert_eq!(server.child.wait().unwrap().code(), Some(0), "{name}");
    }
}
