"""Faults of the service at each request of a push."""

import time

from chaos.trial import Trial
from chaos.world import STALL, VENDOR, Violated
from harness.memory_s3 import Answer, Cut, refusal


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


def flipped(request, act):
    """An object that arrives with a flipped bit."""
    answer = act()
    if request.operation != "GetObject" or not answer.body:
        return answer
    body = bytearray(answer.body)
    body[len(body) // 2] ^= 4
    return Answer(answer.status, bytes(body), answer.headers)


def late_error(request, act):
    """An error inside a good answer, which S3 gives where it may take long."""
    is_long = request.operation in ("CopyObject", "UploadPartCopy", "CompleteMultipartUpload")
    return Answer(200, refusal(200, "InternalError").body) if is_long else act()


FAULTS = {
    "500": lambda _, act: refusal(500, "InternalError"),
    "503": lambda _, act: refusal(503, "SlowDown"),
    "429": lambda _, act: Answer(429, b"", {"Retry-After": "1"}),
    "408": lambda _, act: refusal(408, "RequestTimeout"),
    "403": lambda _, act: refusal(403, "AccessDenied"),
    "400": lambda _, act: refusal(400, "InvalidArgument"),
    "garbage": nonsense(b"<html>not what was asked for</html>"),
    "empty": nonsense(b""),
    "flipped": flipped,
    "error-in-200": late_error,
    "lost": lost_answer,
    "cut": cut,
    "truncated": truncated,
    "hang": hang,
}
LASTING = ["500", "503", "429", "403", "garbage", "flipped", "lost", "cut"]
# A service that hangs for ever takes five waits for each of some requests.
HANGS_FROM = 16


def faults(place, noise):
    """Each fault at each request of a push: once, and from there on."""
    if not place.service:
        return
    for number in range(1, place.requests(*place.push("new")) + 1):
        tried = [(fault, False) for fault in FAULTS] + [(fault, True) for fault in LASTING]
        if number % HANGS_FROM == 0:
            tried.append(("hang", True))
        for fault, lasts in tried:
            yield Trial(
                f"fault-{fault}-{'from' if lasts else 'at'}-{number}",
                "faults",
                place.mode,
                lambda place, number=number, fault=fault, lasts=lasts: fail(place, number, fault, lasts),
            )


# What a service may answer to a reading request although the object is good.
WRONG = {
    "404": lambda _, act: refusal(404, "NoSuchKey"),
    "garbage": nonsense(b"<html>busy</html>"),
    "empty": nonsense(b""),
    "flipped": flipped,
    "500": FAULTS["500"],
    "403": FAULTS["403"],
    "truncated": truncated,
}
READERS = {
    "repair": ["setup", VENDOR, "--repair"],
    "gc": ["gc", VENDOR, "--yes", "--keep-days", "0", "--grace-hours", "0"],
    "status": ["status", VENDOR, "--deep"],
}


def faults_of_readers(place, _):
    """Wrong answers to all reading requests of commands that conclude something from them, or only to those
    for content."""
    if not place.service:
        return
    for reader in READERS:
        for fault in WRONG:
            for part in ["", "/_v2/", "_metadata/", "_record/"]:
                yield Trial(
                    f"fault-of-{reader}-{fault}-{part.strip('_/') or 'all'}",
                    "faults",
                    place.mode,
                    lambda place, reader=reader, fault=fault, part=part: mislead(place, reader, fault, part),
                )


def mislead(place, reader, fault, part):
    place.restore()
    before = published_objects(place)

    def hook(request, _, act):
        is_meant = request.operation == "GetObject" and part in f"/{request.key}"
        return WRONG[fault](request, act) if is_meant else act()

    place.service.hook = hook
    ended = place.run(*READERS[reader], limit=300)
    place.service.hook = None
    if ended.code not in (0, 1, 4):
        raise Violated(f"wrong answers have no clear end: {ended}")
    lost = [key for key, content in before.items() if place.object(key) != content]
    if lost:
        raise Violated(f"wrong answers have removed or changed {', '.join(lost)}: {ended}")
    place.must_serve(place.old)
    place.must(*place.push("new"))
    place.must_serve(place.new["new"])
    place.must("setup", VENDOR, "--repair")
    place.must_be_healthy("after wrong answers")


def published_objects(place):
    """The content of all objects of images."""
    objects = place.service.content.objects
    return {key: content for key, (content, _) in objects.items() if not key.startswith("_")}


def fail(place, number, fault, lasts):
    place.restore()

    def hook(request, at, act):
        return FAULTS[fault](request, act) if at == number or (lasts and at > number) else act()

    place.service.hook = hook
    ended = place.run(*place.push("new"), limit=300)
    place.service.hook = None
    latest = place.must_serve(place.old, place.new["new"])
    if ended.code not in (0, 4) or (ended.code and "hint: " not in ended.log):
        raise Violated(f"the fault has no clear error: {ended}")
    if ended.code != 0:
        place.must_recover()
        return
    if latest != place.new["new"]:
        raise Violated(f"a push that succeeds has published nothing: {ended}")
    # The fault was overcome: there is nothing to recover from.
    place.must_leave_nothing()
    place.must_be_healthy("after a push that succeeded")
