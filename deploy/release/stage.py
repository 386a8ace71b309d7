"""The folder that a package is made of, and the templates of the packages' scripts."""

import os
import re

from release.contents import script

# A line that stands for a part which both packages have: its indentation, and the name of the part.
PART = re.compile(r"^([ ]*)@([a-z]+)@$", re.MULTILINE)


def fill(template, values, escape=str):
    """A template with its parts, each of them escaped, and with the values in the place of their names."""

    def part(found):
        lines = escape(script(found[2])).splitlines()
        return "\n".join(found[1] + line if line else line for line in lines)

    text = PART.sub(part, template)
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def lay(folder, files, seconds):
    """Writes files below a folder, with one time for everything. Returns their size in bytes."""
    for file in files:
        file.write(folder / file.path.lstrip("/"))
    size = 0
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
        else:
            size += path.stat().st_size
        os.utime(path, (seconds, seconds))
    return size
