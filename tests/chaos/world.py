"""One place of trials: a home and a bucket that are put back before each trial. What must hold after it."""

import contextlib
import io
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tarfile
import time

from harness.archives import docker_save, pulp2_export, sha256, tar_of
from harness.memory_s3 import MemoryS3
from harness.process import Process

VENDOR, IMAGE = "acme", "app"
# A repository of Docker v1 images, which every home has beside the image that trials push.
V1_IMAGE = "v1app"
# A command that takes longer hangs.
LIMIT = 120
# Far less than the default, so that a hang costs seconds. The attempts are as many, without pauses.
STALL = 3
WAITS = [f"s3_stall_timeout = {STALL}", "s3_longest_pause = 0"]


class Violated(AssertionError):
    """Something that must hold does not."""


class Ended:
    """A command that has ended."""

    def __init__(self, code, log, seconds):
        self.code, self.log, self.seconds = code, log, seconds

    def __str__(self):
        return f"exit code {self.code} after {self.seconds:.1f} s: {self.log.strip()[-600:]}"


class Place:
    """A home at a fixed path, with a bucket in a folder or in a service.

    The path and the port stay, since documents hold them. `mode` is `folder`, `s3` (a service with
    conditional writes) or `plain` (a service without).
    """

    def __init__(self, program, work, mode, seed):
        self.program, self.work, self.mode = program, work, mode
        self.home, self.kept = work / "home", work / "kept"
        self.log = work / "raas.log"
        self.service = None if mode == "folder" else MemoryS3(mode == "s3")
        self.config = work / "raas.cfg"
        self.images = work / "images"
        self.seed = seed

    def __enter__(self):
        shutil.rmtree(self.work, ignore_errors=True)
        self.images.mkdir(parents=True)
        self.found = {}
        if self.service:
            self.service.__enter__()
            self.config.write_text(self.service.raas_cfg(VENDOR, *WAITS))
        else:
            self.config.write_text("")
        noise = random.Random(self.seed)
        for name, size in [("old", 30_000), ("new", 40_000), ("large", 18 << 20)]:
            layer = tar_of({"data": noise.randbytes(size)})
            docker_save(self.images / f"{name}.tar", f"{IMAGE}:latest", layer, sha256(layer))
        layers = [tar_of({f"data{number}": noise.randbytes(3_000)}) for number in range(2)]
        pulp2_export(self.images / "v1.tar", V1_IMAGE, layers)
        self.must("setup", VENDOR)
        self.must(*self.push("v1"))
        self.must(*self.push("old"))
        self.old = self.latest()
        self.kept_content = self.service and self.service.content.copy()
        shutil.copytree(self.home, self.kept, symlinks=True)
        self.new = {}
        for name in ["new", "large"]:
            self.restore()
            self.must(*self.push(name))
            self.new[name] = self.latest()
        self.restore()
        return self

    def __exit__(self, *_):
        if self.service:
            self.service.__exit__()
        shutil.rmtree(self.work, ignore_errors=True)

    def restore(self):
        """Puts home and bucket back: `old` is published."""
        shutil.rmtree(self.home, ignore_errors=True)
        if self.kept.exists():
            shutil.copytree(self.kept, self.home, symlinks=True)
        if self.service:
            self.service.hook, self.service.number = None, 0
            self.service.content = self.kept_content.copy()

    def keep(self, folder):
        """Copies what a trial has left into a folder."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.home, folder / "home", symlinks=True, ignore_dangling_symlinks=True)
        for key, (content, _) in (self.service.content.objects if self.service else {}).items():
            path = folder / "objects" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    # Commands

    def push(self, name):
        repository = V1_IMAGE if name == "v1" else IMAGE
        return ["push", VENDOR, repository, "--from", self.images / f"{name}.tar"]

    def command(self, *words, home=None):
        return [self.program, "--home", home or self.home, "--config", self.config, *words]

    def start(self, *words, home=None, before=()):
        """Starts a command in a session of its own."""
        log = self.work / f"raas-{time.monotonic_ns()}.log"
        return Process([*before, *self.command(*words, home=home)], log)

    def ended(self, process, limit=LIMIT):
        """Waits for a command. A command that hangs is ended, and violates."""
        begun = time.monotonic()
        try:
            code = process.child.wait(limit)
        except subprocess.TimeoutExpired:
            end_session(process.pid)
            process.child.wait()
            raise Violated(f"a command hangs: not done within {limit} s: {process.last_lines()}") from None
        log = process.log.read_text(errors="replace")
        process.log.unlink()
        return Ended(code, log, time.monotonic() - begun)

    def run(self, *words, home=None, limit=LIMIT):
        return self.ended(self.start(*words, home=home), limit)

    def must(self, *words, home=None, limit=LIMIT):
        """Runs a command that must succeed."""
        ended = self.run(*words, home=home, limit=limit)
        if ended.code != 0:
            raise Violated(f"`raas {' '.join(map(str, words))}` fails: {ended}")
        return ended

    def requests(self, *words):
        """How many requests a command sends."""
        return self.measured(*words)[0]

    def lasts(self, *words):
        """How many seconds a command lasts."""
        return self.measured(*words)[1]

    def measured(self, *words):
        if words not in self.found:
            self.restore()
            seconds = self.must(*words).seconds
            self.found[words] = self.service and self.service.number, seconds
            self.restore()
        return self.found[words]

    # What is published, as servers see it

    def object(self, key):
        """An object of the bucket; None if it is missing."""
        if self.service:
            found = self.service.content.objects.get(key)
            return found and found[0]
        path = self.home / VENDOR / "bucket" / key
        return path.read_bytes() if path.is_file() else None

    def files(self):
        """The metadata that servers follow."""
        if not self.service:
            checkout = self.home / VENDOR / "checkout"
            paths = [path for path in checkout.rglob("*") if path.is_file()]
            return {str(path.relative_to(checkout)): path.read_bytes() for path in paths}
        pointer = self.object("_metadata/current")
        if pointer is None:
            raise Violated("the bucket has no pointer")
        files = {}
        for part in json.loads(pointer)["parts"]:
            content = self.object(f"_metadata/{part['digest'].removeprefix('sha256:')}.tar.gz")
            if content is None or sha256(content) != part["digest"]:
                raise Violated(f"the pointer names part {part['digest']}, which is missing or damaged")
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                for member in tar:
                    if member.isfile():
                        files[member.name.removeprefix("./")] = tar.extractfile(member).read()
        return files

    def published(self):
        """Repository to tag to digest. Everything that is published must be whole."""
        files, found = self.files(), {}
        for path, content in files.items():
            name = path.removeprefix("crane/data/").removesuffix(".json")
            if not path.endswith(".json") or "+operator" in path:
                continue
            if name.endswith("/_v1"):
                self.must_have_v1(name.removesuffix("/_v1"), json.loads(content))
                continue
            document = json.loads(content).get("raas")
            if not document:
                continue
            found[name] = document["tags"]
            for digest in document["manifests"]:
                manifest = files.get(f"crane/data/{name}/_manifests/{digest.replace(':', '/')}")
                if manifest is None or sha256(manifest) != digest:
                    raise Violated(f"manifest {digest} of {name} is missing or damaged")
            for digest, blob in document["blobs"].items():
                content = self.object(f"{name}/_v2/blobs/{digest}")
                if content is None:
                    raise Violated(f"blob {digest} of {name} is published and missing")
                if sha256(content) != digest or blob.get("size", len(content)) != len(content):
                    raise Violated(f"blob {digest} of {name} is published and damaged")
        return found

    def must_have_v1(self, name, document):
        """Each Docker v1 image that a document publishes has its three files, as they were published."""
        for image, entry in document["raas"]["images"].items():
            files = {file: self.object(f"{name}/{image}/{file}") for file in ("json", "ancestry", "layer")}
            missing = sorted(file for file, content in files.items() if content is None)
            if missing:
                raise Violated(f"{', '.join(missing)} of image {image} of {name} is published and missing")
            for file in ("json", "layer"):
                if sha256(files[file]) != entry[file]:
                    raise Violated(f"{file} of image {image} of {name} is published and damaged")
            facts = json.loads(files["json"])
            if json.loads(files["ancestry"])[:2] != [one for one in (image, facts.get("parent")) if one]:
                raise Violated(f"ancestry of image {image} of {name} is published and damaged")

    def latest(self):
        return self.published()[IMAGE]["latest"]

    def must_serve(self, *digests):
        """Whatever has happened, one of these is published, and it is whole."""
        latest = self.published().get(IMAGE, {}).get("latest")
        if latest not in digests:
            raise Violated(f"published is {latest}, which is neither old nor new")
        return latest

    def must_recover(self, name="new", limit=30):
        """The same push again succeeds soon, and nothing is left of the run before."""
        if self.service:
            self.service.hook = None
        self.must(*self.push(name), limit=limit)
        self.must_serve(self.new[name])
        self.must_leave_nothing()
        self.must_be_healthy("after the recovery")

    def must_be_healthy(self, when):
        """`raas status` finds nothing wrong. No server runs here."""
        status = self.run("status", VENDOR)
        failed = [line for line in status.log.splitlines() if line.startswith("FAIL")]
        if status.code not in (0, 1) or [line for line in failed if not line.startswith("FAIL  server")]:
            raise Violated(f"{when}, `raas status` fails: {status}")

    def must_leave_nothing(self, killed_probes=False):
        """No lease and no probe stays, and in a folder no upload. In S3, uploads stay for two days.

        With `killed_probes`, a run may have been killed in its first test of the service. What it was testing
        with stays until a `setup` finds it an hour old: nothing younger can be told from the test of an
        operator who is alive.
        """
        if self.service:
            kinds = ("_turns/",) if killed_probes else ("_turns/", "_probe/")
            left = [key for key in self.service.content.objects if key.startswith(kinds)]
        else:
            uploads = self.home / VENDOR / "bucket" / "_uploads"
            left = list(uploads.iterdir()) if uploads.exists() else []
        turn = self.home / VENDOR / "turn"
        left += [turn] if turn.exists() else []
        if left:
            raise Violated(f"left behind: {', '.join(map(str, left))}")


def end_session(leader):
    """Ends every process of a session that this harness began: git has process groups of its own."""
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            pid, rest = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
            if int(rest[3]) == leader:
                os.kill(pid, signal.SIGKILL)


def flip(path, noise):
    """Flips one bit of a file, at a place that the random numbers choose."""
    content = bytearray(path.read_bytes())
    at = noise.randrange(len(content))
    content[at] ^= 1 << noise.randrange(8)
    mode = path.stat().st_mode
    path.chmod(mode | 0o200)
    path.write_bytes(content)
    path.chmod(mode)
    return f"bit of byte {at} of {path}"
