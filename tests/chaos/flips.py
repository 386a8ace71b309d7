"""Flipped bits in each kind of file of a home and of a bucket."""

import hashlib
import random
import re
import subprocess
import zlib

from chaos.kills import killed_at_call
from chaos.trial import Trial
from chaos.world import VENDOR, Violated, end_session, flip

# Kinds of files, by their paths in the home or their keys.
IN_HOME = {
    "object": "acme/metadata.git/objects/??/*",
    "pack": "acme/metadata.git/objects/pack/*",
    "packed-refs": "acme/metadata.git/packed-refs",
    "ref": "acme/metadata.git/refs/heads/main",
    "head": "acme/metadata.git/HEAD",
    "record-config": "acme/metadata.git/config",
    "log": "acme/metadata.git/logs/refs/heads/main",
    "formats": "**/*format",
    "checkout-document": "acme/checkout/crane/data/*.json",
    "checkout-v1-document": "acme/checkout/crane/data/*/_v1.json",
    "checkout-manifest": "acme/checkout/crane/data/*/_manifests/sha256/*",
    "revision": "acme/checkout/revision",
    "note": "acme/*.json",
}
IN_FOLDER = {
    "blob": "acme/bucket/*/_v2/blobs/*",
    "manifest": "acme/bucket/*/_v2/manifests/2/*",
    "tags": "acme/bucket/*/_v2/tags/list",
    "v1-json": "acme/bucket/*/*/json",
    "v1-ancestry": "acme/bucket/*/*/ancestry",
    "v1-layer": "acme/bucket/*/*/layer",
}
IN_BUCKET = {
    "blob": r".*/_v2/blobs/.*",
    "manifest": r".*/_v2/manifests/.*",
    "tags": r".*/_v2/tags/list",
    "v1-json": r".*/[0-9a-f]{64}/json",
    "v1-ancestry": r".*/[0-9a-f]{64}/ancestry",
    "v1-layer": r".*/[0-9a-f]{64}/layer",
    "pointer": r"_metadata/current",
    "part": r"_metadata/.*\.tar\.gz",
    "history": r"_record/.*",
}
FLIPPED = {True: [*IN_HOME, *IN_FOLDER], False: [*IN_HOME, *(f"s3-{kind}" for kind in IN_BUCKET)]}
# A flip in these may be of no consequence: a capital letter in a name of git's settings, a word of the
# branch's log, a space in JSON. A flip that `status --deep` does not find must be of this kind: everything
# goes on as if it were not there.
TOLERANT = {"record-config", "log", "note"}


def flips(place, noise):
    """A flipped bit in each kind of file: `status --deep` finds it, and `setup --repair` mends it."""
    while True:
        for kind in FLIPPED[place.mode == "folder"]:
            seed = noise.getrandbits(32)
            yield Trial(
                f"flip-{kind}-{seed}",
                "flips",
                place.mode,
                lambda place, kind=kind, seed=seed: flip_one(place, kind, seed),
            )


# Kinds of files that a record has once git has packed it.
PACKED = {"pack", "packed-refs"}


def prepare(place, kind):
    place.restore()
    if kind in PACKED:
        for words in (["repack", "-adq"], ["pack-refs", "--all"]):
            subprocess.run(["git", "--git-dir", place.home / VENDOR / "metadata.git", *words], check=True)


def flip_one(place, kind, seed):
    prepare(place, kind)
    what, file = damage(place, kind, random.Random(seed))
    found = place.run("status", VENDOR, "--deep")
    if not problems(found) and (kind in TOLERANT or (kind == "object" and is_whole(file))):
        place.must(*place.push("new"))
        place.must_serve(place.new["new"])
        place.must_leave_nothing()
        place.must_be_healthy(f"{what} is flipped, and nobody has found it")
        return
    if not problems(found):
        raise Violated(f"{what} is flipped, and `raas status --deep` finds nothing: {found}")
    mend(place, kind, what, file)


def is_whole(file):
    """Whether a loose object of git still has the content that its name says. Some bits of a compressed
    file are padding: they mean nothing."""
    try:
        content = zlib.decompress(file.read_bytes())
    except zlib.error:
        return False
    return hashlib.sha1(content).hexdigest() == file.parent.name + file.name


def damage(place, kind, noise):
    """Flips a bit. Returns what it is, and the file if it is one."""
    if kind.startswith("s3-"):
        return flip_object(place, IN_BUCKET[kind.removeprefix("s3-")], noise), None
    files = sorted(place.home.glob((IN_HOME | IN_FOLDER)[kind]))
    file = noise.choice([path for path in files if path.is_file() and path.stat().st_size])
    return flip(file, noise), file


def mend(place, kind, what, file):
    """Repairs, and checks that all is well."""
    repaired = place.run("setup", VENDOR, "--repair")
    if kind == "note" and "--accept-storage" in repaired.log:
        # Another name of the storage is one that an operator may have meant.
        repaired = place.run("setup", VENDOR, "--repair", "--accept-storage")
    if kind == "formats" and "upgrade this raas" in repaired.log:
        # The flip has made the number of a newer raas, which only the operator can know to be wrong.
        file.write_text("1\n")
        repaired = place.run("setup", VENDOR, "--repair")
    if repaired.code not in (0, 1):
        raise Violated(f"{what} is flipped, and `setup --repair` does not end well: {repaired}")
    if repaired.code == 1:
        # What the repair could not mend, it says; the source pushed again mends it.
        place.must(*place.push("v1"))
        place.must(*place.push("old"))
    place.must_serve(place.old)
    after = place.run("status", VENDOR, "--deep")
    if problems(after):
        raise Violated(f"{what} is flipped and mended, and `status --deep` fails: {repaired}; {after}")


# A process of a repair makes about so many calls that change a file.
CALLS_OF_REPAIR = 400


def kills_of_repairs(place, noise):
    """SIGKILL at any system call of a repair, some times in a row: the next repair mends everything."""
    while True:
        for kind in FLIPPED[place.mode == "folder"]:
            seed = noise.getrandbits(32)
            yield Trial(
                f"kill-repair-{kind}-{seed}",
                "kills",
                place.mode,
                lambda place, kind=kind, seed=seed: kill_repair(place, kind, seed),
            )


def kill_repair(place, kind, seed):
    prepare(place, kind)
    noise = random.Random(seed)
    what, file = damage(place, kind, noise)
    count = noise.randint(1, 3)
    for _ in range(count):
        before = killed_at_call(noise.randint(1, CALLS_OF_REPAIR))
        process = place.start("setup", VENDOR, "--repair", before=before)
        place.ended(process)
        end_session(process.pid)
    mend(place, kind, what, file)
    return count


def flip_object(place, pattern, noise):
    objects = place.service.content.objects
    key = noise.choice(sorted(filter(re.compile(pattern).fullmatch, objects)))
    content, at = objects[key]
    content = bytearray(content)
    byte, bit = noise.randrange(len(content)), noise.randrange(8)
    content[byte] ^= 1 << bit
    objects[key] = (bytes(content), at)
    return f"bit {bit} of byte {byte} of {key}"


def problems(status):
    """What `raas status` finds wrong. It may also fail as a whole, with an error. No server runs here."""
    failed = [line for line in status.log.splitlines() if line.startswith("FAIL")]
    found = [line for line in failed if not line.startswith("FAIL  server")]
    return found or (status.code not in (0, 1) and [status.log])
