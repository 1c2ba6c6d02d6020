"""Within the networks, imports go one way: kernels, then layers, then Sequential, then whole networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from ...test_package import REPOSITORY, imported, sources

PACKAGE = "mathdnn_jax/nets"

# A module imports from its own floor and from the floors before it.
FLOORS = [
    {"shapes", "kernels", "initializers", "pure_module"},
    {"layers"},
    {"sequential"},
    {"models", "conditioners", "mlp", "conv1d_backprop"},
]


def floor(module: str) -> int:
    (level,) = [level for level, modules in enumerate(FLOORS) if module in modules]
    return level


MODULES = [path for path in sources(PACKAGE) if path != REPOSITORY / PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY / PACKAGE)))
def test_networks_import_only_their_own_floor_and_those_below(path: Path) -> None:
    own = path.relative_to(REPOSITORY / PACKAGE).with_suffix("").parts[0]
    for name in imported(path):
        package, _, rest = name.partition(".nets.")
        if package != "mathdnn_jax" or not rest:
            assert name != "mathdnn_jax.nets", f"{own} imports names of {PACKAGE} from the package itself"
            continue
        other = rest.partition(".")[0]
        assert floor(other) <= floor(own), f"{own} imports {name}, which lies above it"


def test_whole_networks_do_not_import_each_other() -> None:
    for path in MODULES:
        own = path.stem
        if own in FLOORS[-1]:
            others = {name.partition(".nets.")[2].partition(".")[0] for name in imported(path)}
            assert not (others - {own}) & FLOORS[-1], path
