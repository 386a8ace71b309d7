"""What each sample holds, read without raas: the SHA-256 of every layer's plain tar, by tag and platform."""

import dataclasses
import functools
import gzip
import hashlib
import io
import json
import pathlib
import subprocess
import tarfile

from harness.packages import ROOT, program

FIXTURES = ROOT / "fixtures"
# The layer of bigdata-app.tar that belongs to the operator of the platform.
MASKED = "e1f5733f050b2488a17b7630cb038bfbea8b7bdfa9bdfb99e63a33117e28d02f"


@dataclasses.dataclass(frozen=True)
class Sample:
    """An image, the words that push it, and the way to read its layers."""

    name: str
    path: pathlib.Path
    read: object
    more: tuple = ()

    @property
    def push(self):
        """The arguments of `raas push` after the name."""
        return ["--from", self.path, *self.more]

    @functools.cached_property
    def tags(self):
        """Tag to platform to digests of the plain layers."""
        return self.read()


def samples():
    """Every sample by its name."""
    pulp = FIXTURES / "pulp3"
    new = only(pulp / "new-full", "*.tar")
    toc = only(pulp / "new-full", "*-toc.json")
    chunk = only(pulp / "new-chunked", "*.0000")
    chunk_toc = only(pulp / "new-chunked", "*-toc.json")
    old = only(pulp / "old-full", "*.tar.gz")
    app, base = "bigdatainc/bigdata-app", "acme/base"
    found = [
        Sample("pulp2", FIXTURES / "bigdata-app.tar", lambda: pulp2(FIXTURES / "bigdata-app.tar")),
        Sample(
            "docker-save", FIXTURES / "docker-save.tar", lambda: docker_save(FIXTURES / "docker-save.tar")
        ),
        Sample("oci-multi", FIXTURES / "oci-multi", lambda: oci(FIXTURES / "oci-multi")),
    ]
    for name, path, archive, repository in [
        ("pulp3-new", new, new, app),
        ("pulp3-new-toc", toc, new, app),
        ("pulp3-chunk", chunk, chunk, app),
        ("pulp3-chunk-toc", chunk_toc, chunk, app),
        ("pulp3-old", old, old, app),
        ("base-new", new, new, base),
        ("base-old", old, old, base),
    ]:
        read = functools.partial(pulp3, archive, repository)
        found.append(Sample(name, path, read, ("--repository", repository)))
    return {sample.name: sample for sample in found}


def only(folder, pattern):
    (path,) = folder.glob(pattern)
    return path


def plain(packed):
    """The content of a layer without its compression."""
    if packed[:2] == b"\x1f\x8b":
        return gzip.decompress(packed)
    if packed[:4] == b"\x28\xb5\x2f\xfd":
        command = [program("zstd"), "-dc"]
        return subprocess.run(command, input=packed, check=True, stdout=subprocess.PIPE, timeout=60).stdout
    return packed


def plain_digest(packed):
    """The digest of a layer without its compression."""
    return "sha256:" + hashlib.sha256(plain(packed)).hexdigest()


@functools.cache
def members(path):
    """Name to bytes of a tar, of its chunks, or of a folder."""
    if path.is_dir():
        return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    if path.name.endswith(".0000"):
        parts = sorted(path.parent.glob(path.name[:-4] + "[0-9]*"))
        packed = b"".join(part.read_bytes() for part in parts)
    else:
        packed = path.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}


def pulp2(path):
    files = members(path)
    document = json.loads(
        next(data for name, data in files.items() if name.endswith(".json") and "/" not in name)
    )
    tags = {}
    for tag, image in document["tags"].items():
        ids = reversed(json.loads(files[f"web/{image}/ancestry"]))
        tags[tag] = {"linux/amd64": [plain_digest(files[f"web/{i}/layer"]) for i in ids]}
    return tags


def docker_save(path):
    files = members(path)
    tags = {}
    for entry in json.loads(files["manifest.json"]):
        config = json.loads(files[entry["Config"]])
        layers = [plain_digest(files[name]) for name in entry["Layers"]]
        for name in entry["RepoTags"]:
            tags[name.rsplit(":", 1)[1]] = {f"{config['os']}/{config['architecture']}": layers}
    return tags


def platforms(manifest, blob, manifest_of):
    """Every platform of a manifest or index."""
    if "manifests" in manifest:
        found = {}
        for child in manifest["manifests"]:
            found.update(platforms(json.loads(manifest_of(child["digest"])), blob, manifest_of))
        return found
    config = json.loads(blob(manifest["config"]["digest"]))
    layers = [plain_digest(blob(layer["digest"])) for layer in manifest["layers"]]
    return {f"{config['os']}/{config['architecture']}": layers}


def oci(path):
    files = members(path)

    def blob(digest):
        return files["blobs/" + digest.replace(":", "/")]

    tags = {}
    for root in json.loads(files["index.json"])["manifests"]:
        tag = root.get("annotations", {}).get("org.opencontainers.image.ref.name")
        # What has no tag is attached to an image.
        if tag is None:
            continue
        tags[tag] = platforms(json.loads(blob(root["digest"])), blob, blob)
    return tags


def pulp3(path, repository):
    files = members(path)
    start, end = f"repository-{repository}_", "container.app.modelresource.TagResource.json"
    folder = next(name.rsplit("/", 1)[0] for name in files if name.startswith(start) and name.endswith(end))

    def resource(name):
        return json.loads(files[f"{folder}/{name}Resource.json"])

    artifacts = {
        c["relative_path"]: c["artifact"] for c in resource("pulpcore.app.modelresource.ContentArtifact")
    }
    data = {m["digest"]: m.get("data") for m in resource("pulp_container.app.modelresource.Manifest")}

    def blob(digest):
        hex_digits = artifacts.get(digest) or digest.split(":")[1]
        return files[f"artifact/{hex_digits[:2]}/{hex_digits[2:]}"]

    def manifest_of(digest):
        return data[digest].encode() if data.get(digest) else blob(digest)

    tags = {}
    for tag in resource("pulp_container.app.modelresource.Tag"):
        tags[tag["name"]] = platforms(json.loads(manifest_of(tag["tagged_manifest"])), blob, manifest_of)
    return tags


def masked_layer_on_cdn(folder):
    """Writes the masked layer of bigdata-app.tar as its operator serves it, below `rhel7/`."""
    with tarfile.open(FIXTURES / "bigdata-app.tar") as tar:
        for member in tar:
            if MASKED in member.name:
                target = folder / "rhel7" / member.name.removeprefix("web/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(tar.extractfile(member).read())
