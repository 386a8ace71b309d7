"""A Debian machine of its own, which systemd runs: for what only a whole machine shows. Needs root."""

import contextlib
import os
import pathlib
import shutil

from harness.packages import TOOLS
from harness.process import result, run, running, wait_for

# What the packages need, and what makes the rest a machine.
PACKAGES = ["ca-certificates", "git", "systemd-sysv"]


def release_of_this_machine():
    """The name of this machine's Debian: a program that is not static needs the same libraries."""
    lines = pathlib.Path("/etc/os-release").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)["VERSION_CODENAME"]


def base():
    """The files of a new machine, made once. Nothing may change them."""
    release = release_of_this_machine()
    folder = TOOLS / f"machine-{release}-{'-'.join(PACKAGES)}"
    if not folder.exists():
        made = folder.with_name(f".{folder.name}-{os.getpid()}")
        shutil.rmtree(made, ignore_errors=True)
        TOOLS.mkdir(parents=True, exist_ok=True)
        options = ["--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        # Manual pages and translations of other programs.
        options += ["--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=force-unsafe-io"]
        run("mmdebstrap", *options, release, made, timeout=600)
        made.rename(folder)
    return folder


@contextlib.contextmanager
def new_root(folder):
    """The files of a new machine, in a folder of its own, until the end of the `with`."""
    layers = {name: folder / name for name in ("changes", "work", "root")}
    for layer in layers.values():
        layer.mkdir(parents=True)
    options = f"lowerdir={base()},upperdir={layers['changes']},workdir={layers['work']}"
    run("mount", "-t", "overlay", "-o", options, "overlay", layers["root"])
    try:
        yield layers["root"]
    finally:
        run("umount", layers["root"])


class Machine:
    """A machine that runs, with a network of its own that has loopback alone."""

    def __init__(self, root, process):
        self.root, self.process = root, process
        self.first = wait_for("the machine", self.find_first, process=process)
        wait_for("systemd", self.is_up, seconds=60, process=process)

    def find_first(self):
        """The process that is number 1 of the machine."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        found = [pid for pid in children.split() if self.program_of(pid).endswith(b"/systemd")]
        return found and int(found[0])

    @staticmethod
    def program_of(pid):
        with contextlib.suppress(OSError):
            return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        return b""

    def is_up(self):
        done = self.result("systemctl", "is-system-running")
        return done.stdout.strip() in ("running", "degraded")

    def command(self, *words):
        """The words that run a program of the machine on it."""
        spaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        clean = ["/usr/bin/env", "-i", "--chdir=/", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]
        clean.append("DEBIAN_FRONTEND=noninteractive")
        return ["nsenter", "--target", self.first, *spaces, *clean, *words]

    def in_network(self, *words):
        """The words that run a program of this machine in the other one's network."""
        return ["nsenter", "--target", self.first, "--net", *words]

    def result(self, *words, **options):
        return result(*self.command(*words), **options)

    def __call__(self, *words, **options):
        """Runs a program that must succeed, and returns its output."""
        return run(*self.command(*words), **options)

    def has(self, path):
        """Whether a file is there."""
        return self.result("test", "-e", path).returncode == 0

    def stat(self, path):
        """Mode, owner and group of a file, as in `640 root raas`."""
        return self("stat", "--format", "%a %U %G", path).strip()

    def state(self, unit, *names):
        """Properties of a unit, such as ActiveState."""
        text = self("systemctl", "show", unit, *[f"--property={name}" for name in names])
        found = dict(line.split("=", 1) for line in text.splitlines())
        return [found[name] for name in names]


@contextlib.contextmanager
def machine(folder, packages):
    """A new machine until the end of the `with`. It sees a folder of this machine as /packages."""
    command = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--private-network"]
    command += [f"--machine=raas-{os.getpid()}", f"--bind-ro={packages}:/packages"]
    command += ["--console=pipe", "--link-journal=no"]
    with (
        new_root(folder) as root,
        running([*command, f"--directory={root}"], folder / "machine.log") as process,
    ):
        host = Machine(root, process)
        try:
            yield host
        except BaseException as error:
            # A failing test shows what the units have written.
            error.add_note(host.result("journalctl", "--no-pager", "--lines=80").stdout)
            raise
