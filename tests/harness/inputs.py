"""Inputs as real tools write them, odd ones included, and what must come of each.

Each input is made here, so its layers are known without reading it.
"""

import dataclasses
import gzip
import io
import json
import lzma
import tarfile

from harness.archives import add, sha256, tar_of

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
AMD64, ARM64 = "linux/amd64", "linux/arm64"


@dataclasses.dataclass(frozen=True)
class Input:
    """An archive, the words that push it, and what must come of it."""

    name: str
    # Members of the tar: pairs of a name and bytes.
    members: list
    # Tag to platform to digests of the plain layers; empty if the push must be refused.
    tags: dict
    # What the error of a refused push, or the notes of another one, must say.
    says: tuple = ()
    push: tuple = ()
    # How skopeo reads the same file to the image of the only tag; None if it does not.
    peer: str | None = None
    # What becomes of the tar before it is written.
    wrap: object = bytes
    # How the source lies on the disk, if it is not one file.
    form: object = None

    def write(self, folder):
        """Writes the source, and returns its path."""
        return (self.form or as_tar)(self, folder / f"{self.name}.tar")

    def tar(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, content in self.members:
                add(tar, name, content)
        return self.wrap(out.getvalue())


def as_tar(one, path):
    """Writes one file."""
    path.write_bytes(one.tar())
    return path


def as_folder(one, path):
    """Writes the members below a folder."""
    for name, content in one.members:
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return path


def plain_layer(name):
    """A layer of one file."""
    return tar_of({name: name.encode()})


def packed(content):
    return gzip.compress(content, mtime=0)


def config_of(layers, architecture="amd64"):
    rootfs = {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]}
    config = {"architecture": architecture, "os": "linux", "config": {}, "rootfs": rootfs}
    return json.dumps(config).encode()


def blob_name(digest):
    return "blobs/" + digest.replace(":", "/")


class Layout:
    """The members of an OCI layout."""

    def __init__(self):
        self.blobs, self.entries = {}, []

    def blob(self, content, media_type, **more):
        """Adds a blob, of bytes or of what becomes JSON; returns its descriptor."""
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        digest = sha256(content)
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content), **more}

    def image(self, layers, architecture="amd64", pack=packed, **more):
        """Adds an image; returns its descriptor."""
        kind = LAYER if pack is bytes else f"{LAYER}+gzip"
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(config_of(layers, architecture), CONFIG),
            "layers": [self.blob(pack(layer), kind) for layer in layers],
            **more,
        }
        return self.blob(manifest, MANIFEST)

    def index(self, children):
        return self.blob({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}, INDEX)

    def name(self, descriptor, tag=None, **annotations):
        """Lists an image in `index.json`."""
        named = {REF_NAME: tag} if tag else {}
        self.entries.append({**descriptor, "annotations": {**named, **annotations}})

    def members(self, entries=None, **more):
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.entries}
        index.update(entries or {})
        files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}
        files |= {blob_name(digest): content for digest, content in self.blobs.items()}
        files |= {name.replace("manifest_json", "manifest.json"): value for name, value in more.items()}
        return list(files.items())


def save_list(*entries):
    """`manifest.json` of docker save: pairs of a configuration's name, tags and names of layers."""
    keys = ("Config", "RepoTags", "Layers")
    return json.dumps([dict(zip(keys, entry, strict=True)) for entry in entries]).encode()


def published(*layers, tag="1", platform=AMD64):
    """One tag of one platform."""
    return {tag: {platform: [sha256(layer) for layer in layers]}}


def inputs():
    """Every input by its name."""
    found = [*saves(), *layouts(), *directories(), *descriptions(), *platforms(), *wrapped()]
    return {one.name: one for one in found}


def saves():
    """docker save archives."""
    a, b = plain_layer("a"), plain_layer("b")
    config, other = config_of([a]), config_of([a, b])

    def save(tags):
        return [("c.json", config), ("a.tar", a), ("manifest.json", save_list(("c.json", tags, ["a.tar"])))]

    peer = "docker-archive:{path}"
    latest = published(a, tag="latest")
    for name, tags in [
        ("none-none", ["<none>:<none>"]),
        ("empty-name", [""]),
        ("no-names", None),
        ("by-digest", [f"app@{sha256(config)}"]),
        ("registry-with-port", ["registry.example.com:5000/team/app"]),
    ]:
        # skopeo does not take tags that are none; docker does.
        yield Input(f"save-{name}", save(tags), latest, peer=peer if tags is None else None)
    yield Input("save-plus", save(["app:1.0+build5"]), {}, ("`app:1.0+build5`", "no valid tag"))
    yield Input("save-two-names", save(["a/app:1", "b/app:2"]), {}, ("`a/app`, `b/app`", "--repository"))
    chosen = published(a, tag="2")
    yield Input(
        "save-chosen", save(["a/app:1", "b/app:2"]), chosen, push=("--repository", "b/app"), peer=peer
    )
    two = save_list(("c.json", None, ["a.tar"]), ("d.json", ["helper:1"], ["a.tar", "b.tar"]))
    members = [("c.json", config), ("d.json", other), ("a.tar", a), ("b.tar", b), ("manifest.json", two)]
    yield Input("save-other-is-named", members, {}, ("`helper`", sha256(config), "--digest"))
    own = published(a, tag="latest")
    yield Input("save-unnamed-chosen", members, own, push=("--digest", sha256(config)), peer=peer + ":@0")
    twice = save_list(("c.json", ["app:1"], ["a.tar"]), ("d.json", ["app:2"], ["a.tar", "b.tar"]))
    members = [("c.json", config), ("a.tar", a), ("d.json", other), ("a.tar", a), ("b.tar", b)]
    both = published(a) | published(a, b, tag="2")
    yield Input("save-layer-twice", [*members, ("manifest.json", twice)], both)
    again = save_list(("c.json", ["app:1"], ["a.tar", "b.tar", "a.tar"]))
    members = [("c.json", config_of([a, b, a])), ("a.tar", a), ("b.tar", b), ("manifest.json", again)]
    yield Input("save-same-layer-at-two-places", members, published(a, b, a), peer=peer)
    different = [("c.json", config), ("a.tar", b), ("a.tar", a)]
    different.append(("manifest.json", save_list(("c.json", ["app:1"], ["a.tar"]))))
    yield Input("save-two-different-members", different, {}, ("`a.tar`", "two members of this name"))

    yield Input("save-of-a-bundle", bundle(a), published(a), peer=peer)
    for name, repositories in [
        ("by-id", None),
        ("empty-repositories", b"{}"),
        ("null-repositories", b"null"),
    ]:
        yield Input(f"v1-{name}", docker_v1([a, b], repositories), published(a, b, tag="latest"))


def bundle(layer):
    """A save of joined images, as rules_docker writes it: the files of a common layer are there twice."""
    config, folder = config_of([layer]), sha256(layer).split(":")[1]
    files = {"VERSION": b"1.0", "json": json.dumps({"id": folder}).encode(), "layer.tar": layer}
    image = [(f"{folder}/{name}", content) for name, content in files.items()]
    listed = save_list(("c.json", ["app:1"], [f"{folder}/layer.tar"]))
    repositories = json.dumps({"app": {"1": folder}}).encode()
    return [*image, ("c.json", config), *image, ("manifest.json", listed), ("repositories", repositories)]


def docker_v1(layers, repositories):
    """A save of Docker before 1.10, which has no names if the image was given by its id."""
    members, parent = [], None
    for layer in layers:
        own = sha256((parent or "").encode() + layer).split(":")[1]
        facts = {"id": own, "created": "2014-01-01T00:00:00Z", "architecture": "amd64", "os": "linux"}
        facts |= {"parent": parent} if parent else {}
        members += [(f"{own}/VERSION", b"1.0"), (f"{own}/json", json.dumps(facts).encode())]
        members.append((f"{own}/layer.tar", layer))
        parent = own
    return members if repositories is None else [*members, ("repositories", repositories)]


def directories():
    """Folders that `skopeo copy … dir:` writes, of an image and of an index."""
    layers = {AMD64: plain_layer("amd64"), ARM64: plain_layer("arm64")}
    for name, wanted in [("image", [AMD64]), ("index", [AMD64, ARM64])]:
        made, children = Layout(), []
        for platform in wanted:
            operating_system, architecture = platform.split("/")
            image = made.image([layers[platform]], architecture)
            children.append({**image, "platform": {"os": operating_system, "architecture": architecture}})
        root = made.index(children) if len(wanted) > 1 else children[0]
        members = [("version", b"Directory Transport Version: 1.1\n")]
        manifests = {child["digest"] for child in children}
        for digest, content in made.blobs.items():
            end = ".manifest.json" if digest in manifests else ""
            own = "manifest.json" if digest == root["digest"] else digest.split(":")[1] + end
            members.append((own, content))
        tags = {"latest": {platform: [sha256(layers[platform])] for platform in wanted}}
        yield Input(f"dir-{name}", members, tags, peer="dir:{path}", form=as_folder)


def layouts():
    """OCI layouts."""
    a, b = plain_layer("a"), plain_layer("b")
    peer = "oci-archive:{path}"

    def layout(name, change=None, entry=None, **more):
        made = Layout()
        image = made.image([a], **(change or {}))
        made.name({**image, **(entry or {})}, "1")
        return Input(f"layout-{name}", made.members(), published(a), peer=peer, **more)

    yield layout("null-annotations", {"annotations": None})
    yield layout("null-annotation", {"annotations": {"org.opencontainers.image.revision": None}})
    yield layout("null-subject", {"subject": None})
    yield layout("null-media-type", {"mediaType": None})
    yield layout("null-platform", entry={"platform": None})
    yield layout("unknown-fields", {"x": {"y": []}}, entry={"z": 1})
    made = Layout()
    made.name(made.image([a]), "1")
    made.name(made.image([b], "arm64"), "1.0+build5")
    yield Input("layout-odd-name-beside", made.members(), published(a), ("`1.0+build5`",), peer=peer + ":1")
    made = Layout()
    made.name(made.image([a]))
    made.name(made.image([b], "arm64"))
    yield Input("layout-two-unnamed", made.members(), {}, ("2 images", "--digest sha256:"))
    chosen = ("--digest", made.entries[0]["digest"])
    yield Input("layout-unnamed-chosen", made.members(), published(a, tag="latest"), push=chosen)
    made = Layout()
    made.name(made.image([a]), "1")
    made.name(made.blob(b"<component/>", "application/xml"))
    yield Input("layout-entry-that-is-no-image", made.members(), published(a), peer=peer + ":1")
    for name, entry in [
        ("missing", {"mediaType": MANIFEST, "digest": sha256(b"gone"), "size": 4}),
        ("no-json", made.blob(b"no JSON", MANIFEST)),
        ("config-without-a-type", {**made.blob(config_of([b]), CONFIG), "mediaType": ""}),
    ]:
        members = made.members({"manifests": [made.entries[0], entry]})
        yield Input(f"layout-entry-{name}", members, published(a), (entry["digest"],), peer=peer + ":1")
    old, new = Layout(), Layout()
    old.name(old.image([a]), "1")
    new.name(new.image([b]), "2")
    appended = [member for member in new.members() if member[0] != "oci-layout"]
    refused = ("`index.json`", "two members of this name")
    yield Input("layout-with-another-appended", [*old.members(), *appended], {}, refused)


def descriptions():
    """Archives with two descriptions, of which one is broken, or which contradict each other."""
    a, b = plain_layer("a"), plain_layer("b")
    for name, tag in [("one-tag", "1"), ("other-tags", "2")]:
        made = Layout()
        indexed, image = made.image([b]), made.image([a])
        manifest = json.loads(made.blobs[image["digest"]])
        config, layer = manifest["config"]["digest"], manifest["layers"][0]["digest"]
        listed = save_list((blob_name(config), ["app:1"], [blob_name(layer)]))
        made.name(indexed, tag, **{IMAGE_NAME: f"docker.io/library/app:{tag}"})
        members = made.members(manifest_json=listed)
        both = (indexed["digest"], config, "index.json", "manifest.json", "--digest")
        yield Input(f"described-twice-{name}", members, {}, both)
        for of, digest, tags in [
            ("index", indexed["digest"], published(b, tag=tag)),
            ("list", config, published(a)),
        ]:
            push = ("--digest", digest)
            yield Input(f"described-twice-{name}-{of}-chosen", members, tags, ("differ",), push=push)
    made = Layout()
    image = made.image([a], pack=bytes)
    config = json.loads(made.blobs[image["digest"]])["config"]["digest"]
    manifest = save_list((blob_name(config), ["app:1"], [blob_name(sha256(a))]))
    peer = "docker-archive:{path}"
    members = made.members({"manifests": None}, manifest_json=manifest)
    yield Input("described-by-manifest-json-alone", members, published(a), peer=peer)
    made.name(image, "1", **{IMAGE_NAME: "docker.io/library/app:1"})
    members = made.members(manifest_json=b"null")
    yield Input("described-by-index-json-alone", members, published(a), peer="oci-archive:{path}")
    made = Layout()
    empty = {"schemaVersion": 2, "mediaType": MANIFEST, "layers": []}
    empty["config"] = made.blob(config_of([a]), CONFIG)
    made.blob(a, LAYER)
    made.name(made.blob(empty, MANIFEST), "1", **{IMAGE_NAME: "docker.io/library/app:1"})
    members = made.members(manifest_json=manifest)
    yield Input("layers-in-manifest-json-alone", members, published(a), peer=peer)


def platforms():
    """Saves of images with several platforms."""
    layers = {AMD64: plain_layer("amd64"), ARM64: plain_layer("arm64")}
    both = {"1": {platform: [sha256(layer)] for platform, layer in layers.items()}}

    def made(pack=packed, without=()):
        layout, children, entries = Layout(), [], []
        for platform, layer in layers.items():
            operating_system, architecture = platform.split("/")
            image = layout.image([layer], architecture, pack)
            children.append({**image, "platform": {"os": operating_system, "architecture": architecture}})
            manifest = json.loads(layout.blobs[image["digest"]])
            parts = [manifest["config"]["digest"], *[one["digest"] for one in manifest["layers"]]]
            if platform in without:
                for digest in [image["digest"], *parts]:
                    del layout.blobs[digest]
            else:
                entries.append((blob_name(parts[0]), ["app:1"], [blob_name(digest) for digest in parts[1:]]))
        layout.name(layout.index(children), "1", **{IMAGE_NAME: "docker.io/library/app:1"})
        return layout, entries

    layout, entries = made(bytes)
    members = layout.members(manifest_json=save_list(entries[0]))
    yield Input("platforms-with-plain-layers", members, both, peer="oci-archive:{path}")
    layout, _ = made(without=[ARM64])
    missing = ("lists it for linux/arm64", "--platform linux/amd64")
    yield Input("platforms-incomplete", layout.members(), {}, missing)
    one = published(layers[AMD64])
    yield Input("platforms-chosen", layout.members(), one, push=("--platform", AMD64))


def wrapped():
    """An archive in packings, and one without its end."""
    a = plain_layer("a")
    manifest = save_list(("c.json", ["app:1"], ["a.tar"]))
    members = [("c.json", config_of([a])), ("a.tar", a), ("manifest.json", manifest)]
    peer = "docker-archive:{path}"
    # skopeo 1.9 does not read this gzip: "unexpected EOF".
    yield Input("packed-gzip", members, published(a), wrap=packed)
    yield Input("packed-xz", members, published(a), peer=peer, wrap=lzma.compress)
    yield Input("without-end", members, published(a), wrap=without_end)


def without_end(tar):
    """A tar without the blocks of zeros at its end."""
    content = tar.rstrip(b"\0")
    return content + bytes(-len(content) % 512)
