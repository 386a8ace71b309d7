//! Makes a commit with `git fast-import`: one process for any number of files, without a working tree.

use std::io::{self, Seek as _, Write};
use std::process::{Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::GitError;
use crate::git::Git;

/// A commit to make: the tree of the parent with the changes.
#[derive(Debug)]
pub(crate) struct Commit<'a> {
    /// The branch, `refs/heads/…`. It moves only if it is still at the parent.
    pub(crate) branch: &'a str,
    pub(crate) parent: Option<&'a str>,
    /// The new content of each path, or `None` to remove the file.
    pub(crate) changes: &'a [(String, Option<Vec<u8>>)],
    pub(crate) message: &'a str,
}

/// The reference of a commit that is not signed yet. After a kill it stays, and the next commit overwrites it.
const UNSIGNED: &str = "refs/raas/unsigned";

impl Commit<'_> {
    /// Makes the commit, signed if the operator's git signs commits.
    pub(crate) fn make(&self, git: &Git) -> Result<(), GitError> {
        if !wants_signature(git)? {
            return self.import(git, self.branch);
        }
        // fast-import cannot sign: a second, signed commit is made with the same tree.
        self.import(git, UNSIGNED)?;
        let signed = self.sign(git)?;
        // An empty old value means that the branch must not exist.
        git.run(&["update-ref", self.branch, &signed, self.parent.unwrap_or_default()])?;
        git.run(&["update-ref", "-d", UNSIGNED]).map(drop)
    }

    fn import(&self, git: &Git, reference: &str) -> Result<(), GitError> {
        let who = identity(git);
        let mut command = git.command();
        command
            // A small commit becomes loose objects, which `git gc --auto` packs: a pack for each commit would pile up.
            .args(["-c", "fastimport.unpackLimit=1000"])
            .args(["fast-import", "--quiet", "--done", "--date-format=raw"]);
        if reference == UNSIGNED {
            command.arg("--force");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(GitError::no_git)?;
        let written = match child.stdin.take() {
            Some(stdin) => self.write(&mut io::BufWriter::new(stdin), &who, reference),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        let output: Output = child.wait_with_output().map_err(GitError::no_git)?;
        if !output.status.success() {
            return Err(git.failed("fast-import", &output));
        }
        written.map_err(|error| git.unexpected(&format!("fast-import does not read its input: {error}")))
    }

    fn write(&self, to: &mut impl Write, who: &str, reference: &str) -> io::Result<()> {
        writeln!(to, "commit {reference}\ncommitter {who}")?;
        data(to, self.message.as_bytes())?;
        if let Some(parent) = self.parent {
            writeln!(to, "from {parent}")?;
        }
        for (path, content) in self.changes {
            match content {
                Some(content) => {
                    writeln!(to, "M 100644 inline {}", quoted(path))?;
                    data(to, content)?;
                }
                None => writeln!(to, "D {}", quoted(path))?,
            }
        }
        writeln!(to, "done")?;
        to.flush()
    }

    /// Makes the signed commit as the operator's git is configured, and returns its id.
    fn sign(&self, git: &Git) -> Result<String, GitError> {
        // The program that signs may ask for a passphrase.
        let mut command = git.foreground_command();
        let configured = git.ask(&["var", "GIT_COMMITTER_IDENT"]).is_ok_and(|found| found.is_some());
        if !configured {
            for name in ["GIT_AUTHOR", "GIT_COMMITTER"] {
                command
                    .env(format!("{name}_NAME"), DEFAULT_IDENTITY.0)
                    .env(format!("{name}_EMAIL"), DEFAULT_IDENTITY.1);
            }
        }
        command.args(["commit-tree", "-S", "-F", "-"]);
        if let Some(parent) = self.parent {
            command.args(["-p", parent]);
        }
        command.arg(format!("{UNSIGNED}^{{tree}}"));
        // The message of a commit with thousands of tags is too long for an argument.
        let message = || {
            let mut file = tempfile::tempfile()?;
            file.write_all(self.message.as_bytes())?;
            file.rewind()?;
            Ok::<_, io::Error>(file)
        };
        let message = message().map_err(|error| git.unexpected(&format!("no temporary file: {error}")))?;
        command.stdin(message);
        let output = git.succeed(command, "commit-tree -S").map_err(GitError::of_signing)?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

fn wants_signature(git: &Git) -> Result<bool, GitError> {
    let configured = git.ask(&["config", "--type=bool", "--get", "commit.gpgSign"])?;
    Ok(configured.is_some_and(|value| value.trim() == "true"))
}

fn data(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    writeln!(to, "data {}", bytes.len())?;
    to.write_all(bytes)?;
    writeln!(to)
}

/// A path in the quotes of fast-import, with any characters.
fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// The name and address of the publisher if git has none.
const DEFAULT_IDENTITY: (&str, &str) = ("raas", "raas@localhost");

/// The publisher as the operator's git is configured, and the time.
fn identity(git: &Git) -> String {
    // `Name <address> seconds zone`. Without a configuration, git may fail or invent a name.
    let configured = git.run(&["var", "GIT_COMMITTER_IDENT"]).ok().map(|line| line.trim().to_owned());
    configured.filter(|line| line.contains('<') && !line.starts_with('<')).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        format!("{} <{}> {now} +0000", DEFAULT_IDENTITY.0, DEFAULT_IDENTITY.1)
    })
}
