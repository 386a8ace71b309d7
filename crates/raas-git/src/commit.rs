//! Making a commit with `git fast-import`: one process whatever the number of files, and no working tree.

use std::io::{self, Seek as _, Write};
use std::process::{Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::GitError;
use crate::git::Git;

/// A commit to make: the parent's tree with the changes.
#[derive(Debug)]
pub(crate) struct Commit<'a> {
    /// The branch, `refs/heads/…`; it moves only if it is still at the parent.
    pub(crate) branch: &'a str,
    pub(crate) parent: Option<&'a str>,
    /// Path to content, or to nothing for a file that goes.
    pub(crate) changes: &'a [(String, Option<Vec<u8>>)],
    pub(crate) message: &'a str,
}

/// Where a commit waits for its signature. A run that is killed in between leaves it there, and the next takes it.
const UNSIGNED: &str = "refs/raas/unsigned";

impl Commit<'_> {
    /// Makes it.
    pub(crate) fn make(&self, git: &Git) -> Result<(), GitError> {
        if !wants_signature(git)? {
            return self.import(git, self.branch);
        }
        // fast-import cannot sign, so what it made is made again around the same tree.
        self.import(git, UNSIGNED)?;
        let signed = self.sign(git)?;
        // An empty old value means that the branch must not be there.
        git.run(&["update-ref", self.branch, &signed, self.parent.unwrap_or_default()])?;
        git.run(&["update-ref", "-d", UNSIGNED]).map(drop)
    }

    fn import(&self, git: &Git, reference: &str) -> Result<(), GitError> {
        let who = identity(git);
        let mut command = git.command();
        command
            // Small commits as loose objects, which `git gc --auto` packs together; a pack for each would pile up.
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
        let told = match child.stdin.take() {
            Some(stdin) => self.write(&mut io::BufWriter::new(stdin), &who, reference),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        let output: Output = child.wait_with_output().map_err(GitError::no_git)?;
        if !output.status.success() {
            return Err(git.failed("fast-import", &output));
        }
        told.map_err(|error| git.odd(&format!("it does not take what to commit: {error}")))
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

    /// The id of the same commit with a signature, made as the operator's git is configured to.
    fn sign(&self, git: &Git) -> Result<String, GitError> {
        let mut command = git.command();
        let configured = git.ask(&["var", "GIT_COMMITTER_IDENT"]).is_ok_and(|found| found.is_some());
        if !configured {
            for name in ["GIT_AUTHOR", "GIT_COMMITTER"] {
                command.env(format!("{name}_NAME"), NOBODY.0).env(format!("{name}_EMAIL"), NOBODY.1);
            }
        }
        command.args(["commit-tree", "-S", "-F", "-"]);
        if let Some(parent) = self.parent {
            command.args(["-p", parent]);
        }
        command.arg(format!("{UNSIGNED}^{{tree}}"));
        // A file and not an argument: with some thousand tags the message is longer than an argument may be.
        let message = || {
            let mut file = tempfile::tempfile()?;
            file.write_all(self.message.as_bytes())?;
            file.rewind()?;
            Ok::<_, io::Error>(file)
        };
        let message = message().map_err(|error| git.odd(&format!("no temporary file: {error}")))?;
        command.stdin(message);
        let output = git.succeed(command, "commit-tree -S")?;
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

/// A path as fast-import reads it whatever is in it.
fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Who publishes where git knows of nobody.
const NOBODY: (&str, &str) = ("raas", "raas@localhost");

/// Who publishes, as the operator's git is configured, and now.
fn identity(git: &Git) -> String {
    // `Name <address> seconds zone`; git refuses to make one up where nothing is configured.
    let configured = git.run(&["var", "GIT_COMMITTER_IDENT"]).ok().map(|line| line.trim().to_owned());
    configured.filter(|line| line.contains('<') && !line.starts_with('<')).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        format!("{} <{}> {now} +0000", NOBODY.0, NOBODY.1)
    })
}
