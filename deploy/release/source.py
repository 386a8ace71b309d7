"""The sources that a release is made from: their commit, and the version that it gives."""

import dataclasses
import pathlib
import re
import subprocess
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]


class ReleaseError(Exception):
    """Something cannot be made, or is not as it must be."""


def output(*command, **options):
    """The output of a program that must succeed."""
    done = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, **options)
    return done.stdout.decode()


def git(*words):
    return output("git", "-C", ROOT, *words).strip()


def crate_version():
    """The version of the workspace."""
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def commit():
    """The commit and its time, in seconds."""
    revision, seconds = git("log", "-1", "--format=%H %ct").split()
    return revision, int(seconds)


@dataclasses.dataclass(frozen=True)
class Source:
    """What is released."""

    revision: str
    # When the commit was made: the only time that a release holds.
    seconds: int
    # As dpkg and rpm order versions.
    version: str
    is_modified: bool


def source(version=None):
    """The commit of the working tree, and the version of its packages unless the caller names another."""
    revision, seconds = commit()
    is_modified = git("status", "--porcelain", "--untracked-files=no") != ""
    if version is None:
        tags = git("tag", "--points-at", "HEAD", "--list", "v*").split()
        version = version_of(crate_version(), tags, seconds, revision, is_modified)
    elif not re.fullmatch(r"[0-9][A-Za-z0-9.+~]*", version):
        raise ReleaseError(f"`{version}` is no version: digits, letters, `.`, `+` and `~`, a digit first")
    return Source(revision, seconds, version, is_modified)


def version_of(crate, tags, seconds, revision, is_modified):
    """The crate's version at its tag. A version before it, newer for each commit, everywhere else."""
    wrong = [tag for tag in tags if tag != f"v{crate}"]
    if wrong:
        raise ReleaseError(f"the commit has the tag {wrong[0]}, but Cargo.toml says {crate}")
    if tags and not is_modified:
        return crate
    time = output("date", "--utc", "--date", f"@{seconds}", "+%Y%m%d%H%M%S").strip()
    # `~` sorts before the end of a version.
    return f"{crate}~git{time}.{revision[:8]}" + (".modified" if is_modified else "")
