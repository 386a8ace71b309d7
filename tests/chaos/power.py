"""What a loss of power leaves, by the recorded system calls of a push into a folder.

The model keeps of a file only what was synced, and of a folder only the names that were there at its last
sync. A name that was not synced may be on the disk or not. So at each moment at which a reference may be on
the disk, all that it refers to must be there for certain. git's own files are taken to be on a file system
with a journal, as ext4, xfs and btrfs have it: a name is on the disk before a later name that was synced.
"""

import os
import pathlib
import re

from chaos.world import VENDOR, Violated

CALLS = (
    "openat,creat,write,pwrite64,writev,copy_file_range,sendfile,splice,ftruncate,rename,renameat,renameat2,"
    "link,linkat,unlink,unlinkat,rmdir,mkdir,mkdirat,fsync,fdatasync"
)
LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)(?:<([^>]*)>)?")
FD = re.compile(r"(?:\d+|AT_FDCWD)<([^>]*)>")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


class Disk:
    """The files below a folder: of each, whether its bytes and its name are on the disk."""

    def __init__(self, root):
        self.root = str(root)
        self.bytes, self.names = {}, {}
        for path in [root, *root.rglob("*")]:
            self.bytes[str(path)] = self.names[str(path)] = True

    def holds(self, path):
        return path.startswith(self.root)

    def opened(self, path, flags):
        if "O_CREAT" in flags and path not in self.names:
            self.names[path], self.bytes[path] = False, True
        if "O_TRUNC" in flags:
            self.bytes[path] = False

    def written(self, path):
        self.bytes[path] = False

    def synced(self, path):
        for name in self.names:
            if os.path.dirname(name) == path:
                self.names[name] = True
        self.bytes[path] = True

    def renamed(self, old, new):
        self.bytes[new], self.names[new] = self.bytes.pop(old, True), False
        self.names.pop(old, None)

    def linked(self, old, new):
        self.bytes[new], self.names[new] = self.bytes.get(old, True), False

    def made(self, path):
        self.bytes[path], self.names[path] = True, False

    def removed(self, path):
        self.bytes.pop(path, None)
        self.names.pop(path, None)

    def lost(self, below):
        """The files below a folder that a loss of power would take, or leave with other bytes."""
        found = []
        for path in self.names:
            if not path.startswith(below) or "/_uploads" in path:
                continue
            above = [path, *map(str, pathlib.PurePath(path).parents)]
            whole = self.bytes[path] and all(self.names.get(one, True) for one in above)
            if not whole:
                found.append(path)
        return found


def calls(trace):
    """The calls of a trace that succeeded, with the lines of interrupted calls put together."""
    pending = {}
    for line in trace.splitlines():
        pid = line.split(maxsplit=1)[0]
        if line.endswith("<unfinished ...>"):
            pending[pid] = line.removesuffix("<unfinished ...>").rstrip()
            continue
        if found := re.match(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$", line):
            line = pending.pop(pid, "") + found.group(2)
        if (found := LINE.match(line)) and not found.group(4).startswith("-"):
            yield found.group(2), found.group(3), found.group(5)


def paths_of(words):
    """The paths in the arguments of a call on names."""
    folder = FD.search(words)
    folder = folder.group(1) if folder else ""
    return [path if path.startswith("/") else os.path.join(folder, path) for path in QUOTED.findall(words)]


def replay(disk, trace, at_rename):
    """Does the calls of a trace on the model. `at_rename` gets each new name before it is given."""
    steps = 0
    for call, words, opened in calls(trace):
        steps += 1
        if call in ("openat", "creat"):
            if opened and disk.holds(opened):
                disk.opened(opened, words if call == "openat" else "O_CREAT|O_TRUNC")
        elif call in ("write", "pwrite64", "writev", "ftruncate", "copy_file_range", "sendfile", "splice"):
            target = FD.findall(words)
            target = target[-1:] if call in ("copy_file_range", "splice") else target[:1]
            if target and disk.holds(target[0]):
                disk.written(target[0])
        elif call in ("fsync", "fdatasync"):
            target = FD.search(words)
            if target and disk.holds(target.group(1)):
                disk.synced(target.group(1))
        else:
            paths = paths_of(words)
            if not paths or not disk.holds(paths[-1]):
                continue
            if call.startswith("rename"):
                at_rename(paths[0], paths[1])
                disk.renamed(*paths[:2])
            elif call.startswith("link"):
                at_rename(paths[0], paths[1])
                disk.linked(*paths[:2])
            elif call.startswith("mkdir"):
                disk.made(paths[0])
            else:
                disk.removed(paths[0])
    return steps


def check(place):
    """Pushes into a fresh home and into one with a publication, and checks the order of both."""
    steps = 0
    for fresh in [True, False]:
        place.restore()
        home = place.work / "fresh" if fresh else place.home
        if fresh:
            home.mkdir()
        steps += check_push(place, home)
    return steps


def check_push(place, home):
    disk = Disk(home)
    trace = place.work / "trace"
    before = ["strace", "-f", "-y", "--seccomp-bpf", "-qq", "-s", "4096", "-e", f"trace={CALLS}", "-o", trace]
    ended = place.ended(place.start(*place.push("new"), home=home, before=before))
    if ended.code != 0:
        raise Violated(f"the push fails: {ended}")
    vendor = home / VENDOR
    reference, revision = f"{vendor}/metadata.git/refs/heads/main", f"{vendor}/checkout/revision"
    seen = set()

    def at_rename(old, new):
        # git makes some files anew whenever it likes, such as lists of packs.
        is_derived = "/metadata.git/" in new and not re.search("/metadata.git/(refs|objects)/", new)
        if not is_derived and not disk.bytes.get(old, True):
            raise Violated(f"{new} gets its name before its bytes are synced")
        if new == reference:
            seen.add(new)
            # From here on, the publication may be on the disk.
            if lost := disk.lost(f"{vendor}/bucket/"):
                raise Violated(f"the commit may be on the disk before {lost}")
        if new == revision:
            seen.add(new)
            lost = [
                path for path in disk.lost(f"{vendor}/checkout/") if not path.endswith((".new", "revision"))
            ]
            if lost:
                raise Violated(f"servers may see the publication before {lost}")
            if not disk.bytes.get(reference, False):
                raise Violated("servers may see the publication before the commit is synced")

    steps = replay(disk, trace.read_text(errors="replace"), at_rename)
    if seen != {reference, revision}:
        raise Violated(f"the trace does not have the commit and the checkout: {seen}")
    lost = disk.lost(f"{vendor}/bucket/") + disk.lost(f"{vendor}/checkout/")
    # What makes the folder of the record a repository.
    needed = {f"{vendor}/metadata.git/HEAD", f"{vendor}/metadata.git/config"}
    lost += needed.intersection(disk.lost(f"{vendor}/metadata.git/"))
    if lost:
        raise Violated(f"after the push, these are not on the disk: {lost}")
    return steps
