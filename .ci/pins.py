"""Pinned versions as a constraints file.

`python .ci/pins.py write FILE REPORT` writes the versions in pip's report of an installation to FILE.
`python .ci/pins.py same FILE` exits with 1 unless this Python's environment has the versions in FILE, and lists those
that differ.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from pathlib import Path

OWN = {"mathdnn-jax", "pip", "setuptools", "wheel"}


def normal(name: str) -> str:
    """The normalised spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def public(version: str) -> str:
    """A version without its local part: 2.13.0+cpu is 2.13.0."""
    return version.partition("+")[0]


def installed() -> dict[str, str]:
    """The versions installed in this environment, by name."""
    found = {normal(one.name): public(one.version) for one in importlib.metadata.distributions()}
    return {name: version for name, version in found.items() if name not in OWN}


def reported(path: Path) -> dict[str, str]:
    """The versions in pip's report of an installation, by name."""
    about = [item["metadata"] for item in json.loads(path.read_text())["install"]]
    found = {normal(one["name"]): public(one["version"]) for one in about}
    return {name: version for name, version in found.items() if name not in OWN}


def pinned(path: Path) -> dict[str, str]:
    """The versions in a constraints file, by name."""
    lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    pairs = [line.split("==") for line in lines if line]
    return {normal(name): version for name, version in pairs}


def main(command: str, file: str, report: str = "") -> int:
    """Run the command."""
    path = Path(file)
    if command == "write":
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        lines = [f"# For Python {python}, made by .ci/refresh: the newest versions with which the tests passed."]
        lines += [f"{name}=={version}" for name, version in sorted(reported(Path(report)).items())]
        path.write_text("\n".join(lines) + "\n")
        return 0
    pins, here = pinned(path), installed()
    others = {name: version for name, version in here.items() if pins.get(name) != version}
    for name, version in sorted(others.items()):
        print(f"{name} {version}, pinned is {pins.get(name, 'nothing')}")
    return int(bool(others))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
