"""A hostile vendor beside a good one, on one server: what the good one's clients notice, in one run.

`just hostile` prints the times and the memory.
"""

import contextlib
import http.client
import multiprocessing
import pathlib
import time

import pytest

from harness import measure, metadata
from harness.hostile import Publications
from harness.measure import MIB
from harness.process import wait_for
from harness.raas import stateless_server
from harness.web import Quiet, WebServer

SITE_MEMORY = 128 * MIB
# Two sites, what is unpacked beside them, and the server itself.
MOST_MEMORY = 700 * MIB
# What the goal allows, and the noise of a machine that others share.
RATIO, NOISE = 1.5, 0.002
VISIBLE = 2


class Bucket(WebServer):
    """A folder as a bucket of S3 that everybody may read, with entity tags."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)

        class Handler(Quiet):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path = folder / self.path.lstrip("/")
                try:
                    stat, content = path.stat(), path.read_bytes()
                except OSError:
                    return self.reply(404)
                tag = {"ETag": f'"{stat.st_ino}-{stat.st_mtime_ns}"'}
                if self.headers.get("If-None-Match") == tag["ETag"]:
                    return self.reply(304, headers=tag)
                return self.reply(200, content, tag)

        super().__init__(Handler)


def ask(connection, vendor, path):
    connection.request("GET", path, headers={"Host": f"{vendor}.localhost"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def once(port, path):
    """The status of a request to the good vendor, on a connection of its own."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        return ask(connection, "good", path)[0]


def attack(port, publications, over):
    """Publishes every second, and asks without a pause, in a process of its own."""
    while not over.is_set():
        publications.publish()
        end = time.monotonic() + 1
        while time.monotonic() < end and not over.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                for path in publications.paths():
                    ask(connection, "hostile", path)
                connection.close()


@contextlib.contextmanager
def attacked(port, publications):
    over = multiprocessing.Event()
    attacker = multiprocessing.Process(target=attack, args=(port, publications, over), daemon=True)
    attacker.start()
    try:
        yield
    finally:
        over.set()
        attacker.join(30)
        attacker.kill()


def times(port, paths, seconds):
    """How long each request of a client takes, in seconds. Every answer must be right."""
    found, end = [], time.monotonic() + seconds
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while time.monotonic() < end:
        for path, status in paths:
            begun = time.perf_counter()
            answer = ask(connection, "good", path)
            found.append(time.perf_counter() - begun)
            assert answer[0] == status, (path, answer[0])
    connection.close()
    return found


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))]


@pytest.mark.parametrize("seconds", [3, pytest.param(15, marks=pytest.mark.long)])
def test_a_good_vendor_beside_a_hostile_one(program, tmp_path, seconds):
    repository = metadata.typical(1)
    good = metadata.Snapshots(tmp_path / "good", [repository])
    good.prepare()
    good.publish("1" * 40)
    hostile = Publications(tmp_path / "hostile")
    hostile.publish()
    blob = next(iter(repository.blobs))
    paths = [
        ("/v2/", 200),
        (f"/v2/{repository.name}/manifests/1.0", 200),
        (f"/v2/{repository.name}/blobs/{blob}", 307),
        (f"/v2/{repository.name}/tags/list", 200),
    ]
    with Bucket(tmp_path) as bucket:
        places = [f"{vendor}={bucket.url}/{vendor}" for vendor in ("good", "hostile")]
        more = [word for place in places for word in ("--metadata", place)]
        log = tmp_path / "serve.log"
        arguments = [*more, "--site-memory", str(SITE_MEMORY // MIB), "--no-access-log"]
        with stateless_server(program, log, *arguments) as server:
            wait_for("the good site", lambda: once(server.port, paths[1][0]) == 200)
            alone, beside, visible = [], [], []
            for turn in range(3):
                alone += times(server.port, paths, seconds)
                with attacked(server.port, hostile):
                    # The attacker has to begin.
                    times(server.port, paths, 1)
                    beside += times(server.port, paths, seconds)
                    visible.append(publish(good, repository, server.port, turn))
            peak = measure.memory(server.pid, "VmHWM")
            assert server.child.poll() is None, "the server has crashed"
            assert once(server.port, paths[1][0]) == 200
    report(alone, beside, visible, peak)
    assert percentile(beside, 0.99) <= max(RATIO * percentile(alone, 0.99), percentile(alone, 0.99) + NOISE)
    assert max(visible) <= VISIBLE
    assert peak <= MOST_MEMORY


def publish(good, repository, port, turn):
    """Publishes a new tag of the good vendor, and returns how long it takes until the server has it."""
    tag = f"new-{turn}"
    repository.image(tag, tag)
    good.prepare(repository)
    begun = time.monotonic()
    good.publish("%040x" % (turn + 2))
    path = f"/v2/{repository.name}/manifests/{tag}"
    wait_for("the publication", lambda: once(port, path) == 200, 60, pause=0.02)
    return time.monotonic() - begun


def report(alone, beside, visible, peak):
    def line(name, values):
        parts = [f"p{p * 100:g} {percentile(values, p) * 1000:.2f} ms" for p in (0.5, 0.99, 0.999)]
        return f"{name}: {len(values)} requests, {', '.join(parts)}"

    ratio = percentile(beside, 0.99) / percentile(alone, 0.99)
    print()
    print(line("the good vendor alone", alone))
    print(line("beside a hostile one", beside))
    print(f"p99 with : without the hostile vendor = {ratio:.2f}")
    print(f"publications of the good vendor visible after {', '.join(f'{v:.2f} s' for v in visible)}")
    print(f"peak memory of the server: {peak // MIB} MiB")
