"""A client that pulls without end. It opens a connection for each range of a layer, as containerd does."""

import hashlib
import http.client
import json
import threading

from harness import metadata

LAYER = 2 << 20
RANGES = 8


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


def one_layer(folder):
    """Writes metadata and objects of an image with one layer; returns the path of its manifest."""
    repository, content = metadata.Repository("app"), bytes(range(256)) * (LAYER // 256)
    config = b'{"architecture":"amd64","os":"linux"}'
    described = []
    for kind, part in ((metadata.CONFIG, config), (metadata.LAYER, content)):
        name = metadata.digest(part)
        repository.blobs[name] = {"size": len(part)}
        metadata.write_file(folder / "bucket/app/_v2/blobs" / name, part)
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
    metadata.write(folder / "tree", [repository], "0" * 40)
    return "/v2/app/manifests/1.0"
