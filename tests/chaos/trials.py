"""The trials. Each has a name that reproduces it, and raises `Violated` if something does not hold."""

import concurrent.futures
import dataclasses
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable

from chaos import power
from chaos.world import IMAGE, STALL, VENDOR, Violated, end_session, flip
from harness.archives import docker_save, sha256, tar_of
from harness.memory_s3 import Answer, Cut, refusal


@dataclasses.dataclass(frozen=True)
class Trial:
    """Something to try. `kind` is what the summary counts: kills, faults, signals, rounds, flips."""

    name: str
    kind: str
    mode: str
    run: Callable

    def __str__(self):
        return f"{self.mode}:{self.name}"


# Kills at each request


def kills_at_requests(place, noise, image="new"):
    """SIGKILL at each request of a push, before it takes effect and after."""
    if not place.service:
        return
    for number in range(1, place.requests(*place.push(image)) + 1):
        for phase in ["before", "after"]:
            yield Trial(
                f"kill-{image}-{phase}-{number}",
                "kills",
                place.mode,
                lambda place, number=number, phase=phase: kill_at(place, image, number, phase),
            )


def kill_at(place, image, number, phase):
    place.restore()
    holder = {}

    def hook(request, at, act):
        if at != number or "process" not in holder:
            return act()
        if phase == "after":
            act()
        os.kill(holder["process"].pid, signal.SIGKILL)
        raise Cut

    place.service.hook = hook
    holder["process"] = place.start(*place.push(image))
    after_kill(place, holder["process"], image)


def after_kill(place, process, image):
    ended = place.ended(process)
    end_session(process.pid)
    latest = place.must_serve(place.old, place.new[image])
    if ended.code == 0 and latest != place.new[image]:
        raise Violated(f"a push that succeeds has published nothing: {ended}")
    place.must_recover(image)


# Kills at each system call, and at any time

CALLS = ",".join(
    [
        "openat,write,pwrite64,rename,renameat,renameat2,link,linkat",
        "unlink,unlinkat,mkdir,mkdirat,fsync,fdatasync",
    ]
)


def kills_at_calls(place, noise):
    """SIGKILL at the k-th system call that changes a file, of each process of a push: raas and its git."""
    place.restore()
    trace = place.work / "trace"
    before = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", f"trace={CALLS}", "-o", trace]
    place.ended(place.start(*place.push("new"), before=before))
    counts = {}
    for line in trace.read_text(errors="replace").splitlines():
        # A call that another process interrupts has two lines.
        if " resumed>" not in line and "(" in line:
            pid = line.split(maxsplit=1)[0]
            counts[pid] = counts.get(pid, 0) + 1
    for number in range(1, max(counts.values()) + 1):
        yield Trial(
            f"kill-call-{number}",
            "kills",
            place.mode,
            lambda place, number=number: kill_at_call(place, number),
        )


def kill_at_call(place, number):
    place.restore()
    inject = f"inject={CALLS}:signal=KILL:when={number}"
    before = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", f"trace={CALLS}", "-e", inject, "-o", "/dev/null"]
    after_kill(place, place.start(*place.push("new"), before=before), "new")


def kills_at_times(place, noise):
    """SIGKILL at any time of a push."""
    place.restore()
    lasts = place.must(*place.push("new")).seconds
    while True:
        after = noise.random() * lasts * 1.2
        yield Trial(
            f"kill-time-{after:.4f}",
            "kills",
            place.mode,
            lambda place, after=after: kill_after(place, after),
        )


def kill_after(place, seconds):
    place.restore()
    process = place.start(*place.push("new"))
    time.sleep(seconds)
    process.child.kill()
    after_kill(place, process, "new")


# Signals

SAID = re.compile(
    r"^Interrupted by SIG(INT|TERM|HUP)(: nothing was published|: the publication is made.*)?", re.M
)


def signals(place, noise):
    """SIGINT, SIGTERM and SIGHUP at any time: one line, the exit code, and the line tells the truth."""
    place.restore()
    lasts = place.must(*place.push("new")).seconds
    while True:
        after = noise.random() * lasts * 1.1
        number = noise.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
        yield Trial(
            f"signal-{number.name}-{after:.4f}",
            "signals",
            place.mode,
            lambda place, after=after, number=number: send(place, number, after),
        )


def send(place, number, seconds):
    place.restore()
    process = place.start(*place.push("new"))
    time.sleep(seconds)
    process.child.send_signal(number)
    ended = place.ended(process)
    end_session(process.pid)
    latest = place.must_serve(place.old, place.new["new"])
    lines = SAID.findall(ended.log)
    # Before it handles signals, and after its end, a program has no line.
    if ended.code not in (0, 128 + number, -number):
        raise Violated(f"{number.name}: {ended}")
    if ended.code == 128 + number:
        if len(lines) != 1 or not lines[0][1]:
            raise Violated(f"{number.name}: not one line: {ended}")
        if "nothing was published" in lines[0][1] and latest != place.old:
            raise Violated(f"{number.name}: it was published: {ended}")
    if "fsck" in ended.log:
        raise Violated(f"{number.name}: git died of it: {ended}")
    if ended.code != -number:
        left_of_signal(place, ended)
    place.must_recover()


def left_of_signal(place, ended):
    """A run that was not killed removes its own unfinished uploads and its lease."""
    if place.service and place.service.content.uploads:
        raise Violated(f"uploads are left: {ended}")
    if place.service:
        left = [key for key in place.service.content.objects if key.startswith(("_turns/", "_uploads/"))]
        if [key for key in left if not key.startswith("_turns/dead-")]:
            raise Violated(f"{left} is left: {ended}")
    else:
        place.must_leave_nothing()


# Faults of the service at each request


def hang(_, act):
    time.sleep(STALL * 2)
    raise Cut


def lost_answer(_, act):
    act()
    raise Cut


def cut(_, act):
    raise Cut


def truncated(_, act):
    answer = act()
    length = str(len(answer.body) + 100)
    return Answer(
        answer.status, answer.body, answer.headers | {"Content-Length": length, "Connection": "close"}
    )


def nonsense(content):
    """A wrong answer to a reading request. No client can notice a write that lies."""

    def answer(request, act):
        return Answer(200, content) if request.method == "GET" else act()

    return answer


def late_error(request, act):
    """An error inside a good answer, which S3 gives where it may take long."""
    is_long = request.operation in ("CopyObject", "UploadPartCopy", "CompleteMultipartUpload")
    return Answer(200, refusal(200, "InternalError").body) if is_long else act()


FAULTS = {
    "500": lambda _, act: refusal(500, "InternalError"),
    "503": lambda _, act: refusal(503, "SlowDown"),
    "429": lambda _, act: Answer(429, b"", {"Retry-After": "0"}),
    "408": lambda _, act: refusal(408, "RequestTimeout"),
    "403": lambda _, act: refusal(403, "AccessDenied"),
    "400": lambda _, act: refusal(400, "InvalidArgument"),
    "garbage": nonsense(b"<html>not what was asked for</html>"),
    "empty": nonsense(b""),
    "error-in-200": late_error,
    "lost": lost_answer,
    "cut": cut,
    "truncated": truncated,
    "hang": hang,
}
# Faults that stay are quick to fail: a service that hangs for ever takes five waits for each request.
LASTING = ["500", "403", "garbage", "lost", "cut"]


def faults(place, noise):
    """Each fault at each request of a push: once, and from there on."""
    if not place.service:
        return
    for number in range(1, place.requests(*place.push("new")) + 1):
        for fault in FAULTS:
            for lasts in [False, True] if fault in LASTING else [False]:
                yield Trial(
                    f"fault-{fault}-{'from' if lasts else 'at'}-{number}",
                    "faults",
                    place.mode,
                    lambda place, number=number, fault=fault, lasts=lasts: fail(place, number, fault, lasts),
                )


def fail(place, number, fault, lasts):
    place.restore()

    def hook(request, at, act):
        return FAULTS[fault](request, act) if at == number or (lasts and at > number) else act()

    place.service.hook = hook
    ended = place.run(*place.push("new"))
    place.service.hook = None
    latest = place.must_serve(place.old, place.new["new"])
    if ended.code == 0 and latest != place.new["new"]:
        raise Violated(f"a push that succeeds has published nothing: {ended}")
    if ended.code not in (0, 4) or (ended.code and "hint: " not in ended.log):
        raise Violated(f"the fault has no clear error: {ended}")
    place.must_recover()


# Many operators


def operators(place, noise):
    """Eight homes publish to one bucket at once, some are killed, and gc runs beside them."""
    if not place.service:
        return
    round_number = 0
    while True:
        round_number += 1
        seed = noise.getrandbits(32)
        yield Trial(
            f"operators-{round_number}-{seed}",
            "rounds",
            place.mode,
            lambda place, seed=seed: operate(place, seed),
        )


def operate(place, seed, homes=8):
    place.restore()
    noise = random.Random(seed)
    folder = place.work / "operators"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    killed = set(noise.sample(range(homes), 2))
    pushes = []
    for number in range(homes):
        layer = tar_of({"data": noise.randbytes(20_000)})
        archive = folder / f"{number}.tar"
        docker_save(archive, f"app{number}:latest", layer, sha256(layer))
        pushes.append(["push", VENDOR, f"app{number}", "--from", archive])
    delays = [noise.random() for _ in range(homes)]

    def operator(number):
        home = folder / f"home{number}"
        if number in killed:
            process = place.start(*pushes[number], home=home)
            time.sleep(delays[number])
            process.child.kill()
            place.ended(process)
            end_session(process.pid)
        # A home that has died is told so by its next run at once; the others wait for a minute at most.
        place.must(*pushes[number], home=home, limit=300)
        place.must(*pushes[number], home=home, limit=300)

    def collector():
        place.must("gc", VENDOR, "--yes", limit=300)

    with concurrent.futures.ThreadPoolExecutor(homes + 1) as pool:
        running = [pool.submit(operator, number) for number in range(homes)] + [pool.submit(collector)]
        for one in running:
            one.result()
    published = place.published()
    missing = {f"app{number}" for number in range(homes)} - set(published)
    if missing or published.get(IMAGE, {}).get("latest") != place.old:
        raise Violated(
            f"of eight operators' images, {sorted(missing)} are missing; {IMAGE} is {published.get(IMAGE)}"
        )
    place.must_leave_nothing(killed_probes=True)


# Flipped bits


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


# By whether the bucket is a folder: kinds of files, by their paths in the home or their keys.
IN_HOME = {
    "object": "acme/metadata.git/objects/??/*",
    "ref": "acme/metadata.git/refs/heads/main",
    "checkout-document": "acme/checkout/crane/data/*.json",
    "checkout-manifest": "acme/checkout/crane/data/*/_manifests/sha256/*",
    "revision": "acme/checkout/revision",
}
IN_FOLDER = {
    "blob": "acme/bucket/*/_v2/blobs/*",
    "manifest": "acme/bucket/*/_v2/manifests/2/*",
    "tags": "acme/bucket/*/_v2/tags/list",
}
IN_BUCKET = {
    "blob": r".*/_v2/blobs/.*",
    "manifest": r".*/_v2/manifests/.*",
    "tags": r".*/_v2/tags/list",
    "pointer": r"_metadata/current",
    "part": r"_metadata/.*\.tar\.gz",
    "history": r"_record/.*",
}
FLIPPED = {True: [*IN_HOME, *IN_FOLDER], False: [*IN_HOME, *(f"s3-{kind}" for kind in IN_BUCKET)]}


def flip_one(place, kind, seed):
    place.restore()
    noise = random.Random(seed)
    if kind.startswith("s3-"):
        pattern = re.compile(IN_BUCKET[kind.removeprefix("s3-")])
        key = noise.choice(sorted(filter(pattern.fullmatch, place.service.content.objects)))
        content, at = place.service.content.objects[key]
        content = bytearray(content)
        byte = noise.randrange(len(content))
        content[byte] ^= 1 << noise.randrange(8)
        place.service.content.objects[key] = (bytes(content), at)
        what = f"byte {byte} of {key}"
    else:
        pattern = (IN_HOME | IN_FOLDER)[kind]
        what = flip(noise.choice(sorted(place.home.glob(pattern))), noise)
    found = place.run("status", VENDOR, "--deep")
    problems = [
        line for line in found.log.splitlines() if line.startswith("FAIL") and "FAIL  server" not in line
    ]
    if found.code == 0 or not problems:
        raise Violated(f"{what} is flipped, and `raas status --deep` finds nothing: {found}")
    repaired = place.run("setup", VENDOR, "--repair")
    after = place.run("status", VENDOR, "--deep")
    problems = [
        line for line in after.log.splitlines() if line.startswith("FAIL") and "FAIL  server" not in line
    ]
    if repaired.code == 0 and problems:
        raise Violated(f"{what} is flipped, and `setup --repair` says that all is well: {repaired}; {after}")
    if repaired.code not in (0, 1):
        raise Violated(f"{what} is flipped, and `setup --repair` does not end well: {repaired}")
    if repaired.code == 0:
        place.must_serve(place.old)
    # What the repair could not mend, it says; the source pushed again mends it.
    place.must(*place.push("old"))
    place.must_serve(place.old)


def can_repair(place):
    """Whether this raas has `setup --repair`."""
    return "--repair" in place.run("setup", "--help").log


# Losses of power


def losses_of_power(place, noise):
    """After a loss of power at each system call of a push, what was synced is a whole publication."""
    if place.mode != "folder":
        return
    yield Trial("power", "prefixes", place.mode, power.check)


STAGES = {
    "kill-request": lambda place, noise: kills_at_requests(place, noise),
    "kill-request-large": lambda place, noise: kills_at_requests(place, noise, "large"),
    "kill-call": kills_at_calls,
    "kill-time": kills_at_times,
    "signal": signals,
    "fault": faults,
    "operators": operators,
    "flip": flips,
    "power": losses_of_power,
}
# These make new trials for as long as there is time.
ENDLESS = {"kill-time", "signal", "operators", "flip"}
