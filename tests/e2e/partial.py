"""Layers of which podman asks for the parts that it lacks: zstd:chunked, many ranges in one request. The server answers
such a request with the whole layer, as S3 does, and podman takes from it what it needs."""
import hashlib
import io
import json
import os
import pathlib
import random
import subprocess
import tarfile

import parts

FILES = 60


def content(number, version):
    """Every third file is another one in the next version."""
    seed = f"{number} {version if number % 3 == 0 else ''}"
    return random.Random(seed).randbytes(20_000)


def packed(members):
    """A tar without more zeros at its end than there must be: skopeo leaves them out, and the digest would be another."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            if data is None:
                member.type, member.mode, data = tarfile.DIRTYPE, 0o755, b""
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def image(folder, version):
    """A docker save archive of one layer."""
    record, tarfile.RECORDSIZE = tarfile.RECORDSIZE, tarfile.BLOCKSIZE
    layer = packed([("opt", None), *((f"opt/{number}", content(number, version)) for number in range(FILES))])
    tarfile.RECORDSIZE = record
    config = {"architecture": "amd64", "os": "linux", "config": {},
              "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}}
    manifest = [{"Config": "config.json", "RepoTags": [f"app:{version}"], "Layers": ["layer.tar"]}]
    files = {"layer.tar": layer, "config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
    archive = folder / f"{version}.tar"
    archive.write_bytes(packed(files.items()))
    return archive


def layout(folder):
    for version in "12":
        parts.run("skopeo", "copy", "-q", "--insecure-policy", "--dest-compress-format", "zstd:chunked",
                  f"docker-archive:{image(folder, version)}", f"oci:{folder / 'oci'}:{version}")
    return folder / "oci"


class Podman:
    """With the one storage that takes layers in parts."""

    def __init__(self, folder):
        folder.mkdir()
        config = folder / "storage.conf"
        config.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n'
                          '[storage.options]\npull_options = {enable_partial_images = "true"}\n')
        self.environment = os.environ | {"CONTAINERS_STORAGE_CONF": str(config)}

    def __call__(self, *words):
        done = subprocess.run(["podman", *words], capture_output=True, text=True, env=self.environment)
        assert done.returncode == 0, done
        return done

    def pull(self, reference, version):
        said = self("--log-level=debug", "pull", "--tls-verify=false", reference).stderr
        assert "Retrieved partial blob" in said, f"it was not taken in parts:\n{said}"
        root = pathlib.Path(self("image", "mount", reference).stdout.strip())
        for number in range(FILES):
            assert (root / "opt" / str(number)).read_bytes() == content(number, version), (reference, number)
        self("image", "umount", reference)

    def forget(self):
        self("rmi", "--all", "--force")


def partial(program, home, work, serve, answers):
    folder = work / "partial"
    folder.mkdir()
    raas = parts.Raas(program, home)
    raas("push", "acme", "chunked", "--from", layout(folder))
    bucket, checkout = home / "acme" / "bucket", home / "acme" / "checkout"
    podman = Podman(folder / "podman")
    # The web server knows no ranges, so that the server has to answer with the whole in any case.
    with parts.Cdn(bucket) as cdn:
        for kind, place in {"folder": [bucket], "proxy": [cdn.url, "--access", "proxy"]}.items():
            arguments = ["acme", "--log", "json", "--metadata", checkout, "--bucket", *place]
            with serve(program, work, f"partial-{kind}", *arguments) as server:
                parts.wait_for(kind, lambda: answers(server.address))
                # Of the second a part is here already.
                for version in "12":
                    podman.pull(f"{server.address}/chunked:{version}", version)
                podman.forget()
    print("ok    partial: zstd:chunked layers, from a folder and passed on", flush=True)
