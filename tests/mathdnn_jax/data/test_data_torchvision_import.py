"""The import of torchvision: as it is where that works, with two declarations where it does not."""

from __future__ import annotations

import gc
import importlib
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mathdnn_jax.data.torchvision_import import import_torchvision_datasets

from .data_files import run_python, without_modules

# A PyTorch whose operators are lines of text; it withdraws those of a collected library, as the real one does.
FAKE_TORCH = """
    import types, weakref

    class Library:
        alive = weakref.WeakSet()
        made = 0

        def __init__(self, name, kind):
            assert (name, kind) == ("torchvision", "FRAGMENT")
            self.schemas = []
            Library.alive.add(self)
            Library.made += 1

        def define(self, schema):
            self.schemas.append(schema)

    def defined():
        return sorted(schema for library in Library.alive for schema in library.schemas)

    class Operators:
        compiled = set()

        def __getattr__(self, name):
            if name in self.compiled or any(schema.startswith(name + "(") for schema in defined()):
                return name
            raise AttributeError(name)

    library = types.SimpleNamespace(Library=Library)
    ops = types.SimpleNamespace(torchvision=Operators())
"""

NEEDS_OPERATORS = """
    import torch
    import torchvision.half
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            raise RuntimeError(f"operator torchvision::{name} does not exist")
"""

NMS = "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[list[str], Any]]]:
    """Import the data sets beside a made-up PyTorch and torchvision: what came of two imports, and that PyTorch."""

    def import_beside(torchvision: str, *compiled: str) -> tuple[list[str], Any]:
        for name, text in {
            "torch.py": textwrap.dedent(FAKE_TORCH),
            "torchvision/__init__.py": textwrap.dedent(torchvision),
            # A module that was imported before the failure has seen the operators missing; it has to run again.
            "torchvision/half.py": "import torch\nseen = hasattr(torch.ops.torchvision, 'nms')\n",
            "torchvision/datasets/__init__.py": "import torchvision.half\nassert torchvision.half.seen\n",
        }.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        torch = importlib.import_module("torch")
        torch.ops.torchvision.compiled.update(compiled)
        try:
            said = [import_torchvision_datasets().__name__ for _ in range(2)]
        except Exception as error:
            said = [f"{type(error).__name__}: {error}"]
        gc.collect()
        return said, torch

    monkeypatch.syspath_prepend(tmp_path)
    # What was there before is not looked through when it collects.
    gc.freeze()
    with without_modules("torch", "torchvision"):
        yield import_beside
    gc.unfreeze()


LOADED = ["torchvision.datasets", "torchvision.datasets"]


@pytest.mark.parametrize(
    ("compiled", "declared"),
    [(("nms", "qnms"), []), ((), [NMS, f"q{NMS}"]), (("nms",), [f"q{NMS}"]), (("qnms",), [NMS])],
)
def test_missing_operators_are_declared_and_stay_and_no_others(
    imported: Callable[..., tuple[list[str], Any]], compiled: tuple[str, ...], declared: list[str]
) -> None:
    said, torch = imported(NEEDS_OPERATORS, *compiled)
    assert said == LOADED
    # Where the plain import works, nothing is declared, and no library is made for it.
    assert (torch.Library.made, torch.defined()) == (int(bool(declared)), declared)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ('raise RuntimeError("something else")', "RuntimeError: something else"),
        (
            'raise RuntimeError("operator torchvision::roi_align does not exist")',
            "RuntimeError: operator torchvision::roi_align does not exist",
        ),
        (
            'raise ValueError("operator torchvision::nms does not exist")',
            "ValueError: operator torchvision::nms does not exist",
        ),
        ('raise ImportError("torchvision was built wrongly")', "ImportError: torchvision was built wrongly"),
        ("import there_is_no_such_module", "ModuleNotFoundError: No module named 'there_is_no_such_module'"),
    ],
)
def test_another_failure_is_passed_on(
    imported: Callable[..., tuple[list[str], Any]], statement: str, expected: str
) -> None:
    said, torch = imported(statement)
    assert said == [expected]
    assert (torch.Library.made, torch.defined()) == (0, [])


def test_a_failure_that_declarations_do_not_mend_is_passed_on(
    imported: Callable[..., tuple[list[str], Any]],
) -> None:
    message = "operator torchvision::nms does not exist"
    said, _ = imported(f'raise RuntimeError("{message}")')
    assert said == [f"RuntimeError: {message}"]


def test_the_installed_torchvision() -> None:
    pytest.importorskip("torch", reason="torchvision needs torch")
    code = """
        import gc, sys
        try:
            import torchvision
            print("works")
        except RuntimeError as error:
            print(error)
        from mathdnn_jax.data.torchvision_import import import_torchvision_datasets
        datasets = import_torchvision_datasets()
        gc.collect()
        import torch, torchvision
        assert hasattr(torch.ops.torchvision, "nms")
        assert datasets is sys.modules["torchvision.datasets"] is torchvision.datasets
        assert import_torchvision_datasets() is datasets
        print(datasets.MNIST.__name__)
    """
    plain, name = run_python(code).splitlines()
    assert name == "MNIST"
    if plain == "works":
        pytest.skip("the installed torchvision needs no help: its compiled operators load")
    assert plain == "operator torchvision::nms does not exist"
