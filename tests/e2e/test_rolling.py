"""A rolling update: servers are replaced one by one behind a switch, while a client pulls without end.

The client opens a connection for each range of a layer, as containerd does, and tries nothing again.
"""

import hashlib
import http.client
import json
import signal
import threading

import pytest

from harness import metadata
from harness.process import free_port, running, wait_for
from harness.switch import Switch, is_ready

LAYER = 2 << 20
RANGES = 8
# As long as the switch may take to notice that a server stops being ready, and more.
DRAIN = 1


class Puller(threading.Thread):
    """A client that pulls in a loop, and remembers what broke."""

    def __init__(self, port, manifest):
        super().__init__(daemon=True)
        self.port, self.manifest = port, manifest
        self.pulls, self.broken, self.over = 0, [], threading.Event()

    def run(self):
        while not self.over.is_set():
            self.pulls += 1
            try:
                self.pull()
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.broken.append(repr(error))

    def get(self, path, status=200, headers=()):
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers=dict(headers))
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == status, (path, answer.status)
            return body
        finally:
            connection.close()

    def pull(self):
        self.get("/v2/")
        manifest = json.loads(self.get(self.manifest))
        repository = self.manifest.split("/manifests/")[0]
        for layer in manifest["layers"]:
            path, size, found = f"{repository}/blobs/{layer['digest']}", layer["size"], hashlib.sha256()
            for n in range(RANGES):
                begin, end = size * n // RANGES, size * (n + 1) // RANGES - 1
                found.update(self.get(path, 206, [("Range", f"bytes={begin}-{end}")]))
            assert "sha256:" + found.hexdigest() == layer["digest"]


@pytest.fixture
def image(tmp_path):
    """Metadata and objects of an image with one layer, and the path of its manifest."""
    repository, content = metadata.Repository("app"), bytes(range(256)) * (LAYER // 256)
    config = b'{"architecture":"amd64","os":"linux"}'
    described = []
    for kind, part in ((metadata.CONFIG, config), (metadata.LAYER, content)):
        name = metadata.digest(part)
        repository.blobs[name] = {"size": len(part)}
        metadata.write_file(tmp_path / "bucket/app/_v2/blobs" / name, part)
        described.append({"mediaType": kind, "digest": name, "size": len(part)})
    manifest = {
        "schemaVersion": 2,
        "mediaType": metadata.MANIFEST,
        "config": described[0],
        "layers": described[1:],
    }
    repository.manifest(
        "1.0", metadata.MANIFEST, json.dumps(manifest).encode(), {"os": "linux", "architecture": "amd64"}
    )
    metadata.write(tmp_path / "tree", [repository], "0" * 40)
    return "/v2/app/manifests/1.0"


@pytest.mark.parametrize("restarts", [6, pytest.param(50, marks=pytest.mark.long)])
def test_no_pull_breaks(program, tmp_path, image, restarts):
    command = [program, "serve", "acme", "--metadata", tmp_path / "tree", "--bucket", tmp_path / "bucket"]

    def start(number):
        port = free_port()
        more = ["--listen", f"127.0.0.1:{port}", "--drain-delay", str(DRAIN), "--no-access-log"]
        return port, running([*command, *more], tmp_path / f"{number}.log")

    with Switch() as switch:
        running_servers = []
        for number in range(2):
            port, context = start(number)
            running_servers.append((port, context, context.__enter__()))
            wait_for("raas serve", lambda port=port: is_ready(port))
            switch.add(port)
        wait_for("the switch", lambda: len(switch.ready) == 2)
        clients = [Puller(switch.port, image) for _ in range(3)]
        for client in clients:
            client.start()
        try:
            for number in range(2, 2 + restarts):
                port, context = start(number)
                running_servers.append((port, context, context.__enter__()))
                wait_for("raas serve", lambda port=port: is_ready(port))
                switch.add(port)
                wait_for("the switch", lambda port=port: port in switch.ready)
                old, _, process = running_servers.pop(0)
                process.child.send_signal(signal.SIGTERM)
                assert process.child.wait(60) == 0
                switch.remove(old)
        finally:
            for client in clients:
                client.over.set()
            for client in clients:
                client.join(60)
            for _, context, _ in running_servers:
                context.__exit__(None, None, None)
    pulls, broken = sum(client.pulls for client in clients), [b for client in clients for b in client.broken]
    print(f"{restarts} restarts, {pulls} pulls of {RANGES} ranges, {len(broken)} broken")
    assert pulls > restarts
    assert broken == []
