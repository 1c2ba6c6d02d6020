"""The import of torchvision: as it is where that works, with two declarations where it does not."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from data_files import run_python

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

IMPORT = """
    import gc, sys
    import torch
    from mathdnn_jax.data.torchvision_import import import_torchvision_datasets

    torch.ops.torchvision.compiled.update(sys.argv[1:])
    try:
        print(import_torchvision_datasets().__name__, import_torchvision_datasets().__name__)
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
    gc.collect()
    print(torch.Library.made, torch.defined())
"""

NMS = "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
LOADED = "torchvision.datasets torchvision.datasets"


def _fake(folder: Path, torchvision: str) -> Path:
    (folder / "torchvision" / "datasets").mkdir(parents=True)
    (folder / "torch.py").write_text(textwrap.dedent(FAKE_TORCH))
    (folder / "torchvision" / "__init__.py").write_text(textwrap.dedent(torchvision))
    # A module that was imported before the failure has seen the operators missing; it has to run again.
    (folder / "torchvision" / "half.py").write_text("import torch\nseen = hasattr(torch.ops.torchvision, 'nms')\n")
    (folder / "torchvision" / "datasets" / "__init__.py").write_text(
        "import torchvision.half\nassert torchvision.half.seen\n"
    )
    return folder


def test_nothing_is_declared_where_the_plain_import_works(tmp_path: Path) -> None:
    folder = _fake(tmp_path, NEEDS_OPERATORS)
    assert run_python(IMPORT, "nms", "qnms", path=folder).splitlines() == [LOADED, "0 []"]


def test_missing_operators_are_declared_and_stay(tmp_path: Path) -> None:
    folder = _fake(tmp_path, NEEDS_OPERATORS)
    assert run_python(IMPORT, path=folder).splitlines() == [LOADED, f"1 {[NMS, 'q' + NMS]}"]


def test_only_missing_operators_are_declared(tmp_path: Path) -> None:
    folder = _fake(tmp_path, NEEDS_OPERATORS)
    assert run_python(IMPORT, "nms", path=folder).splitlines() == [LOADED, f"1 {['q' + NMS]}"]
    assert run_python(IMPORT, "qnms", path=folder).splitlines() == [LOADED, f"1 {[NMS]}"]


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
def test_another_failure_is_passed_on(tmp_path: Path, statement: str, expected: str) -> None:
    folder = _fake(tmp_path, statement)
    assert run_python(IMPORT, path=folder).splitlines() == [expected, "0 []"]


def test_a_failure_that_declarations_do_not_mend_is_passed_on(tmp_path: Path) -> None:
    message = "operator torchvision::nms does not exist"
    folder = _fake(tmp_path, f'raise RuntimeError("{message}")')
    assert run_python(IMPORT, path=folder).splitlines()[0] == f"RuntimeError: {message}"


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
