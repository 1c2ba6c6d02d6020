"""The extra `data`: imported only when used, and named when absent."""

from __future__ import annotations

import pytest
from data_files import run_python

WITHOUT = """
    import sys

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == sys.argv[1]:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Absent())
    import mathdnn_jax.data as data
    from mathdnn_jax.errors import MissingDependencyError

    try:
        eval(sys.argv[2])
    except MissingDependencyError as error:
        print(error)
"""


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
        ("torch", "torch", "data.load('mnist', data_dir='nowhere')"),
        ("torchvision", "torchvision", "data.load('kmnist', data_dir='nowhere')"),
        ("sklearn", "scikit-learn", "data.load('digits')"),
        ("sklearn", "scikit-learn", "data.load('photographs')"),
        ("PIL", "pillow", "data.load('photographs')"),
        ("platformdirs", "platformdirs", "__import__('os').environ.pop('MATHDNN_DATA', 0), data.data_root()"),
    ],
)
def test_an_absent_package_is_named(absent: str, distribution: str, call: str) -> None:
    if absent == "torch":
        pytest.importorskip("torchvision", reason="torchvision has to be there for torch to be missed")
    message = run_python(WITHOUT, absent, call)
    assert f"needs {distribution}, which is not installed" in message
    assert message.endswith('run: pip install "mathdnn_jax[data]"')


def test_a_given_folder_needs_no_platformdirs() -> None:
    assert run_python(WITHOUT, "platformdirs", "print(data.data_root('given'))") == "given"


def test_a_broken_package_is_not_called_absent() -> None:
    code = """
        import sys
        from mathdnn_jax.data.optional import import_optional

        try:
            import_optional("sklearn.there_is_no_such_module", "this test")
        except ModuleNotFoundError as error:
            print(type(error).__name__, error.name)
    """
    assert run_python(code) == "ModuleNotFoundError sklearn.there_is_no_such_module"
