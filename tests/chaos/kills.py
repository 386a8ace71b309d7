"""SIGKILL at each request and each system call of a push, at any time, and several in a row; and the signals
that a run may end well after."""

import os
import random
import re
import signal
import time

from chaos.trial import Trial
from chaos.world import Violated, end_session
from harness.memory_s3 import Cut

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
                lambda place, number=number, phase=phase: kill_once(place, image, at_request, number, phase),
            )


def kill_once(place, image, how, *words):
    place.restore()
    how(place, image, *words)
    place.must_recover(image)


def at_request(place, image, number, phase):
    holder = {}
    place.service.number = 0

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
    """What must hold at once after a kill."""
    ended = place.ended(process)
    end_session(process.pid)
    if place.service:
        place.service.hook = None
    latest = place.must_serve(place.old, place.new[image])
    if ended.code == 0 and latest != place.new[image]:
        raise Violated(f"a push that succeeds has published nothing: {ended}")


# Kills at each system call, and at any time

CALLS = ",".join(
    [
        "openat,write,pwrite64,rename,renameat,renameat2,link,linkat",
        "unlink,unlinkat,mkdir,mkdirat,fsync,fdatasync",
    ]
)
TRACED = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", f"trace={CALLS}"]


def most_calls(place):
    """The most calls that change a file, of any process of a push."""
    place.restore()
    trace = place.work / "trace"
    place.ended(place.start(*place.push("new"), before=[*TRACED, "-o", trace]))
    counts = {}
    for line in trace.read_text(errors="replace").splitlines():
        # A call that another process interrupts has two lines.
        if " resumed>" not in line and "(" in line:
            pid = line.split(maxsplit=1)[0]
            counts[pid] = counts.get(pid, 0) + 1
    return max(counts.values())


def kills_at_calls(place, noise):
    """SIGKILL at the k-th system call that changes a file, of each process of a push: raas and its git."""
    for number in range(1, most_calls(place) + 1):
        yield Trial(
            f"kill-call-{number}",
            "kills",
            place.mode,
            lambda place, number=number: kill_once(place, "new", at_call, number),
        )


def killed_at_call(number):
    """The words before a command each process of which is killed at this call."""
    return [*TRACED, "-e", f"inject={CALLS}:signal=KILL:when={number}", "-o", "/dev/null"]


def at_call(place, image, number):
    after_kill(place, place.start(*place.push(image), before=killed_at_call(number)), image)


def kills_at_times(place, noise):
    """SIGKILL at any time of a push."""
    lasts = place.lasts(*place.push("new"))
    while True:
        after = noise.random() * lasts * 1.2
        yield Trial(
            f"kill-time-{after:.4f}",
            "kills",
            place.mode,
            lambda place, after=after: kill_once(place, "new", at_time, after),
        )


def at_time(place, image, seconds):
    process = place.start(*place.push(image))
    time.sleep(seconds)
    process.child.kill()
    after_kill(place, process, image)


# Kills in a row


def kills_in_a_row(place, noise):
    """Some kills in a row, at any request, call or time: a run that repairs what another left is killed."""
    lasts = place.lasts(*place.push("new"))
    calls = most_calls(place)
    requests = place.requests(*place.push("new")) if place.service else 0
    while True:
        seed = noise.getrandbits(32)
        yield Trial(
            f"kill-row-{seed}",
            "kills",
            place.mode,
            lambda place, seed=seed: kill_in_a_row(place, seed, lasts, calls, requests),
        )


def kill_in_a_row(place, seed, lasts, calls, requests):
    place.restore()
    noise = random.Random(seed)
    count = noise.randint(2, 5)
    for _ in range(count):
        how = noise.choice(["request", "call", "time"] if place.service else ["call", "time"])
        if how == "request":
            at_request(place, "new", noise.randint(1, requests), noise.choice(["before", "after"]))
        elif how == "call":
            at_call(place, "new", noise.randint(1, calls))
        else:
            at_time(place, "new", noise.random() * lasts)
    place.must_recover()
    return count


# Signals

SAID = re.compile(
    r"^Interrupted by SIG(INT|TERM|HUP)(: nothing was published|: the publication is made.*)?", re.M
)


def signals(place, noise):
    """SIGINT, SIGTERM and SIGHUP at any time: one line, the exit code, and the line tells the truth."""
    lasts = place.lasts(*place.push("new"))
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
