"""The checksums of a release, and the signature of the checksums."""

import hashlib
import subprocess

from release.source import ReleaseError

NAME = "SHA256SUMS"
# Keeps a signature from counting for anything else that the key signs. Source: `man ssh-keygen`, -Y sign.
NAMESPACE = "raas-release"


def write(folder):
    """Writes the checksums of everything below a folder, and returns their file."""
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    lines = []
    for path in paths:
        with (folder / path).open("rb") as content:
            lines.append(f"{hashlib.file_digest(content, 'sha256').hexdigest()}  {path}\n")
    sums = folder / NAME
    sums.write_text("".join(lines))
    return sums


def sign(sums, key):
    """Signs with a key of SSH: its file, or the file of a public key whose private key the agent has."""
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(sums)]
    if subprocess.run(command, check=False).returncode != 0:
        raise ReleaseError(f"ssh-keygen cannot sign {sums} with {key}")
    return sums.with_name(f"{NAME}.sig")
