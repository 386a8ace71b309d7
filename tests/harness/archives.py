"""Small images that are made on the spot."""

import gzip
import hashlib
import io
import json
import tarfile


def sha256(content):
    """The digest of some bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def add(tar, name, content):
    """Adds a file to a tar, from bytes or from a path."""
    info = tarfile.TarInfo(name)
    if isinstance(content, bytes):
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    else:
        info.size = content.stat().st_size
        with content.open("rb") as file:
            tar.addfile(info, file)


def tar_of(files):
    """A tar of files by their names."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            add(tar, name, content)
    return out.getvalue()


def image_config(diff_ids, history=False):
    """The configuration of an image for linux/amd64."""
    config = {"architecture": "amd64", "os": "linux", "config": {}}
    config["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
    if history:
        config["history"] = [{"created_by": "test"}] * len(diff_ids)
    return json.dumps(config).encode()


def docker_save(path, name, layer, diff_id, history=False):
    """A `docker save` archive of one layer, which is bytes or a path."""
    config = image_config([diff_id], history)
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        add(tar, "layer.tar", layer)
        add(tar, config_name, config)
        add(tar, "manifest.json", json.dumps(manifest).encode())


def pulp2_export(path, name, layers):
    """A Pulp 2 export of Docker v1 images: one image for each layer, each the parent of the next."""
    ids = [hashlib.sha256(f"{name} {number}".encode()).hexdigest() for number in range(len(layers))]
    document = {
        "type": "pulp-docker-redirect",
        "version": 1,
        "repository": name,
        "repo-registry-id": name,
        "url": f"https://pulp.example.com/pulp/docker/{name}/",
        "protected": False,
        "images": [{"id": image} for image in reversed(ids)],
        "tags": {"latest": ids[-1]},
    }
    with tarfile.open(path, "w") as tar:
        add(tar, f"{name}.json", json.dumps(document).encode())
        for number, (image, layer) in enumerate(zip(ids, layers, strict=True)):
            facts = {
                "id": image,
                "created": f"2014-10-24T12:{number:02}:00Z",
                "architecture": "amd64",
                "os": "linux",
                "config": {},
            }
            if number:
                facts["parent"] = ids[number - 1]
            add(tar, f"web/{image}/json", json.dumps(facts).encode())
            add(tar, f"web/{image}/ancestry", json.dumps(ids[number::-1]).encode())
            add(tar, f"web/{image}/layer", layer)


class OciLayout:
    """An OCI image layout in a folder."""

    def __init__(self, folder):
        self.folder, self.blobs, self.roots = folder, folder / "blobs" / "sha256", []
        self.blobs.mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def blob(self, content, media_type=None):
        """Stores a blob; returns its descriptor, with a media type if one is given."""
        digest = sha256(content)
        (self.blobs / digest.split(":")[1]).write_bytes(content)
        kind = {"mediaType": f"application/vnd.oci.image.{media_type}"} if media_type else {}
        return {**kind, "digest": digest, "size": len(content)}

    def read(self, digest):
        """The content of a blob."""
        return (self.blobs / digest.split(":")[1]).read_bytes()

    def finish(self, root, tag):
        """Writes the index of the layout, with one more tag."""
        self.roots.append({**root, "annotations": {"org.opencontainers.image.ref.name": tag}})
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self.roots}))


def layer_on_top(base, target, tag):
    """An OCI layout with one more layer on every platform of another layout.

    Returns the digest of the new layer, and the digests of the layers of the base.
    """
    layout = OciLayout(target)

    def read(digest):
        return (base / "blobs" / digest.replace(":", "/")).read_bytes()

    root = json.loads((base / "index.json").read_text())["manifests"][0]
    children, base_layers = [], set()
    plain = tar_of({"opt/app": b"app\n"})
    own = layout.blob(gzip.compress(plain, mtime=0), "layer.v1.tar+gzip")
    for child in json.loads(read(root["digest"]))["manifests"]:
        manifest = json.loads(read(child["digest"]))
        config = json.loads(read(manifest["config"]["digest"]))
        base_layers |= {layout.blob(read(layer["digest"]))["digest"] for layer in manifest["layers"]}
        manifest["layers"].append(own)
        config["rootfs"]["diff_ids"].append(sha256(plain))
        config.pop("history", None)
        manifest["config"].update(layout.blob(json.dumps(config).encode()))
        child.update(layout.blob(json.dumps(manifest).encode()))
        children.append(child)
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": children,
    }
    layout.finish(layout.blob(json.dumps(index).encode(), "index.v1+json"), tag)
    return own["digest"], base_layers
