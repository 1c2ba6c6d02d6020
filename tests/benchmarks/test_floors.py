"""The floors of `benchmarks`: each part imports only the parts below it, and only some parts import a framework."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks

from ..test_package import imported

PACKAGE = Path(benchmarks.__file__).parent

# Ground floor first. A part is a package or module of `benchmarks`; it imports only the parts that stand before it.
FLOORS = [
    "errors", "progress", "case", "frameworks", "harness", "reports", "workloads", "run", "train", "checker",
    "conventions", "gpu", "commands", "cli", "__main__",
]  # fmt: skip
FRAMEWORKS = {"jax", "jaxlib", "flax", "optax", "torch", "torchvision"}
BARE = {"errors", "progress", "case", "harness", "reports", "run", "commands", "cli", "__main__"}
"""The parts that import no framework themselves; they have `frameworks` and `workloads` do the work."""
NEED_NO_TORCH = ["reports.page", "reports.pictures", "reports.regression", "gpu.page", "gpu.supervise", "cli"]


def part(name: str) -> str | None:
    """The part that a dotted name belongs to; None for other packages, and for `benchmarks` itself."""
    parts = name.split(".")
    return parts[1] if parts[0] == "benchmarks" and len(parts) > 1 and parts[1] in FLOORS else None


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_parts_import_only_what_lies_below(path: Path) -> None:
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own == "__init__":
        assert not list(imported(path))
        return
    assert own in FLOORS, f"{path} belongs to no known part"
    for name in imported(path):
        other = part(name)
        if other is not None and other != own:
            assert FLOORS.index(other) < FLOORS.index(own), f"{path} imports {name}, which lies above it"
        if own in BARE:
            assert name.split(".")[0] not in FRAMEWORKS, f"{path} imports {name}; frameworks/ is the place for it"


def test_every_part_is_on_a_floor() -> None:
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert found - {"__init__"} == set(FLOORS)


def test_the_floors_are_those_that_the_package_describes() -> None:
    text = benchmarks.__doc__ or ""
    described = [name for name in FLOORS if f"`{name}`" in text.partition("from the ground up")[2]]
    assert described == FLOORS[:-1]
    places = [text.rindex(f"`{name}`") if name in ("run", "train") else text.index(f"`{name}`") for name in described]
    assert places == sorted(places)


@pytest.mark.parametrize("name", NEED_NO_TORCH)
def test_what_only_reads_results_needs_no_torch(name: str) -> None:
    code = f"import sys; sys.modules['torch'] = None; import benchmarks.{name}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
