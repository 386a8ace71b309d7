"""Makes the archive for every other system: the same bytes each time."""

import gzip
import io
import tarfile

from release import contents
from release.contents import File
from release.source import ROOT


def files(program, texts, licences):
    """Every file of the archive, below its folder."""
    found = [
        File("raas", program, 0o755),
        File("third-party-licences.txt", licences.encode()),
        File("completions/raas.bash", texts.completions["bash"]),
        File("completions/raas.fish", texts.completions["fish"]),
        File("completions/_raas", texts.completions["zsh"]),
        File("systemd/raas.sysusers", contents.HERE / "raas.sysusers"),
    ]
    found += [File(f"man/man1/{name}", page) for name, page in texts.pages.items()]
    found += [File(f"systemd/{path.name}", path) for path in contents.UNITS.iterdir()]
    for name in ("CHANGELOG.md", "LICENSE", "README.md", "raas.cfg.template"):
        found.append(File(name, ROOT / name))
    return sorted(found, key=lambda file: file.path)


def make(source, architecture, files, level, folder):
    """Makes the archive in a folder, and returns its path."""
    name = f"raas-{source.version}-{architecture.name}-linux"
    archive = folder / f"{name}.tar.gz"
    with (
        archive.open("wb") as raw,
        # The name of the file, and the time now, would be in the bytes.
        gzip.GzipFile("", "wb", level, raw, mtime=source.seconds) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for file in files:
            add(tar, f"{name}/{file.path}", file, source.seconds)
    return archive


def add(tar, name, file, seconds):
    member = tarfile.TarInfo(name)
    member.mode, member.mtime = file.mode, seconds
    member.uname = member.gname = "root"
    if isinstance(file.content, bytes):
        member.size = len(file.content)
        tar.addfile(member, io.BytesIO(file.content))
        return
    member.size = file.content.stat().st_size
    with file.content.open("rb") as content:
        tar.addfile(member, content)


def pack(folder, archive, seconds):
    """Puts every file of a folder into a plain archive."""
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            add(tar, str(path.relative_to(folder)), File("", path), seconds)
