"""The licences of all crates in a program: who gives the program away gives these texts too."""

import json
import pathlib
import re

from release.source import ROOT, ReleaseError, output

TEXTS = re.compile(r"^(licen[cs]es?|copying|copyright|notice|unlicense)([-_.].*)?$", re.IGNORECASE)
RULE = "-" * 80


def text(components):
    """The texts of some components of an SBOM, each text once, below the crates that have it."""
    listed = output("cargo", "metadata", "--locked", "--format-version", "1", cwd=ROOT)
    folders = {
        (one["name"], one["version"]): (pathlib.Path(one["manifest_path"]).parent, one["source"])
        for one in json.loads(listed)["packages"]
    }
    users, bare = {}, []
    for component in components:
        folder, where = folders[component["name"], component["version"]]
        # Without a source it is a crate of this workspace, which LICENSE is about.
        if where is None:
            continue
        crate = f"{component['name']} {component['version']}"
        (licence,) = component.get("licenses") or [{"expression": None}]
        if licence["expression"] is None:
            raise ReleaseError(f"the crate {crate} names no licence")
        crate += f" ({licence['expression']})"
        # A crate around a library in C has the library in a folder.
        paths = sorted([*folder.glob("*"), *folder.glob("*/*")])
        texts = [path for path in paths if TEXTS.match(path.name) and path.is_file()]
        if not texts:
            bare.append(crate)
        for path in texts:
            users.setdefault(path.read_text(errors="replace").strip(), []).append(crate)
    parts = ["The program raas contains these crates. Their authors give them under these terms."]
    if bare:
        names = "\n".join(bare)
        parts.append(f"{RULE}\nWithout a text of their own, under the licence that they name:\n\n{names}")
    for content, crates in sorted(users.items(), key=lambda item: item[1][0]):
        names = "\n".join(dict.fromkeys(crates))
        parts.append(f"{RULE}\n{names}\n\n{content}")
    return "\n\n".join(parts) + "\n"
