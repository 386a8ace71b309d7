"""The clients that pull: docker, podman and skopeo. Each is compared with what the sample holds."""

import contextlib
import hashlib
import json
import shutil
import tarfile

from harness.process import result, run, running
from harness.samples import plain_digest


class Docker:
    """docker with a daemon of its own; started by `docker_daemon`."""

    name = "docker"

    def __init__(self, folder):
        self.folder = folder

    def command(self, *words):
        return ["docker", "--config", self.folder / "config", "-H", f"unix://{self.folder}/d.sock", *words]

    def pull(self, reference, platform):
        """Pulls one platform; returns the digests of the plain layers."""
        run(*self.command("pull", "-q", "--platform", platform, reference))
        return saved(self, reference, self.command("save", "-o", self.folder / "saved.tar", reference))

    def load(self, archive):
        """Loads an archive; returns the digests of each image's plain layers, or None if docker refuses."""
        if result(*self.command("load", "-q", "-i", archive)).returncode != 0:
            return None
        images = sorted(set(run(*self.command("images", "-a", "-q", "--no-trunc")).split()))
        loaded = [json.loads(run(*self.command("image", "inspect", image)))[0] for image in images]
        if images:
            run(*self.command("rmi", "-f", *images))
        return [image["RootFS"]["Layers"] for image in loaded]


@contextlib.contextmanager
def docker_daemon(folder):
    """A daemon with everything in a folder, without a network of its own, until the end of the `with`."""
    client = Docker(folder)
    command = [
        *["dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"],
        *["--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid"],
        *["--host", f"unix://{folder}/d.sock"],
    ]

    def ready():
        return result(*client.command("version"), timeout=20).returncode == 0

    with running(command, folder / "dockerd.log", ready=ready, seconds=90):
        yield client


class Podman:
    """podman with a storage of its own. The path of the folder must be short: podman allows 50 characters."""

    name = "podman"

    def __init__(self, folder, options=("--tls-verify=false",)):
        self.folder, self.options = folder, options
        folder.mkdir()

    def command(self, *words):
        storage = ["--root", self.folder / "r", "--runroot", self.folder / "rr", "--storage-driver=vfs"]
        return ["podman", *storage, *words]

    def pull(self, reference, platform):
        """Pulls one platform; returns the digests of the plain layers."""
        run(*self.command("pull", "-q", *self.options, "--platform", platform, reference))
        return saved(self, reference, self.command("save", "-q", "-o", self.folder / "saved.tar", reference))


def saved(client, reference, save):
    """The digests of a pulled image's plain layers, read from its archive; the image is removed."""
    archive = client.folder / "saved.tar"
    archive.unlink(missing_ok=True)
    listed = json.loads(run(*client.command("image", "inspect", reference)))[0]["RootFS"]["Layers"]
    run(*save)
    with tarfile.open(archive) as tar:
        (entry,) = json.loads(tar.extractfile("manifest.json").read())
        layers = [plain_digest(tar.extractfile(name).read()) for name in entry["Layers"]]
    run(*client.command("rmi", "-f", reference))
    assert listed == layers, f"{client.name} {reference}: the configuration and the layers differ"
    return layers


class Skopeo:
    """Copies every platform at once."""

    name = "skopeo"

    def __init__(self, folder, options=("--src-tls-verify=false",), inside=()):
        """`inside` are the words that run a command somewhere else, such as in another network."""
        self.folder, self.options, self.inside = folder, options, inside

    def pull_all(self, reference):
        """Copies an image of a registry; returns the digests of the plain layers by platform."""
        return self.copy_all(f"docker://{reference}", *self.options)

    def tags(self, repository):
        """The tags of a repository, in order."""
        options = [option.replace("--src-", "--") for option in self.options]
        listed = json.loads(run(*self.inside, "skopeo", "list-tags", *options, f"docker://{repository}"))
        return sorted(listed["Tags"])

    def copy_all(self, source, *options):
        """Copies an image; returns the digests of the plain layers by platform."""
        shutil.rmtree(self.folder, ignore_errors=True)
        copy = [*self.inside, "skopeo", "copy", "-q", "--all", "--insecure-policy", *options]
        run(*copy, source, f"dir:{self.folder}")
        found = {}
        for path in [self.folder / "manifest.json", *self.folder.glob("*.manifest.json")]:
            manifest = json.loads(path.read_text())
            if "layers" not in manifest:
                continue
            config = json.loads(self.blob(manifest["config"]))
            layers = [plain_digest(self.blob(layer)) for layer in manifest["layers"]]
            found[f"{config['os']}/{config['architecture']}"] = layers
        return found

    def blob(self, descriptor):
        content = (self.folder / descriptor["digest"].split(":")[1]).read_bytes()
        assert "sha256:" + hashlib.sha256(content).hexdigest() == descriptor["digest"], descriptor
        return content


class Clients:
    """The clients that pull one platform at a time, and skopeo, which copies all."""

    def __init__(self, single, skopeo):
        self.single, self.skopeo = single, skopeo

    def pull(self, host, name, tags):
        """Pulls every tag and platform with every client, and compares each with the source."""
        assert tags, f"{name}: the sample has no tags"
        for tag, platforms in tags.items():
            reference = f"{host}/{name}:{tag}"
            assert self.skopeo.pull_all(reference) == platforms, f"skopeo {reference}"
            for platform, layers in platforms.items():
                for client in self.single:
                    assert client.pull(reference, platform) == layers, f"{client.name} {reference} {platform}"
