"""Pulp 3 exports as inputs: of a Pulp with domains, in chunks, and such that lack something."""

import json

from harness.archives import sha256
from harness.inputs import AMD64, ARM64, Input, Layout, plain_layer, published

REPOSITORY = "acme/app"
CHUNK = 4096


class Export:
    """The members of an export of one repository. `Layout` makes its manifests and blobs."""

    def __init__(self, domain=""):
        self.made, self.domain, self.tags = Layout(), domain, []

    def tag(self, image, name="1"):
        self.tags.append({"name": name, "tagged_manifest": image["digest"]})

    def manifests(self):
        """The manifests by their digests; all else are blobs."""
        found = {}
        for digest, content in self.made.blobs.items():
            if content.startswith(b'{"schemaVersion"'):
                found[digest] = content.decode()
        return found

    def members(self, without=(), artifacts=True):
        """The members of the tar. `without` are digests that the export lacks."""
        manifests = self.manifests()
        resources = {"pulp_container.app.modelresource.ManifestResource.json": []}
        for digest, data in manifests.items():
            if digest not in without:
                entry = {"digest": digest, "media_type": json.loads(data)["mediaType"], "data": data}
                resources["pulp_container.app.modelresource.ManifestResource.json"].append(entry)
        # Pulp omits the file of a resource without entries.
        if self.tags:
            resources["pulp_container.app.modelresource.TagResource.json"] = self.tags
        files = {"versions.json": [{"component": "core", "version": "3.123.1"}]}
        files["pulpcore.app.modelresource.RepositoryResource.json"] = [{"name": REPOSITORY}]
        files |= {f"repository-{REPOSITORY}_1/{name}": entries for name, entries in resources.items()}
        members = [(name, json.dumps(content).encode()) for name, content in files.items()]
        for digest, content in self.made.blobs.items() if artifacts else ():
            if digest not in manifests and digest not in without:
                digits = digest.split(":")[1]
                members.append((f"artifact/{self.domain}{digits[:2]}/{digits[2:]}", content))
        return members


def exports():
    """Every export by its name."""
    found = [*whole(), *chunked(), *partial()]
    return {one.name: one for one in found}


def one_image(domain=""):
    export, layer = Export(domain), plain_layer("a")
    export.tag(export.made.image([layer]))
    return export, layer


def whole():
    """Exports of Pulps with and without domains."""
    for name, domain in [("pulp3", ""), ("pulp3-domain", "team-a/")]:
        export, layer = one_image(domain)
        yield Input(name, export.members(), published(layer))


def chunked():
    """Exports in several files, given by the table of contents or by the first file."""
    export, layer = one_image()
    members, tags = export.members(), published(layer)
    yield Input("pulp3-chunks", members, tags, form=lambda one, path: in_chunks(one, path)[0])
    yield Input("pulp3-chunks-by-first", members, tags, form=lambda one, path: in_chunks(one, path)[1])

    def with_a_gap(one, path):
        toc, _, second = in_chunks(one, path)[:3]
        listed = json.loads(toc.read_text())
        del listed["files"][second.name]
        toc.write_text(json.dumps(listed))
        return toc

    says = ("does not list the chunk", ".0001")
    yield Input("pulp3-chunks-with-a-gap", members, {}, says, form=with_a_gap)


def in_chunks(one, path):
    """Writes the table of contents and the chunks; returns their paths."""
    content = one.tar()
    files = []
    for number, start in enumerate(range(0, len(content), CHUNK)):
        chunk = path.with_name(f"{path.name}.{number:04}")
        chunk.write_bytes(content[start : start + CHUNK])
        files.append(chunk)
    listed = {chunk.name: sha256(chunk.read_bytes()).split(":")[1] for chunk in files}
    toc = path.with_name(f"{path.stem}-toc.json")
    toc.write_text(json.dumps({"meta": {"chunk_size": CHUNK}, "files": listed}))
    return [toc, *files]


def partial():
    """Exports that lack what an earlier export had, or parts of an index."""
    earlier = ("push the earlier export first", "full=true", "nothing was published")
    export, _ = one_image()
    (digest,) = export.manifests()
    yield Input("pulp3-tag-of-an-earlier-export", export.members([digest]), {}, (digest[9:], *earlier))
    yield Input("pulp3-without-artifacts", export.members(artifacts=False), {}, earlier)
    export, _ = one_image()
    export.tags = []
    says = ("an image without a tag", digest, "--digest")
    yield Input("pulp3-without-tags", export.members(), {}, says)
    export, layers = Export(), {AMD64: plain_layer("amd64"), ARM64: plain_layer("arm64")}
    children = []
    for platform, layer in layers.items():
        operating_system, architecture = platform.split("/")
        image = export.made.image([layer], architecture)
        children.append({**image, "platform": {"os": operating_system, "architecture": architecture}})
    export.tag(export.made.index(children))
    members = export.members([children[1]["digest"]])
    says = ("lists it for linux/arm64", "--platform linux/amd64", *earlier)
    yield Input("pulp3-index-lacks-a-platform", members, {}, says)
    chosen = published(layers[AMD64])
    yield Input("pulp3-platform-chosen", members, chosen, push=("--platform", AMD64))
