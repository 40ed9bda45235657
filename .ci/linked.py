"""Put what a wheel requires into a fresh environment, as links to the files of the environment that runs this.

    .venv/bin/python .ci/linked.py tfinv.whl FRESH/bin/python

Only distributions that the wheel requires, directly or through others, are linked. What is missing among them, or too
old, pip installs afterwards; what tfinv imports without declaring it is missing there, as it is for any user.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from email import message_from_bytes
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement


def required(texts: Iterable[str]) -> dict[str, Distribution]:
    """The installed distributions that these requirements lead to, by name."""
    found: dict[str, Distribution] = {}
    waiting, seen = [(Requirement(text), "") for text in texts], set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        try:
            installed = distribution(requirement.name)
        except PackageNotFoundError:
            continue
        if not requirement.specifier.contains(installed.version, prereleases=True):
            continue
        found[installed.name] = installed
        for inner in ["", *requirement.extras]:
            if (installed.name, inner) not in seen:
                seen.add((installed.name, inner))
                waiting += [(Requirement(text), inner) for text in installed.requires or ()]
    return found


def files(installed: Distribution) -> Iterator[tuple[Path, Path]]:
    """Where each file of a distribution lies and its place in `site-packages`, without scripts, which name a Python."""
    for path in installed.files or ():
        if ".." not in path.parts and not path.is_absolute():
            yield Path(str(installed.locate_file(path))), Path(path)


def link(source: Path, target: Path) -> None:
    """A second name for a file; a copy where the folders lie on different disks."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        pass  # of a namespace that several distributions share
    except OSError:
        shutil.copy2(source, target)


def main(wheel: str, python: str) -> None:
    """Link what the wheel requires into the environment of this Python."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        needed = message_from_bytes(archive.read(metadata)).get_all("Requires-Dist", [])
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    folder = Path(subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip())
    distributions = required(needed)
    for installed in distributions.values():
        for source, place in files(installed):
            if source.is_file():
                link(source, folder / place)
    print(f"linked {len(distributions)} distributions")


if __name__ == "__main__":
    main(*sys.argv[1:])
