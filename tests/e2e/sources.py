"""What each sample holds, read here without raas: the SHA-256 of every layer's plain tar, by tag and platform."""
import gzip
import hashlib
import io
import json
import pathlib
import subprocess
import tarfile

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "fixtures"


def plain(packed):
    if packed[:2] == b"\x1f\x8b":
        return gzip.decompress(packed)
    if packed[:4] == b"\x28\xb5\x2f\xfd":
        return subprocess.run(["zstd", "-dc"], input=packed, check=True, stdout=subprocess.PIPE).stdout
    return packed


def plain_digest(packed):
    return "sha256:" + hashlib.sha256(plain(packed)).hexdigest()


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
    document = json.loads(next(data for name, data in files.items() if name.endswith(".json") and "/" not in name))
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
    blob = lambda digest: files["blobs/" + digest.replace(":", "/")]
    tags = {}
    for root in json.loads(files["index.json"])["manifests"]:
        tag = root["annotations"]["org.opencontainers.image.ref.name"]
        tags[tag] = platforms(json.loads(blob(root["digest"])), blob, blob)
    return tags


def pulp3(path, repository):
    files = members(path)
    folder = next(name.rsplit("/", 1)[0] for name in files
                  if name.startswith(f"repository-{repository}_") and name.endswith("container.app.modelresource.TagResource.json"))
    resource = lambda name: json.loads(files[f"{folder}/{name}Resource.json"])
    artifacts = {c["relative_path"]: c["artifact"] for c in resource("pulpcore.app.modelresource.ContentArtifact")}

    def blob(digest):
        hex_digits = artifacts.get(digest) or digest.split(":")[1]
        return files[f"artifact/{hex_digits[:2]}/{hex_digits[2:]}"]

    data = {m["digest"]: m.get("data") for m in resource("pulp_container.app.modelresource.Manifest")}
    manifest_of = lambda digest: data[digest].encode() if data.get(digest) else blob(digest)
    tags = {}
    for tag in resource("pulp_container.app.modelresource.Tag"):
        tags[tag["name"]] = platforms(json.loads(manifest_of(tag["tagged_manifest"])), blob, manifest_of)
    return tags


def samples():
    """Name, what to give to `--from`, more arguments, and what must come out of it."""
    pulp = FIXTURES / "pulp3"
    new = next((pulp / "new-full").glob("*.tar"))
    toc = next((pulp / "new-full").glob("*-toc.json"))
    chunk = next((pulp / "new-chunked").glob("*.0000"))
    chunk_toc = next((pulp / "new-chunked").glob("*-toc.json"))
    old = next((pulp / "old-full").glob("*.tar.gz"))
    app, base = "bigdatainc/bigdata-app", "acme/base"
    yield "pulp2", FIXTURES / "bigdata-app.tar", [], pulp2(FIXTURES / "bigdata-app.tar")
    yield "docker-save", FIXTURES / "docker-save.tar", [], docker_save(FIXTURES / "docker-save.tar")
    yield "oci-multi", FIXTURES / "oci-multi", [], oci(FIXTURES / "oci-multi")
    for name, path, reads in [("pulp3-new", new, new), ("pulp3-new-toc", toc, new), ("pulp3-chunk", chunk, chunk),
                              ("pulp3-chunk-toc", chunk_toc, chunk), ("pulp3-old", old, old)]:
        yield name, path, ["--repository", app], pulp3(reads, app)
    for name, path in [("base-new", new), ("base-old", old)]:
        yield name, path, ["--repository", base], pulp3(path, base)
