"""The SBOM: the packages in a program, as CycloneDX has them."""

import json
import tomllib

from release.source import ROOT, output


def packages(target, features=()):
    """The packages of a build: CycloneDX's components, and which package needs which."""
    command = ["cargo", "tree", "--locked", "--package", "raas", "--target", target, *features]
    listed = output(*command, "--edges", "normal", "--prefix", "depth", "--format", "\t{p}\t{l}", cwd=ROOT)
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in locked}
    found, needs, above = {}, {}, []
    for line in listed.splitlines():
        depth, package, licence = line.split("\t")
        name, number = package.split()[:2]
        number = number.removeprefix("v")
        reference = f"pkg:cargo/{name}@{number}"
        needed = needs.setdefault(reference, set())
        del above[int(depth) :]
        if above:
            above[-1].add(reference)
        above.append(needed)
        component = {
            "type": "library",
            "bom-ref": reference,
            "name": name,
            "version": number,
            "purl": reference,
        }
        if licence := licence.removesuffix(" (*)").replace("/", " OR "):
            component["licenses"] = [{"expression": licence}]
        if checksum := checksums.get((name, number)):
            component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        found[name, number] = component
    graph = [{"ref": reference, "dependsOn": sorted(needs[reference])} for reference in sorted(needs)]
    return [found[key] for key in sorted(found)], graph


def document(component, target, features=()):
    """What is in a program or an image. It says no time, so that it is the same each time."""
    components, graph = packages(target, features)
    (root,) = [one["bom-ref"] for one in components if one["name"] == "raas"]
    graph.insert(0, {"ref": component["bom-ref"], "dependsOn": [root]})
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component},
        "components": components,
        "dependencies": graph,
    }


def write(document, path):
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
