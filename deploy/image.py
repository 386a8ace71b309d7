#!/usr/bin/env python3
"""Builds the container image of the server, the same bytes each time, with its SBOM and its provenance.

usage: image.py [--profile NAME] [--target-dir FOLDER] [--program FILE] OUTPUT

OUTPUT gets `raas`, the program, and `layout`, an OCI layout that `raas push` publishes:

    raas push ISV raas --from OUTPUT/layout

It needs podman and binutils. The SBOM (CycloneDX) and the provenance (SLSA) refer to the image.
"""

import argparse
import hashlib
import json
import pathlib
import re
import shutil
import tempfile

from release.program import X86_64, build, is_static
from release.sbom import document
from release.source import ROOT, ReleaseError, commit, crate_version, output

FEATURES = ["credentials", "traces"]
OPTIONS = ["--no-default-features", "--features", ",".join(FEATURES)]
AUTHORITIES = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
# The most bytes of the image, packed.
MOST = 12 << 20

# Code that a server must not have: git, writers of buckets, readers of images, clients of others.
# The configuration has addresses of these, so their types are there, and what frees them.
FORBIDDEN = re.compile(
    r"\b(raas_git|raas_image|raas_kubernetes|raas_publish::storage|aws_sdk_s3|kube_client)::"
    r"|\braas_sources::(pulp::|registry::(?!address::))"
)

OCI = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
SBOM = "application/vnd.cyclonedx+json"
PROVENANCE = "application/vnd.in-toto+json"


def inspect(program):
    """Fails if the program has code that a server must not have, or needs a library."""
    symbols = output("nm", "--demangle", program).splitlines()
    if not any("raas_server::" in symbol for symbol in symbols):
        raise ReleaseError(f"{program} has no symbols to look at")
    found = [one for one in symbols if FORBIDDEN.search(one) and "drop_in_place<" not in one]
    if found:
        raise ReleaseError(f"{program} has code that a server must not have, such as {found[0]}")
    if not is_static(program):
        raise ReleaseError(f"{program} is not static")


def layout(program, folder, storage):
    """Builds the image with podman, as an OCI layout. Returns the descriptor of its manifest."""
    revision, seconds = commit()
    context = storage / "context"
    context.mkdir()
    shutil.copy(program, context / "raas")
    (context / "raas").chmod(0o755)
    shutil.copy(AUTHORITIES, context)
    created = output("date", "--utc", "--date", f"@{seconds}", "+%Y-%m-%dT%H:%M:%SZ").strip()
    podman = ["podman", "--root", storage / "r", "--runroot", storage / "rr", "--storage-driver=vfs"]
    name = f"localhost/raas:{crate_version()}"
    arguments = {"VERSION": crate_version(), "REVISION": revision, "CREATED": created}
    command = [*podman, "build", "--quiet", "--isolation=chroot", "--timestamp", seconds, "--tag", name]
    command += [f"--build-arg={key}={value}" for key, value in arguments.items()]
    output(*command, "--file", ROOT / "deploy" / "Containerfile", context)
    shutil.rmtree(folder, ignore_errors=True)
    output(*podman, "push", "--quiet", name, f"oci:{folder}:{crate_version()}")
    (found,) = json.loads((folder / "index.json").read_text())["manifests"]
    return found


def sbom(image):
    """What is in the image."""
    main = {"type": "container", "bom-ref": "image", "name": "raas", "version": crate_version()}
    main["hashes"] = [{"alg": "SHA-256", "content": image["digest"].removeprefix("sha256:")}]
    return document(main, X86_64.target, OPTIONS)


def provenance(image, profile):
    """How the image was built. Source: SLSA, provenance v1."""
    revision, _ = commit()
    source = {"uri": "git+https://github.com/raas-registry/raas", "digest": {"gitCommit": revision}}
    definition = {
        "buildType": "https://github.com/raas-registry/raas/blob/main/deploy/image.py",
        "externalParameters": {"profile": profile, "target": X86_64.target, "features": FEATURES},
        "internalParameters": {"rustc": output("rustc", "--version").strip()},
        "resolvedDependencies": [source],
    }
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "raas", "digest": {"sha256": image["digest"].removeprefix("sha256:")}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {"buildDefinition": definition, "runDetails": {"builder": {"id": "deploy/image.py"}}},
    }


def attach(folder, image, media_type, document):
    """Adds an artifact whose subject is the image. Source: OCI image specification 1.1, `subject`."""

    def store(content, kind):
        digest = hashlib.sha256(content).hexdigest()
        (folder / "blobs" / "sha256" / digest).write_bytes(content)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

    def packed(value):
        return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()

    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI,
        "artifactType": media_type,
        "config": store(b"{}", EMPTY),
        "layers": [store(packed(document), media_type)],
        "subject": {key: image[key] for key in ("mediaType", "digest", "size")},
    }
    index = json.loads((folder / "index.json").read_text())
    index["manifests"].append(store(packed(manifest), OCI) | {"artifactType": media_type})
    (folder / "index.json").write_bytes(packed(index))


def packed_size(folder, image):
    """The bytes that a client downloads."""
    manifest = json.loads((folder / "blobs" / image["digest"].replace(":", "/")).read_text())
    return sum(part["size"] for part in [manifest["config"], *manifest["layers"]])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="image", help="the profile of Cargo.toml (%(default)s)")
    parser.add_argument("--target-dir", type=pathlib.Path, default=ROOT / "target" / "image")
    parser.add_argument("--program", type=pathlib.Path, help="a program that is built, with symbols")
    parser.add_argument("output", type=pathlib.Path)
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    program = given.program or build(X86_64, given.profile, given.target_dir.resolve(), OPTIONS)
    inspect(program)
    stripped, folder = given.output / "raas", given.output / "layout"
    output("strip", "--strip-all", "-o", stripped, program)
    # podman's folder of sockets may have 50 characters at most.
    with tempfile.TemporaryDirectory(prefix="raas-") as storage:
        image = layout(stripped, folder, pathlib.Path(storage))
    attach(folder, image, SBOM, sbom(image))
    attach(folder, image, PROVENANCE, provenance(image, given.profile))
    size = packed_size(folder, image)
    digest = hashlib.sha256(stripped.read_bytes()).hexdigest()
    print(f"program: {stripped.stat().st_size} bytes, sha256 {digest}")
    print(f"image:   {size} bytes packed, {image['digest']}")
    if given.profile == "image" and size > MOST:
        raise ReleaseError(f"the image has {size} bytes, and may have {MOST}")


if __name__ == "__main__":
    main()
