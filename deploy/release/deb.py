"""Makes the .deb with dpkg-deb: the same bytes each time."""

import email.utils
import hashlib
import os
import pathlib
import tempfile

from release import contents, stage
from release.contents import HERE, File
from release.program import is_static
from release.source import output

ZSH = "/usr/share/zsh/vendor-completions"
NEEDS = ["ca-certificates", "git", "passwd"]
SCRIPTS = ("postinst", "prerm", "postrm")


def template(name, **values):
    return stage.fill((HERE / "debian" / name).read_text(), values)


def changelog(source):
    """Debian's own form of a changelog. It leads to the real one."""
    date = email.utils.formatdate(source.seconds)
    text = f"raas ({source.version}) stable; urgency=medium\n\n"
    text += "  * The changes of each release are in CHANGELOG.md, beside this file.\n\n"
    text += f" -- raas maintainers <raas-registry@users.noreply.github.com>  {date}\n"
    return contents.packed(text.encode())


def depends(program):
    """What the package needs. A program that is not static needs the libraries that this machine has."""
    if is_static(program):
        return ", ".join(NEEDS)
    libc = output("dpkg-query", "--show", "--showformat=${Version}", "libc6").split("-")[0]
    return ", ".join([*NEEDS, f"libc6 (>= {libc})", "libgcc-s1"])


def make(source, architecture, files, program, level, folder):
    """Makes the package in a folder, and returns its path."""
    files = [
        *files,
        File(f"{contents.DOCUMENTS}/changelog.gz", changelog(source)),
        File(f"{contents.DOCUMENTS}/copyright", HERE / "debian" / "copyright"),
        File("/usr/share/lintian/overrides/raas", HERE / "debian" / "lintian-overrides"),
    ]
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary) / "root"
        root.mkdir()
        size = stage.lay(root, files, source.seconds)
        control = template(
            "control",
            VERSION=source.version,
            ARCHITECTURE=architecture.deb,
            SIZE=-(-size // 1024),
            DEPENDS=depends(program),
        )
        debian = [File("/DEBIAN/control", control.encode())]
        debian += [File(f"/DEBIAN/{name}", template(name).encode(), 0o755) for name in SCRIPTS]
        debian.append(File("/DEBIAN/conffiles", f"{contents.CONFIGURATION}\n".encode()))
        debian.append(File("/DEBIAN/md5sums", checksums(root).encode()))
        stage.lay(root, debian, source.seconds)
        package = folder / f"raas_{source.version}_{architecture.deb}.deb"
        # With several threads the bytes depend on their number.
        command = ["dpkg-deb", "--root-owner-group", "-Zxz", f"-z{level}", "--threads-max=1"]
        environment = os.environ | {"SOURCE_DATE_EPOCH": str(source.seconds)}
        output(*command, "--build", root, package, env=environment)
    return package


def checksums(root):
    """The MD5 of every installed file but the configuration, as `dpkg --verify` reads them."""
    lines = []
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name = path.relative_to(root)
        if f"/{name}" != contents.CONFIGURATION:
            with path.open("rb") as content:
                lines.append(f"{hashlib.file_digest(content, 'md5').hexdigest()}  {name}\n")
    return "".join(lines)
