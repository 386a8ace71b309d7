"""Makes the .rpm with rpmbuild: the same bytes each time."""

import os
import pathlib
import shutil
import tempfile

from release import contents, stage
from release.contents import HERE, File
from release.program import is_static
from release.source import ROOT, output

ZSH = "/usr/share/zsh/site-functions"
# No settings of a distribution change the files, and nothing depends on this machine or on the clock.
MACROS = {
    "__os_install_post": "%{nil}",
    "debug_package": "%{nil}",
    "_build_id_links": "none",
    "_buildhost": "localhost",
    "use_source_date_epoch_as_buildtime": "1",
    "clamp_mtime_to_source_date_epoch": "1",
    "_build_name_fmt": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
}


def make(source, architecture, files, program, level, folder):
    """Makes the package in a folder, and returns its path."""
    files = [*files, File("/usr/share/licenses/raas/LICENSE", ROOT / "LICENSE")]
    with tempfile.TemporaryDirectory() as temporary:
        temporary = pathlib.Path(temporary)
        # rpmbuild empties its own folder of files before it begins.
        ready, spec = temporary / "ready", temporary / "raas.spec"
        ready.mkdir()
        stage.lay(ready, files, source.seconds)
        values = {
            "VERSION": source.version,
            "READY": ready,
            "FILES": "\n".join(map(entry, files)),
            "LIBRARIES": "no" if is_static(program) else "yes",
        }
        spec.write_text(stage.fill((HERE / "raas.spec").read_text(), values, escape))
        macros = MACROS | {"_topdir": temporary / "top", "_dbpath": temporary / "db"}
        macros["_binary_payload"] = f"w{level}.xzdio"
        command = ["rpmbuild", "-bb", "--quiet", "--target", f"{architecture.name}-linux"]
        for name, value in macros.items():
            command += ["--define", f"{name} {value}"]
        environment = os.environ | {"SOURCE_DATE_EPOCH": str(source.seconds), "LC_ALL": "C.UTF-8"}
        output(*command, spec, env=environment)
        (made,) = (temporary / "top" / "RPMS").iterdir()
        return pathlib.Path(shutil.move(made, folder / made.name))


def escape(script):
    """A script in which rpm finds no macro."""
    return script.replace("%", "%%")


def entry(file):
    """The line of a file in the list of the package."""
    kind = ""
    if file.path == contents.CONFIGURATION:
        kind = "%config(noreplace) "
    elif file.path.startswith("/usr/share/licenses/"):
        kind = "%license "
    elif file.path.startswith((contents.DOCUMENTS, "/usr/share/man/")):
        kind = "%doc "
    group = "raas" if file.is_for_raas else "root"
    return f"{kind}%attr({file.mode:04o}, root, {group}) {file.path}"
