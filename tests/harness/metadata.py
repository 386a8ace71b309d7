"""Metadata as `raas push` publishes it, made without a push: for many repositories, or for one."""

import gzip
import hashlib
import io
import json
import pathlib
import tarfile

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Repository:
    """A repository with images of one platform or two, in the form of its document and its manifests."""

    def __init__(self, name):
        self.name, self.protected = name, False
        self.tags, self.manifests, self.blobs, self.bytes = {}, {}, {}, {}
        self.amd64, self.published, self.deprecated = {}, {}, {}

    def image(self, tag, seed, layers=4, location=None, architecture="amd64"):
        """An image of four layers; all but the last are the same in all images of the repository."""
        parts = [(CONFIG, f"{self.name} {seed} config", 1470)]
        for n in range(layers):
            content = f"{self.name} layer {n}" if n < layers - 1 else f"{self.name} {seed}"
            parts.append((LAYER, content, 3_000_000 + n))
        described = []
        for n, (kind, content, size) in enumerate(parts):
            name = digest(content.encode())
            described.append({"mediaType": kind, "digest": name, "size": size})
            self.blobs[name] = {"size": size}
            if location and n == 1:
                self.blobs[name]["location"] = f"{location}/{name}"
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described[0],
            "layers": described[1:],
        }
        platform = {"os": "linux", "architecture": architecture}
        return self.manifest(tag, MANIFEST, json.dumps(manifest).encode(), platform)

    def index(self, tag, children):
        """An index of images of this repository."""
        listed = [
            {
                "mediaType": MANIFEST,
                "digest": child,
                "size": len(self.bytes[child]),
                "platform": self.manifests[child]["platform"],
            }
            for child in children
        ]
        content = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).encode()
        if tag:
            self.amd64[tag] = [children[0], 2]
        return self.manifest(tag, INDEX, content, None)

    def attach(self, subject, kind):
        """An artifact that is attached to a manifest."""
        parts = [("application/vnd.oci.empty.v1+json", b"{}"), ("application/octet-stream", kind.encode())]
        described = [{"mediaType": kind, "digest": digest(part), "size": len(part)} for kind, part in parts]
        self.blobs |= {part["digest"]: {"size": part["size"]} for part in described}
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": described[0],
            "layers": described[1:],
            "subject": {"mediaType": INDEX, "digest": subject, "size": len(self.bytes[subject])},
        }
        return self.manifest(None, MANIFEST, json.dumps(manifest).encode(), None)

    def manifest(self, tag, kind, content, platform):
        """Any manifest, with a tag or without; returns its digest."""
        name = digest(content)
        self.manifests[name] = {"media_type": kind, "size": len(content)}
        if platform:
            self.manifests[name]["platform"] = platform
        self.bytes[name] = content
        if tag:
            self.tags[tag] = name
        return name

    def names(self, is_index):
        """Digests and tags of all indexes, or of all other manifests."""
        names = [*((digest, digest) for digest in self.manifests), *self.tags.items()]
        return sorted(
            name for name, target in names if (self.manifests[target]["media_type"] == INDEX) == is_index
        )

    def protect(self):
        """Lets only users and customers see the repository."""
        self.protected = True
        return self

    def document(self):
        """The document of the repository, as JSON."""
        document = {
            "type": "pulp-docker-redirect",
            "version": 4,
            "repository": "acme-" + self.name.replace("/", "-"),
            "repo-registry-id": self.name,
            "url": f"https://bucket.example.com/{self.name}/_v2/",
            "protected": self.protected,
            "schema2_data": self.names(is_index=False),
            "manifest_list_data": self.names(is_index=True),
            "manifest_list_amd64_tags": self.amd64,
            "raas": {
                "tags": dict(sorted(self.tags.items())),
                "published": dict(sorted(self.published.items())),
                "deprecated": dict(sorted(self.deprecated.items())),
                "manifests": dict(sorted(self.manifests.items())),
                "blobs": dict(sorted(self.blobs.items())),
            },
        }
        return (json.dumps(document, indent=2) + "\n").encode()

    def files(self):
        """Every file with its path, manifests first, as a publisher writes them."""
        for name, content in self.bytes.items():
            yield f"crane/data/{self.name}/_manifests/sha256/{name.split(':')[1]}", content
        yield f"crane/data/{self.name}.json", self.document()


def typical(number, images=4, location=None):
    """A repository of ten manifests: two indexes of two platforms, and images of one."""
    repository = Repository(f"team{number % 100}/app{number}")
    for n in range(2):
        pair = [
            repository.image(None, f"{n}-{arch}", location=location, architecture=arch)
            for arch in ("amd64", "arm64")
        ]
        repository.index(f"multi-{n}", pair)
    for n in range(images):
        repository.image(f"1.{n}", f"v{n}", location=location)
    return repository


def write_file(path, content):
    """Writes a whole file by a rename, as a publisher does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.rename(path)


def write(root, repositories, revision):
    """Writes a tree with some repositories; the revision comes last."""
    root = pathlib.Path(root)
    for repository in repositories:
        for path, content in repository.files():
            write_file(root / path, content)
    write_file(root / "revision", f"{revision}\n".encode())


def secret_of(customer, key):
    """The secret of a customer's key, in the metadata that `write_customers` makes."""
    return f"raas_{digest(f'{customer} {key}'.encode())[7:]}"


def write_customers(root, customers, keys, repositories):
    """Customers `c0`, `c1`, … with some keys each, as `raas access add` makes them."""
    begun = "2026-01-01T00:00:00Z"
    for number in range(customers):
        name = f"c{number}"
        made = {
            f"k{key}": {
                "created": begun,
                "secrets": [{"hash": digest(secret_of(name, f"k{key}").encode()), "created": begun}],
            }
            for key in range(keys)
        }
        file = {"format": 1, "repositories": repositories, "keys": made}
        write_file(pathlib.Path(root) / "crane/data/_access/customers" / name, json.dumps(file).encode())


def part_of(name, count):
    """The part of a snapshot in which all files of a repository lie: docs/request-handling.md."""
    return hashlib.sha256(name.encode()).digest()[0] % count


def archive(repositories):
    """A part of a snapshot: the files of some repositories in the order of their paths."""
    out = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT) as tar,
    ):
        for path, content in sorted(file for repository in repositories for file in repository.files()):
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


class Snapshots:
    """Snapshots in a folder that is served as a bucket: the parts that changed, then the pointer."""

    def __init__(self, bucket, repositories):
        self.folder, self.sequence = pathlib.Path(bucket) / "_metadata", 0
        files = sum(1 + len(repository.bytes) for repository in repositories)
        self.count = 1
        while self.count < 64 and self.count * 1024 < files:
            self.count *= 2
        self.own = [
            [r for r in repositories if part_of(r.name, self.count) == part] for part in range(self.count)
        ]
        self.parts = [None] * self.count

    def prepare(self, changed=None):
        """Writes all parts, or the part of the repository that changed."""
        for part in range(self.count) if changed is None else [part_of(changed.name, self.count)]:
            packed = archive(self.own[part])
            self.parts[part] = {"digest": digest(packed), "size": len(packed)}
            write_file(self.folder / f"{self.parts[part]['digest'].split(':')[1]}.tar.gz", packed)

    def publish(self, revision):
        """Writes the pointer to what was prepared."""
        self.sequence += 1
        published = "2026-01-01T00:00:00Z"
        pointer = {
            "revision": revision,
            "sequence": self.sequence,
            "published": published,
            "parts": self.parts,
        }
        write_file(self.folder / "current", json.dumps(pointer).encode())

    def size(self):
        """Bytes of all parts."""
        return sum(part["size"] for part in self.parts)
