"""Builds the static program, with no path of this machine in it."""

import dataclasses
import os
import pathlib
import shutil
import subprocess

from release.source import ROOT, ReleaseError, commit, output

# The compiler of C, which links, compiles the second. cargo links in the folder of the workspace.
STATIC = ["-C", "target-feature=+crt-static", "-C", "link-arg=deploy/release/static_names.c"]


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A processor, and what everybody calls it."""

    # rpm and the names of files.
    name: str
    deb: str
    # The beginning of the names of GNU's programs for it; empty for this machine's own.
    prefix: str

    @property
    def target(self):
        """As Rust names it."""
        return f"{self.name}-unknown-linux-gnu"

    def tool(self, name):
        """A program of binutils or gcc for this processor."""
        return self.prefix + name

    def is_missing(self):
        """Why nothing can be built for this processor here, or None."""
        if not shutil.which(self.tool("gcc")):
            return f"{self.tool('gcc')} is not installed"
        folder = pathlib.Path(output("rustc", "--print", "target-libdir", "--target", self.target).strip())
        if not list(folder.glob("libstd-*.rlib")):
            return f"Rust's target {self.target} is not installed"
        return None


X86_64 = Architecture("x86_64", "amd64", "")
AARCH64 = Architecture("aarch64", "arm64", "aarch64-linux-gnu-")


def build(architecture, profile, target_dir, features=(), more=None):
    """Builds the program with a profile of Cargo.toml, and returns its path."""
    home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    places = {home: "/cargo", ROOT: "/raas", target_dir: "/target"}
    rust = [*STATIC]
    rust += [f"--remap-path-prefix={place}={name}" for place, name in places.items()]
    c = " ".join(f"-ffile-prefix-map={place}={name}" for place, name in places.items())
    target = architecture.target.replace("-", "_")
    environment = os.environ | {
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(rust),
        "CFLAGS_" + target: c,
        "CARGO_TARGET_DIR": str(target_dir),
        "SOURCE_DATE_EPOCH": str(commit()[1]),
    }
    if architecture.prefix:
        environment["CC_" + target] = architecture.tool("gcc")
        environment[f"CARGO_TARGET_{target.upper()}_LINKER"] = architecture.tool("gcc")
    command = ["cargo", "build", "--locked", "--package", "raas", "--profile", profile]
    command += ["--target", architecture.target, *features]
    subprocess.run(command, cwd=ROOT, check=True, env=environment | (more or {}))
    # The only profile whose folder has another name.
    folder = "debug" if profile == "dev" else profile
    return target_dir / architecture.target / folder / "raas"


def is_static(program):
    """Whether a program runs without any library of the machine."""
    return "INTERP" not in output("readelf", "--program-headers", "--wide", program)


def check_architecture(program, architecture):
    """Fails if a program is for another processor."""
    machine = {"x86_64": "X86-64", "aarch64": "AArch64"}[architecture.name]
    if machine not in output("readelf", "--file-header", program):
        raise ReleaseError(f"{program} is no program for {architecture.name}")
