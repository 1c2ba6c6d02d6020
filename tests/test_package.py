"""The package as a whole: its imports, its floors, and the contents of its wheel."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import mathdnn_jax

REPOSITORY = Path(__file__).resolve().parents[1]

# Ground floor first; a room imports only what stands before it. The command line is the roof.
ROOMS = [
    "errors", "events", "seeds", "versions", "files", "folder_lock", "signals", "pickling", "memory", "probability",
    "nets", "bijectors", "surgery", "flows",
    "training", "generative", "data", "tasks", "recipes", "plots", "progress", "testing", "claims", "parity", "cli",
    "__main__",
]  # fmt: skip


def run(code: str, *flags: str) -> str:
    done = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, timeout=120, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def brought_in(statement: str, *given: str) -> list[str]:
    """The packages that a statement imports, beyond the standard library and what the given ones import themselves."""
    code = f"""
import sys, {", ".join(given)}
before = {{name.partition(".")[0] for name in sys.modules}}
{statement}
after = {{name.partition(".")[0] for name in sys.modules}}
print(*sorted(after - before - set(sys.stdlib_module_names)))
"""
    return run(code).split()


def test_importing_the_library_imports_nothing_else() -> None:
    assert brought_in("import mathdnn_jax", "sys") == ["mathdnn_jax"]


def test_the_library_needs_its_four_packages_alone() -> None:
    names = [name for name in mathdnn_jax.__all__ if name not in ("check_bijector", "claims", "plots", "testing")]
    statement = f"import mathdnn_jax as mj; {', '.join(f'mj.{name}' for name in names)}"
    assert brought_in(statement, "jax", "flax", "flax.linen", "optax", "numpy") == ["mathdnn_jax"]


def test_the_checker_needs_neither_flax_nor_optax_nor_scipy() -> None:
    assert brought_in("import mathdnn_jax.testing", "jax", "numpy", "hypothesis") == ["mathdnn_jax"]
    for path in sources("mathdnn_jax/testing"):
        foreign = {name.partition(".")[0] for name in imported(path)} & {"flax", "optax", "scipy"}
        assert not foreign, f"{path} imports {foreign}"


def test_the_root_lists_each_name_for_programs_and_for_type_checkers_alike() -> None:
    declared: dict[str, str] = {}
    tree = ast.parse((REPOSITORY / "mathdnn_jax" / "__init__.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mathdnn_jax"):
            declared |= {alias.name: node.module for alias in node.names}
    assert sorted(declared) == sorted(mathdnn_jax.__all__)
    for name, module in declared.items():
        found = getattr(mathdnn_jax, name)
        if module == "mathdnn_jax":
            assert found is importlib.import_module(f"mathdnn_jax.{name}")
        else:
            assert found is getattr(importlib.import_module(module), name)


def test_converting_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import parity; print(*sorted(parity.MODELS))"
    assert run(code).split() == [
        "autoencoder", "conv-relu-bn", "conv-relu-sign-bias", "dcgan-discriminator", "dcgan-generator",
        "gan-discriminator", "gan-generator", "lenet", "mixture-cdf", "net1", "net2", "nice", "small-net",
        "small-net-folded", "vae",
    ]  # fmt: skip


def test_a_torch_checkpoint_is_read_without_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the checkpoint is written by PyTorch")
    path = tmp_path / "x.pt"
    torch.save({"x": torch.arange(3.0)}, path)
    code = f"import sys; sys.modules['torch'] = None; import parity; print(parity.load({str(path)!r})['x'])"
    assert run(code).strip() == "[0. 1. 2.]"


def sources(package: str) -> Iterator[Path]:
    yield from sorted((REPOSITORY / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(name: str) -> str | None:
    parts = name.split(".")
    if parts[0] == "mathdnn_jax" and len(parts) > 1 and parts[1] in ROOMS:
        return parts[1]
    return parts[0] if parts[0] in ("parity", "benchmarks") else None


@pytest.mark.parametrize(
    "path", [*sources("mathdnn_jax"), *sources("parity")], ids=lambda path: str(path.relative_to(REPOSITORY))
)
def test_rooms_import_only_what_lies_below(path: Path) -> None:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    own = "parity" if parts[0] == "parity" else parts[1]
    if own == "__init__":
        return
    assert own in ROOMS, f"{path} is in no known room"
    for name in imported(path):
        other = room(name)
        assert other != "benchmarks"
        if other is not None and other != own:
            assert ROOMS.index(other) < ROOMS.index(own), f"{path} imports {name}, which lies above it"


def test_the_library_imports_torch_nowhere_but_beside_torchvision() -> None:
    offenders = {
        path.name
        for path in sources("mathdnn_jax")
        for name in imported(path)
        if name.split(".")[0] in ("torch", "torchvision")
    }
    # The one exception: an adapter that checks a PyTorch map, and imports PyTorch when it is called.
    assert offenders == {"from_torch.py"}


@pytest.mark.parametrize("package", ["mathdnn_jax", "parity", "benchmarks", "tests"])
def test_files_hold_one_idea(package: str) -> None:
    long = {str(path): count for path in sources(package) if (count := len(path.read_text().splitlines())) > 300}
    assert long == {}


def test_the_version_stands_once() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert settings["project"]["dynamic"] == ["version"]
    assert settings["tool"]["hatch"]["version"]["path"] == "mathdnn_jax/__init__.py"


@pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="building a wheel needs hatchling")
def test_the_wheel_works_elsewhere(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        check=True,
        capture_output=True,
        cwd=REPOSITORY,
        timeout=120,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"mathdnn_jax-{mathdnn_jax.__version__}-")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert {name.split("/")[0].split("-")[0] for name in names} == {"mathdnn_jax", "parity"}
    for package in ("mathdnn_jax", "parity"):
        assert f"{package}/py.typed" in names
        expected = {str(path.relative_to(REPOSITORY)) for path in sources(package)}
        assert {name for name in names if name.startswith(f"{package}/") and name.endswith(".py")} == expected
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path / "site")!r})
import jax, mathdnn_jax, parity
assert mathdnn_jax.__file__.startswith({str(tmp_path)!r}), mathdnn_jax.__file__
flow = mathdnn_jax.nice(dim=4, width=2, depth=1, couplings=2)
params = flow.init(jax.random.key(0))
print(flow.log_prob(params, flow.sample(params, jax.random.key(1), (3,))).shape)
assert parity.convert(parity.export(params)).keys() == params.keys()
"""
    assert run(code).startswith("(3,)")
