//! Git commands over a network. Each has a time limit, and leaves no process behind.

use std::io::{Read, Seek};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use raas_base::interrupt;

use crate::error::GitError;
use crate::git::{Git, plain_command};
use crate::login::Login;

/// A repository on another machine, or in another folder.
#[derive(Debug, Clone)]
pub struct Remote {
    /// The address. It may hold a password: see [`raas_base::redact`].
    pub address: String,
    /// The time limit of one command.
    pub timeout: Duration,
}

/// The pause between two looks at a running command.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

impl Remote {
    /// Clones the last commit of a branch, or of the default branch, into a folder that does not exist yet. The clone
    /// has no files: a check-out would run the filters that the repository's `.gitattributes` names.
    /// `Repository::write_files` writes them.
    pub fn clone_into(&self, folder: &Path, branch: Option<&str>) -> Result<(), GitError> {
        self.run(self.clone_command(folder, branch), "clone").map(drop)
    }

    fn clone_command(&self, folder: &Path, branch: Option<&str>) -> Command {
        let mut command = plain_command();
        let login = Login::of(&self.address);
        login.apply(&mut command);
        // raas needs no history here: a push on top of the last commit works without it.
        command.args([
            "clone",
            "--quiet",
            "--no-checkout",
            "--depth=1",
            "--single-branch",
            "--no-tags",
            "--template=",
        ]);
        if let Some(branch) = branch {
            command.arg(format!("--branch={branch}"));
        }
        command.args(self.upload_pack()).arg("--").arg(&login.address).arg(folder);
        command
    }

    /// The last commit of a branch, or of the default branch. `None` if there is none.
    pub fn head(&self, branch: Option<&str>) -> Result<Option<String>, GitError> {
        let mut command = plain_command();
        let login = Login::of(&self.address);
        login.apply(&mut command);
        let reference = branch.map_or("HEAD".to_owned(), |branch| format!("refs/heads/{branch}"));
        command.args(["ls-remote", "--quiet"]).args(self.upload_pack());
        command.arg("--").arg(&login.address).arg(reference);
        let output = self.run(command, "ls-remote")?;
        Ok(output.split_whitespace().next().map(str::to_owned))
    }

    /// Fetches the last commit of a branch into the branch of the same name.
    pub fn fetch(&self, git: &Git, branch: &str) -> Result<(), GitError> {
        let mut command = git.command();
        Login::of(&self.address).apply(&mut command);
        command.args(["fetch", "--quiet", "--depth=1", "--no-tags", "--update-head-ok"]);
        command.args(self.upload_pack());
        command.args(["origin", &format!("+refs/heads/{branch}:refs/heads/{branch}")]);
        self.run(command, "fetch").map(drop)
    }

    /// Pushes a commit to a branch. The last commit of the branch must be in the commit's history.
    pub fn push(&self, git: &Git, commit: &str, branch: &str) -> Result<(), GitError> {
        let mut command = git.command();
        Login::of(&self.address).apply(&mut command);
        command.args(["push", "--quiet", "origin", &format!("{commit}:refs/heads/{branch}")]);
        self.run(command, "push").map(drop)
    }

    /// The option by which git reads a repository in a folder of this machine, whoever owns the folder.
    ///
    /// git starts `upload-pack` there without the settings of the command, so the trust of [`plain_command`] does not
    /// reach it. `upload-pack` runs nothing of the repository. `receive-pack` runs the repository's hooks, and gets no
    /// such trust.
    fn upload_pack(&self) -> Option<&'static str> {
        is_local(&self.address).then_some("--upload-pack=git -c 'safe.directory=*' upload-pack")
    }

    fn run(&self, mut command: Command, verb: &str) -> Result<String, GitError> {
        if !is_ssh_chosen() {
            // ssh must not ask questions, and must not wait for a silent host.
            command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o ConnectTimeout=15");
        }
        // A helper that outlives git would hold a pipe open, and raas would wait for it. So the output goes to files.
        let files = || Ok::<_, std::io::Error>((tempfile::tempfile()?, tempfile::tempfile()?));
        let (mut stdout_file, mut stderr_file) = files().map_err(GitError::no_git)?;
        let handles = || Ok::<_, std::io::Error>((stdout_file.try_clone()?, stderr_file.try_clone()?));
        let (stdout, stderr) = handles().map_err(GitError::no_git)?;
        // A process group of its own, so that ssh and other helpers end with git.
        let child = command.process_group(0).stdout(stdout).stderr(stderr).spawn();
        let mut child = child.map_err(GitError::no_git)?;
        let group = interrupt::ProcessGroup::new(child.id());
        let begun = Instant::now();
        let status = loop {
            match child.try_wait().map_err(GitError::no_git)? {
                Some(status) => break status,
                None if begun.elapsed() > self.timeout => {
                    group.kill();
                    drop(child.wait());
                    return Err(GitError::timed_out(verb, &self.address, self.timeout.as_secs()));
                }
                None => thread::sleep(POLL_INTERVAL),
            }
        };
        drop(group);
        let read = |file: &mut std::fs::File| {
            let mut bytes = Vec::new();
            file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map_err(GitError::no_git)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        if status.success() {
            return read(&mut stdout_file);
        }
        let printed = read(&mut stderr_file)?;
        let printed = if printed.trim().is_empty() { status.to_string() } else { printed };
        Err(GitError::command_failed(verb, &self.address, &printed))
    }
}

/// Whether an address is a folder of this machine. Source: git-clone(1), "Git URLs".
fn is_local(address: &str) -> bool {
    match address.split_once("://") {
        Some((scheme, _)) => scheme == "file",
        // `host:path` is ssh, unless a slash comes before the colon.
        None => address.split('/').next().is_none_or(|first| !first.contains(':')),
    }
}

/// Whether the user has chosen an ssh command.
fn is_ssh_chosen() -> bool {
    if ["GIT_SSH_COMMAND", "GIT_SSH"].iter().any(|name| std::env::var_os(name).is_some()) {
        return true;
    }
    let configured = plain_command().args(["config", "--get", "core.sshCommand"]).output();
    configured.is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::GitErrorKind;

    fn remote(address: impl Into<String>) -> Remote {
        Remote { address: address.into(), timeout: Duration::from_secs(30) }
    }

    #[test]
    fn a_missing_repository_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let failed = remote("file:///nonexistent/r.git").clone_into(&folder.path().join("x"), None);
        assert_eq!(failed.unwrap_err().kind, GitErrorKind::NotFound);
    }

    /// Runs git as a person would.
    fn git(folder: &Path, arguments: &[&str]) -> String {
        let mut command = plain_command();
        command.arg("-C").arg(folder).args(["-c", "user.name=A", "-c", "user.email=a@example.com"]);
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A bare repository with a commit on `main`, and a clone with another commit.
    fn bare_and_clone(folder: &Path) -> (Remote, Git) {
        let bare = folder.join("bare.git");
        git(folder, &["init", "--quiet", "--bare", "--initial-branch=main", "bare.git"]);
        git(folder, &["init", "--quiet", "--initial-branch=main", "work"]);
        let work = folder.join("work");
        git(&work, &["commit", "--quiet", "--allow-empty", "--message=one"]);
        git(&work, &["push", "--quiet", bare.to_str().unwrap(), "main"]);
        let remote = remote(bare.to_str().unwrap());
        remote.clone_into(&folder.join("clone"), None).unwrap();
        git(&folder.join("clone"), &["commit", "--quiet", "--allow-empty", "--message=two"]);
        (remote, Git::new(folder.join("clone/.git")))
    }

    fn hint(error: GitError) -> String {
        raas_base::failure::Failure::from(error).hints().join("\n")
    }

    #[test]
    fn the_last_commit_is_known_without_a_clone() {
        let folder = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| git(folder.path(), arguments);
        git(&["init", "--quiet", "--initial-branch=main"]);
        let remote = remote(format!("file://{}", folder.path().display()));
        assert_eq!(remote.head(None).unwrap(), None);
        git(&["commit", "--quiet", "--allow-empty", "--message=one"]);
        let one = git(&["rev-parse", "HEAD"]);
        assert_eq!(remote.head(None).unwrap(), Some(one.clone()));
        assert_eq!(remote.head(Some("main")).unwrap(), Some(one));
        assert_eq!(remote.head(Some("other")).unwrap(), None);
    }

    #[test]
    fn only_folders_of_this_machine_are_local() {
        for local in ["/srv/x.git", "./x", "x.git", "file:///srv/x", "./a:b"] {
            assert!(is_local(local), "{local}");
        }
        for elsewhere in ["git@host:x.git", "host:x", "ssh://host/x", "https://host/x", "git://host/x"] {
            assert!(!is_local(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_repository_of_another_user_on_this_machine_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let (remote, _) = bare_and_clone(folder.path());
        for (n, address) in [remote.address.clone(), format!("file://{}", remote.address)].iter().enumerate()
        {
            let remote = Remote { address: address.clone(), ..remote.clone() };
            let mut command = remote.clone_command(&folder.path().join(n.to_string()), None);
            // git then takes every repository for one of another user.
            command.env("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1");
            remote.run(command, "clone").unwrap();
        }
    }

    #[test]
    fn the_hint_for_a_distrusted_repository_names_safe_directory() {
        let folder = tempfile::tempdir().unwrap();
        let (remote, git) = bare_and_clone(folder.path());
        let mut command = git.command();
        command.env("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1");
        // receive-pack runs hooks, so raas does not make git trust the repository.
        command.args(["push", "--quiet", "origin", "HEAD:refs/heads/main"]);
        let error = remote.run(command, "push").unwrap_err();
        assert_eq!(error.kind, GitErrorKind::DubiousOwnership);
        assert!(hint(error).contains("safe.directory"));
    }

    #[test]
    fn the_hint_for_a_refused_push_is_chosen_by_what_the_remote_says() {
        let table = [
            (
                "GH006: Protected branch update failed for refs/heads/main.",
                GitErrorKind::ProtectedBranch,
                "allow this user to push to the branch",
            ),
            (
                "GitLab: You are not allowed to push code to protected branches on this project.",
                GitErrorKind::ProtectedBranch,
                "allow this user to push to the branch",
            ),
            ("the commit message has no ticket", GitErrorKind::Declined, "its rules or hooks"),
        ];
        for (says, kind, part) in table {
            let folder = tempfile::tempdir().unwrap();
            let (remote, git) = bare_and_clone(folder.path());
            let hook = Path::new(&remote.address).join("hooks/pre-receive");
            std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
            std::fs::write(&hook, format!("#!/bin/sh\necho '{says}' >&2\nexit 1\n")).unwrap();
            std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            let error = remote.push(&git, "HEAD", "main").unwrap_err();
            assert_eq!(error.kind, kind, "{says}");
            let hint = hint(error);
            assert!(hint.contains(part), "{hint}");
        }
    }

    #[test]
    fn the_hint_for_a_branch_below_a_working_tree_names_a_bare_repository() {
        let folder = tempfile::tempdir().unwrap();
        let (_, git) = bare_and_clone(folder.path());
        let work = folder.path().join("work");
        git.run(&["remote", "set-url", "origin", work.to_str().unwrap()]).unwrap();
        let error = remote(work.to_str().unwrap()).push(&git, "HEAD", "main").unwrap_err();
        assert_eq!(error.kind, GitErrorKind::CheckedOut);
        assert!(hint(error).contains("bare repository"));
    }

    #[test]
    fn a_command_that_hangs_ends_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let alive = folder.path().join("alive");
        let mut command = Command::new("sh");
        let child = format!("while :; do echo >> '{}'; sleep 0.01; done", alive.display());
        command.arg("-c").arg(format!("({child}) & sleep 30"));
        let remote = Remote { address: "x".into(), timeout: Duration::from_millis(200) };
        let begun = Instant::now();
        let failed = remote.run(command, "fetch").unwrap_err();
        assert_eq!(failed.kind, GitErrorKind::TimedOut);
        assert!(begun.elapsed() < Duration::from_secs(2));
        let written = || std::fs::metadata(&alive).map_or(0, |file| file.len());
        let before = written();
        thread::sleep(Duration::from_millis(200));
        assert_eq!(written(), before, "the child went on");
    }
}
