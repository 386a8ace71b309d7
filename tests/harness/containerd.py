"""containerd with a daemon of its own, by `ctr` and by the interface that a kubelet uses (CRI)."""

import base64
import contextlib
import json
import shutil
import tarfile

import grpc

from harness.process import result, run, running
from harness.samples import plain_digest

# `config_path` is where CRI finds `hosts.toml`.
CONFIG = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [{plugins}]
[grpc]
  address = "{folder}/c.sock"
[ttrpc]
  address = "{folder}/t.sock"
[plugins."io.containerd.grpc.v1.cri"]
  stream_server_port = "0"
  disable_cgroup = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{folder}/certs.d"
"""
# Storages for layers that need modules of the kernel.
DISABLED = ["btrfs", "zfs", "devmapper", "aufs"]
# The namespace of a kubelet's images.
KUBELET = "k8s.io"


class Containerd:
    """containerd; started by `containerd_daemon`. `login` is `NAME:PASSWORD` for pulls with `ctr`."""

    name = "containerd"

    def __init__(self, folder):
        self.folder, self.hosts, self.login = folder, folder / "certs.d", None
        self.hosts.mkdir()

    def command(self, *words):
        return ["ctr", "--address", self.folder / "c.sock", *words]

    def know(self, address, login=None):
        """Writes the `hosts.toml` of a registry without TLS; a login becomes a header of each request."""
        folder, host = self.hosts / address, f'host."http://{address}"'
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        lines = [f'server = "http://{address}"', f"[{host}]", '  capabilities = ["pull", "resolve"]']
        if login:
            header = base64.b64encode(login.encode()).decode()
            lines += [f"  [{host}.header]", f'    Authorization = "Basic {header}"']
        (folder / "hosts.toml").write_text("\n".join(lines) + "\n")

    def pull(self, reference, platform):
        """Pulls and unpacks one platform; returns the digests of the plain layers."""
        login = ["--user", self.login] if self.login else []
        options = ["--hosts-dir", self.hosts, "--snapshotter", "native", "--platform", platform]
        run(*self.command("images", "pull", *options, *login, reference))
        return self.taken("default", reference, platform)

    def kubelet_pulls(self, reference, platform, name, password):
        """Pulls as a kubelet does with a pull secret; returns the digests of the plain layers."""
        # Source: cri-api, runtime/v1/api.proto: `PullImageRequest`, `ImageSpec` and `AuthConfig`.
        login = field(1, name.encode()) + field(2, password.encode())
        request = field(1, field(1, reference.encode())) + field(2, login)
        options = [("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(f"unix:{self.folder}/c.sock", options=options) as channel:
            pull = channel.unary_unary("/runtime.v1.ImageService/PullImage")
            pull(request, timeout=120)
        return self.taken(KUBELET, reference, platform)

    def taken(self, namespace, reference, platform):
        """The digests of a pulled image's plain layers, read from its archive; the image is removed."""
        archive = self.folder / "exported.tar"
        images = self.command("--namespace", namespace, "images")
        run(*images, "export", "--platform", platform, archive, reference)
        with tarfile.open(archive) as tar:

            def blob(digest):
                return tar.extractfile("blobs/" + digest.replace(":", "/")).read()

            (manifest,) = json.loads(tar.extractfile("index.json").read())["manifests"]
            manifest = json.loads(blob(manifest["digest"]))
            while "manifests" in manifest:
                (only,) = [one for one in manifest["manifests"] if is_for(one, platform)]
                manifest = json.loads(blob(only["digest"]))
            listed = json.loads(blob(manifest["config"]["digest"]))["rootfs"]["diff_ids"]
            layers = [plain_digest(blob(layer["digest"])) for layer in manifest["layers"]]
        # All names of the image: a kubelet's has a digest and an id too.
        run(*images, "rm", "--sync", *run(*images, "ls", "-q").split())
        assert listed == layers, f"containerd {reference}: the configuration and the layers differ"
        return layers


def is_for(descriptor, platform):
    found = descriptor.get("platform", {})
    return f"{found.get('os')}/{found.get('architecture')}" == platform


def field(number, content):
    """A field of a protobuf message that holds text or another message."""
    length, size = b"", len(content)
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


@contextlib.contextmanager
def containerd_daemon(folder):
    """A daemon with everything in a folder until the end of the `with`. The folder's path must be short."""
    client = Containerd(folder)
    plugins = ", ".join(f'"io.containerd.snapshotter.v1.{name}"' for name in DISABLED)
    (folder / "config.toml").write_text(CONFIG.format(folder=folder, plugins=plugins))

    def ready():
        return result(*client.command("version"), timeout=20).returncode == 0

    command = ["containerd", "--config", folder / "config.toml"]
    with running(command, folder / "containerd.log", ready=ready, seconds=90):
        yield client
