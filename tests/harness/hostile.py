"""Metadata that is valid enough to be read and costs as much as it can, as a hostile vendor publishes it."""

import gzip
import io
import json
import struct
import tarfile
import time

from harness import metadata

MIB = 1 << 20
# What every document begins with.
HEAD = (
    '{"type":"pulp-docker-redirect","version":4,"repository":"x","repo-registry-id":"%s","url":"http://a/",'
)


def archive(files):
    """A part with some files, packed as well as gzip can."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, content in files:
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(out.getvalue(), 9, mtime=0)


def small():
    """A repository that is harmless, so that the site is served."""
    repository = metadata.Repository("app")
    repository.image("1.0", "a")
    return list(repository.files())


def numbers(size):
    """A document with millions of numbers under a key that nobody knows."""
    body = HEAD % "z" + '"raas":{"tags":{},"manifests":{},"blobs":{},"x":[' + "0," * (size // 2) + "0]}}"
    return [("crane/data/z.json", body.encode())]


def brackets(size):
    """A document that only opens brackets."""
    return [("crane/data/z.json", (HEAD % "z" + '"raas":' + "[" * size).encode())]


def copies(count):
    """Many documents of one name, each with the same long manifest."""
    manifest = b'{"schemaVersion":2,"x":"' + b"a" * (4 * MIB - 40) + b'"}'
    digest = metadata.digest(manifest)
    entry = {digest: {"media_type": metadata.MANIFEST, "size": len(manifest)}}
    raas = {"tags": {}, "manifests": entry, "blobs": {}}
    document = (HEAD % "z" + f'"raas":{json.dumps(raas)}}}').encode()
    yield f"crane/data/z/_manifests/sha256/{digest.split(':')[1]}", manifest
    for number in range(count):
        yield f"crane/data/d{number}.json", document


def index_of_one(layers, entries):
    """A page whose index lists one manifest with many layers thousands of times, and its path."""
    repository = metadata.Repository("bomb")
    config = metadata.digest(b"{}")
    repository.blobs[config] = {"size": 2}
    layer = {"mediaType": "a/b", "digest": metadata.digest(b"x"), "size": 1}
    child = {
        "schemaVersion": 2,
        "mediaType": metadata.MANIFEST,
        "config": {"mediaType": "a/b", "digest": config, "size": 2},
        "layers": [layer] * layers,
    }
    content = json.dumps(child, separators=(",", ":")).encode()
    digest = repository.manifest(None, metadata.MANIFEST, content, None)
    entry = {"mediaType": metadata.MANIFEST, "digest": digest, "size": len(content)}
    index = {"schemaVersion": 2, "mediaType": metadata.INDEX, "manifests": [entry] * entries}
    index = json.dumps(index, separators=(",", ":")).encode()
    repository.manifest("1", metadata.INDEX, index, None)
    return list(repository.files())


def referrers(count, size):
    """A manifest with many referrers, each with a long annotation."""
    repository = metadata.Repository("ref")
    subject = repository.image("1.0", "a")
    described = {
        "mediaType": metadata.MANIFEST,
        "digest": subject,
        "size": len(repository.bytes[subject]),
    }
    for number in range(count):
        manifest = {
            "schemaVersion": 2,
            "mediaType": metadata.MANIFEST,
            "artifactType": "a/b",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": subject, "size": 2},
            "layers": [],
            "subject": described,
            "annotations": {"k": "A" * size, "n": str(number)},
        }
        repository.manifest(None, metadata.MANIFEST, json.dumps(manifest).encode(), None)
    return list(repository.files()), f"/v2/ref/referrers/{subject}"


class Publications:
    """The publications of a hostile vendor, one after the other, in a folder that is served as a bucket."""

    def __init__(self, bucket):
        self.folder = bucket / "_metadata"
        found, self.referrers = referrers(40, MIB)
        kinds = [
            index_of_one(20_000, 3_000),
            found,
            copies(200),
            brackets(60 * MIB),
            numbers(60 * MIB),
        ]
        self.packed = [archive(small() + list(kind)) for kind in kinds]
        self.sequence = 0

    def paths(self):
        """Requests that cost much."""
        return [
            "/?image=bomb&tag=1",
            "/?image=bomb",
            "/v2/bomb/manifests/1",
            self.referrers,
            "/v2/_catalog",
            "/",
        ]

    def publish(self):
        """Writes the next publication. Something in it is new, so that the server reads it."""
        packed = self.packed[self.sequence % len(self.packed)]
        self.sequence += 1
        # The time in the header of the gzip stream.
        packed = packed[:4] + struct.pack("<I", self.sequence) + packed[8:]
        digest = metadata.digest(packed)
        metadata.write_file(self.folder / f"{digest.split(':')[1]}.tar.gz", packed)
        pointer = {
            "revision": "%040x" % self.sequence,
            "sequence": self.sequence,
            "published": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "parts": [{"digest": digest, "size": len(packed)}],
        }
        metadata.write_file(self.folder / "current", json.dumps(pointer).encode())
