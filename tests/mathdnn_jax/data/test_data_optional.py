"""The extra `data`: imported only when used, and named when absent."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from mathdnn_jax import data
from mathdnn_jax.data.optional import import_optional
from mathdnn_jax.errors import MissingDependencyError

from .data_files import run_python, without_modules


class Absent:
    """An import finder, called before all others, that hides one package."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_importing_the_package_imports_nothing_optional() -> None:
    code = """
        import sys
        import mathdnn_jax.data
        optional = {"torch", "torchvision", "sklearn", "PIL", "platformdirs"}
        print(sorted(optional & {name.partition(".")[0] for name in sys.modules}))
    """
    assert run_python(code) == "[]"


@pytest.mark.parametrize(
    ("absent", "distribution", "call"),
    [
        ("torch", "torch", lambda: data.load("mnist", data_dir="nowhere")),
        ("torchvision", "torchvision", lambda: data.load("kmnist", data_dir="nowhere")),
        ("sklearn", "scikit-learn", lambda: data.load("digits")),
        ("sklearn", "scikit-learn", lambda: data.load("photographs")),
        ("PIL", "pillow", lambda: data.load("photographs")),
        ("platformdirs", "platformdirs", lambda: data.data_root()),
    ],
)
def test_an_absent_package_is_named(
    absent: str, distribution: str, call: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    if absent == "torch":
        pytest.importorskip("torchvision", reason="torchvision has to be there for torch to be missed")
    monkeypatch.delenv("MATHDNN_DATA", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Absent(absent), *sys.meta_path])
    # A package that has imported the absent one would not ask for it again.
    with (
        without_modules("torch", "torchvision", "sklearn", "PIL", "platformdirs"),
        pytest.raises(MissingDependencyError) as missing,
    ):
        call()
    assert f"needs {distribution}, which is not installed" in str(missing.value)
    assert str(missing.value).endswith('run: pip install "mathdnn_jax[data]"')


def test_a_given_folder_needs_no_platformdirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [Absent("platformdirs"), *sys.meta_path])
    with without_modules("platformdirs"):
        assert str(data.data_root("given")) == "given"


def test_a_broken_package_is_not_called_absent() -> None:
    with pytest.raises(ModuleNotFoundError) as broken:
        import_optional("sklearn.there_is_no_such_module", "this test")
    assert (type(broken.value), broken.value.name) == (ModuleNotFoundError, "sklearn.there_is_no_such_module")
