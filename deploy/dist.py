#!/usr/bin/env python3
"""Makes a release, the same bytes each time: packages, archive, SBOM, checksums, signature.

usage: dist.py [OPTION...] [OUTPUT]

OUTPUT (target/dist-output) takes the place of an earlier one, and has for each processor

    x86_64/raas, x86_64/raas.debug     the static program, stripped, and its debug information
    raas_VERSION_amd64.deb             the package for Debian and its relatives
    raas-VERSION-1.x86_64.rpm          the package for Fedora, RHEL and their relatives
    raas-VERSION-x86_64-linux.tar.gz   the program, manual pages, completions, units, licences
    raas-VERSION-x86_64.cdx.json       the SBOM (CycloneDX)

and SHA256SUMS with the checksums of all of them. It needs git, binutils, dpkg-deb and rpmbuild (Debian's
package rpm). The version is that of Cargo.toml at the tag `vVERSION`. At every other commit it is
VERSION~gitTIME.COMMIT.
"""

import argparse
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from release import checksums, contents, deb, licences, program, rpm, sbom, tarball
from release.program import AARCH64, X86_64
from release.source import ROOT, ReleaseError, source

FORMATS = ("deb", "rpm", "tar")


def note(text):
    print(f"dist: {text}", file=sys.stderr)


def built(given, found, architecture):
    """The program of a processor with its symbols."""
    if given.program:
        return given.program.resolve()
    more = {"RAAS_COMMIT": found.revision}
    return program.build(architecture, given.profile, given.target_dir.resolve(), more=more)


def stripped(raw, architecture, folder):
    """Puts the stripped program and its debug information into a folder."""
    folder.mkdir()
    path = folder / "raas"
    shutil.copyfile(raw, path)
    path.chmod(0o755)
    environment = os.environ | {"OBJCOPY": architecture.tool("objcopy")}
    script = ROOT / "deploy" / "split-debug-info.sh"
    subprocess.run([script, path], check=True, env=environment)
    return path


def describe(found, architecture, path, folder):
    """Writes the SBOM of a program, and returns its components."""
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    main = {"type": "application", "bom-ref": "program", "name": "raas", "version": found.version}
    main["hashes"] = [{"alg": "SHA-256", "content": digest}]
    document = sbom.document(main, architecture.target)
    sbom.write(document, folder / f"raas-{found.version}-{architecture.name}.cdx.json")
    return document["components"]


def make(given, found, architecture, texts, folder):
    """Makes everything for one processor. `texts` is what the program says about itself, if that is known."""
    path = stripped(built(given, found, architecture), architecture, folder / architecture.name)
    program.check_architecture(path, architecture)
    if not program.is_static(path):
        note(f"{path} is not static, so its packages are for systems like this machine alone")
    texts = texts or contents.texts(path)
    licence = licences.text(describe(found, architecture, path, folder))
    for name, maker in (("deb", deb), ("rpm", rpm)):
        if name in given.format:
            files = contents.files(path, texts, licence, maker.ZSH)
            maker.make(found, architecture, files, path, given.level, folder)
    if "tar" in given.format:
        files = tarball.files(path, texts, licence)
        tarball.make(found, architecture, files, given.level, folder)
    return texts


def make_image(given, found, folder):
    """The container image of the server, as an archive of an OCI layout."""
    made = given.target_dir / "image-output"
    command = [sys.executable, ROOT / "deploy" / "image.py", "--target-dir", given.target_dir / "image"]
    subprocess.run([*command, made], check=True)
    tarball.pack(made / "layout", folder / f"raas-{found.version}-image-x86_64.tar", found.seconds)


def check_replaceable(folder):
    """Fails if a folder has something else than an earlier release."""
    if folder.exists() and any(folder.iterdir()) and not (folder / checksums.NAME).is_file():
        raise ReleaseError(f"{folder} has files, and no {checksums.NAME}: name another folder, or remove it")


def wanted(given):
    """The processors to build for: those that the caller names, or those that this machine can build for."""
    if given.program or given.architecture == "x86_64":
        return [X86_64]
    if why := AARCH64.is_missing():
        if given.architecture == "aarch64":
            raise ReleaseError(f"cannot build for aarch64: {why}")
        note(f"nothing is made for aarch64: {why}")
        return [X86_64]
    # The pages and the completions come from a program that this machine can run.
    return [X86_64, AARCH64]


def options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS
    )
    parser.add_argument("--profile", default="dist", help="the profile of Cargo.toml (%(default)s)")
    parser.add_argument("--target-dir", type=pathlib.Path, default=ROOT / "target" / "dist-build")
    parser.add_argument("--program", type=pathlib.Path, help="a program for x86-64 that is built already")
    parser.add_argument(
        "--architecture", choices=["x86_64", "aarch64"], help="fail if this one cannot be built for"
    )
    parser.add_argument("--version", help="the version of the packages (from git)")
    parser.add_argument("--format", action="append", choices=FORMATS, help="make these formats alone")
    parser.add_argument("--level", type=int, default=6, help="how hard to compress, 0 to 9 (%(default)s)")
    parser.add_argument("--image", action="store_true", help="make the container image too; needs podman")
    parser.add_argument("--sign", metavar="KEY", help="sign SHA256SUMS with this key of SSH")
    parser.add_argument("output", nargs="?", type=pathlib.Path, default=ROOT / "target" / "dist-output")
    given = parser.parse_args()
    given.format = given.format or FORMATS
    return given


def main():
    given = options()
    found = source(given.version)
    if found.is_modified:
        if given.sign:
            raise ReleaseError("the tree has changes that are in no commit: commit them before you sign")
        note("the tree has changes that are in no commit: nobody can make the same bytes again")
    check_replaceable(given.output)
    architectures = wanted(given)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.output.parent, prefix=".dist-") as temporary:
        folder = pathlib.Path(temporary) / "output"
        folder.mkdir()
        texts = None
        for architecture in architectures:
            texts = make(given, found, architecture, texts, folder)
        if given.image:
            make_image(given, found, folder)
        sums = checksums.write(folder)
        if given.sign:
            checksums.sign(sums, given.sign)
        print(sums.read_text(), end="")
        shutil.rmtree(given.output, ignore_errors=True)
        folder.rename(given.output)
    if not given.sign:
        note("nothing is signed: `--sign KEY` signs SHA256SUMS with a key of SSH")


if __name__ == "__main__":
    try:
        main()
    except ReleaseError as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: {' '.join(map(str, error.cmd))} failed with {error.returncode}")
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename} is missing")
