//! Making a commit with `git fast-import`: one process whatever the number of files, and no working tree.

use std::io::{self, Write};
use std::process::{Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use super::git::{Git, no_git};
use super::{Change, CommitId};
use crate::failure::{Context as _, Failure};

/// Commits the changes on top of the parent. The branch moves only if it is still at the parent.
pub(super) fn commit(
    git: &Git,
    branch: &str,
    parent: Option<&CommitId>,
    changes: &[Change],
    message: &str,
) -> Result<(), Failure> {
    let who = identity(git);
    let mut child = git
        .command()
        // Small commits as loose objects, which `git gc --auto` packs together; a pack for each would pile up.
        .args(["-c", "fastimport.unpackLimit=1000"])
        .args(["fast-import", "--quiet", "--done", "--date-format=raw"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context(no_git)?;
    let told = match child.stdin.take() {
        Some(stdin) => write(&mut io::BufWriter::new(stdin), &who, branch, parent, changes, message),
        None => Err(io::ErrorKind::BrokenPipe.into()),
    };
    let output: Output = child.wait_with_output().context(no_git)?;
    if !output.status.success() {
        return Err(git.failed("fast-import", &output));
    }
    told.context(|| "cannot tell git what to commit".into())
}

fn write(
    to: &mut impl Write,
    who: &str,
    branch: &str,
    parent: Option<&CommitId>,
    changes: &[Change],
    message: &str,
) -> io::Result<()> {
    writeln!(to, "commit {branch}\ncommitter {who}")?;
    data(to, message.as_bytes())?;
    if let Some(parent) = parent {
        writeln!(to, "from {parent}")?;
    }
    for (path, content) in changes {
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

fn data(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    writeln!(to, "data {}", bytes.len())?;
    to.write_all(bytes)?;
    writeln!(to)
}

/// A path as fast-import reads it whatever is in it.
fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Who publishes, as the operator's git is configured, and now.
fn identity(git: &Git) -> String {
    // `Name <address> seconds zone`; git refuses to make one up where nothing is configured.
    let configured = git.run(&["var", "GIT_COMMITTER_IDENT"]).ok().map(|line| line.trim().to_owned());
    configured.filter(|line| line.contains('<') && !line.starts_with('<')).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        format!("raas <raas@localhost> {now} +0000")
    })
}
