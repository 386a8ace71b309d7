"""zstd:chunked layers, of which podman asks for the parts that it lacks: many ranges in one request.

The server answers such a request with the whole layer, as S3 does, and podman takes from it what it needs.
"""

import io
import os
import pathlib
import random
import tarfile

from harness.archives import docker_save, sha256
from harness.process import result, run

FILES = 60
VERSIONS = "12"


def content(number, version):
    """Every third file is different in the next version."""
    seed = f"{number} {version if number % 3 == 0 else ''}"
    return random.Random(seed).randbytes(20_000)


def layer(version):
    """A tar that ends as soon as it may: skopeo drops more zeros, and the digest would change."""
    out = io.BytesIO()
    previous, tarfile.RECORDSIZE = tarfile.RECORDSIZE, tarfile.BLOCKSIZE
    try:
        with tarfile.open(fileobj=out, mode="w") as tar:
            folder = tarfile.TarInfo("opt")
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
            for number in range(FILES):
                member = tarfile.TarInfo(f"opt/{number}")
                member.size = 20_000
                tar.addfile(member, io.BytesIO(content(number, version)))
    finally:
        tarfile.RECORDSIZE = previous
    return out.getvalue()


def layout(folder):
    """An OCI layout with two versions of an image."""
    for version in VERSIONS:
        archive, plain = folder / f"{version}.tar", layer(version)
        docker_save(archive, f"app:{version}", plain, sha256(plain))
        copy = ["skopeo", "copy", "-q", "--insecure-policy", "--dest-compress-format", "zstd:chunked"]
        run(*copy, f"docker-archive:{archive}", f"oci:{folder / 'oci'}:{version}")
    return folder / "oci"


class Podman:
    """podman with the only storage that takes layers in parts."""

    def __init__(self, folder):
        folder.mkdir()
        config = folder / "storage.conf"
        config.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n'
            '[storage.options]\npull_options = {enable_partial_images = "true"}\n'
        )
        self.environment = os.environ | {"CONTAINERS_STORAGE_CONF": str(config)}

    def __call__(self, *words):
        done = result("podman", *words, env=self.environment)
        assert done.returncode == 0, done
        return done

    def pull(self, reference, version):
        """Pulls an image in parts, and compares every file of it."""
        said = self("--log-level=debug", "pull", "--tls-verify=false", reference).stderr
        assert "Retrieved partial blob" in said, f"podman took the whole layer:\n{said}"
        root = pathlib.Path(self("image", "mount", reference).stdout.strip())
        try:
            for number in range(FILES):
                assert (root / "opt" / str(number)).read_bytes() == content(number, version), (
                    reference,
                    number,
                )
        finally:
            self("image", "umount", reference)

    def forget(self):
        """Removes every image."""
        self("rmi", "--all", "--force")
