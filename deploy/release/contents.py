"""What a package installs: one table, from which the .deb and the .rpm are made."""

import dataclasses
import gzip
import pathlib
import shutil
import subprocess
import tempfile

from release.source import ROOT, ReleaseError, output

HERE = pathlib.Path(__file__).resolve().parent
UNITS = ROOT / "deploy" / "systemd"
CONFIGURATION = "/etc/raas/raas.cfg"
DOCUMENTS = "/usr/share/doc/raas"
# The section of the example vendor. Installed as it is, it would make a vendor.
EXAMPLE = "[bigdatainc]"


@dataclasses.dataclass(frozen=True)
class File:
    """A file of the package."""

    # Where it is installed.
    path: str
    # Its bytes, or the file that has them.
    content: bytes | pathlib.Path
    mode: int = 0o644
    # root and raas own it, and not root alone.
    is_for_raas: bool = False

    def write(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(self.content, bytes):
            path.write_bytes(self.content)
        else:
            shutil.copyfile(self.content, path)
        path.chmod(self.mode)


@dataclasses.dataclass(frozen=True)
class Texts:
    """What the program says about itself."""

    # Name to content.
    pages: dict
    # Shell to script.
    completions: dict


def texts(program):
    """The manual pages and the completions of a program that runs on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        output(program, "man", "--to", folder)
        pages = {path.name: path.read_bytes() for path in sorted(pathlib.Path(folder).iterdir())}
    completions = {
        shell: subprocess.run([program, "completions", shell], check=True, stdout=subprocess.PIPE).stdout
        for shell in ("bash", "zsh", "fish")
    }
    return Texts(pages, completions)


def packed(content):
    """The same bytes each time."""
    return gzip.compress(content, 9, mtime=0)


def configuration():
    """The template with everything switched off, the example vendor's section too."""
    text = (ROOT / "raas.cfg.template").read_text()
    if text.count(f"\n{EXAMPLE}\n") != 1:
        raise ReleaseError(f"raas.cfg.template does not have one section {EXAMPLE}")
    return text.replace(f"\n{EXAMPLE}\n", f"\n#{EXAMPLE}\n").encode()


def files(program, texts, licences, zsh):
    """Every file of the package. `zsh` is the folder where a distribution's zsh looks for completions."""
    documents = [ROOT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md", "raas.cfg.template")]
    found = [
        File("/usr/bin/raas", program, 0o755),
        File(CONFIGURATION, configuration(), 0o640, is_for_raas=True),
        File("/usr/lib/sysusers.d/raas.conf", HERE / "raas.sysusers"),
        File("/usr/share/bash-completion/completions/raas", texts.completions["bash"]),
        File("/usr/share/fish/vendor_completions.d/raas.fish", texts.completions["fish"]),
        File(f"{zsh}/_raas", texts.completions["zsh"]),
        File(f"{DOCUMENTS}/third-party-licences.txt.gz", packed(licences.encode())),
        File(f"{DOCUMENTS}/grafana/raas.json", ROOT / "deploy" / "grafana" / "raas.json"),
        File(f"{DOCUMENTS}/prometheus/raas.rules.yml", ROOT / "deploy" / "prometheus" / "raas.rules.yml"),
    ]
    found += [File(f"/usr/share/man/man1/{name}.gz", packed(page)) for name, page in texts.pages.items()]
    found += [File(f"/usr/lib/systemd/system/{path.name}", path) for path in sorted(UNITS.iterdir())]
    found += [File(f"{DOCUMENTS}/{path.name}", path) for path in documents]
    found += [File(f"{DOCUMENTS}/docs/{path.name}", path) for path in sorted((ROOT / "docs").glob("*.md"))]
    json = sorted((ROOT / "docs" / "json").iterdir())
    found += [File(f"{DOCUMENTS}/docs/json/{path.name}", path) for path in json]
    return sorted(found, key=lambda file: file.path)


def script(name):
    """A part of the packages' scripts."""
    return (HERE / "scripts" / f"{name}.sh").read_text().rstrip()
