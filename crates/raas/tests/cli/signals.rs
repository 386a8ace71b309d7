//! SIGINT, SIGTERM and SIGHUP end every command in the same way.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use raas_testkit::pulp2::Export;

use crate::sandbox::Sandbox;

const SIGNALS: [(&str, i32); 3] = [("INT", 130), ("TERM", 143), ("HUP", 129)];

fn wait_for(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal to a process, or to a group if the id is negative.
fn send(signal: &str, id: i64) {
    let sent = Command::new("kill").args(["-s", signal, "--", &id.to_string()]).status().unwrap();
    assert!(sent.success());
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
    for (signal, code) in SIGNALS {
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
        send(signal, child.id().into());
        let (found, lines) = ended(child);
        drop(stdin);
        let line = format!("Interrupted by SIG{signal}: nothing was published");
        assert_eq!((found, lines), (Some(code), vec![line]));
    }
}

#[test]
fn a_signal_to_the_whole_group_does_not_cut_a_commit() {
    for (signal, code) in SIGNALS {
        let sandbox = Sandbox::new();
        let path = sandbox.write("app.tar", Export::chain("app", 2).tar());
        let (search, mark) = slow_git(&sandbox, "fast-import");
        let mut command = sandbox.command(&["push", "acme", "app", "--from", &path]);
        command.env("PATH", search).process_group(0).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        wait_for(|| mark.exists());
        send(signal, -i64::from(child.id()));
        let (found, lines) = ended(child);
        let said = lines.join("\n");
        assert_eq!(found, Some(code), "{said}");
        let line = format!("Interrupted by SIG{signal}: the publication is made");
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
fn nohup_is_heeded_with_a_configuration_repository() {
    let sandbox = Sandbox::new();
    let ssh = sandbox.write("silent", "#!/bin/sh\nsleep 60\n");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let mut raas = sandbox.command(&["--config-repo", "git@silent.example.com:conf", "config", "show"]);
    raas.env("GIT_SSH_COMMAND", &ssh);
    let mut command = Command::new("nohup");
    command.arg(raas.get_program()).args(raas.get_args());
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
    send("HUP", child.id().into());
    thread::sleep(Duration::from_millis(200));
    assert_eq!(child.try_wait().unwrap(), None, "it goes on");
    send("TERM", child.id().into());
    let (found, lines) = ended(child);
    assert_eq!(found, Some(143), "{lines:?}");
    assert_eq!(fs::read_dir(&clones).unwrap().count(), 0);
}

#[test]
fn a_server_stops_at_a_hangup_too() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["setup", "acme"]);
    for (signal, _) in SIGNALS {
        let mut server = sandbox.serve(&[]);
        send(signal, server.child.id().into());
        assert_eq!(server.child.wait().unwrap().code(), Some(0), "{signal}");
    }
}
