"""The command line without PyTorch: the library's own files and safetensors."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import parity
from mathdnn_jax.cli import main

pytest.importorskip("sklearn", reason="the commands are tried on scikit-learn's digits")


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """A NICE on 8 × 8 images with random weights; torch cannot be imported while it is in use."""
    monkeypatch.setitem(sys.modules, "torch", None)
    rng = np.random.default_rng(0)
    shapes = {
        "in_block.0.weight": (8, 32),
        "in_block.0.bias": (8,),
        "out_block.weight": (32, 8),
        "out_block.bias": (32,),
    }
    names = {f"coupling.{i}.{name}": shape for i in range(2) for name, shape in shapes.items()}
    return {
        name: (0.1 * rng.normal(size=shape)).astype(np.float32)
        for name, shape in {**names, "scaling.scale": (1, 64)}.items()
    }


def test_safetensors_go_all_the_way(
    state: dict[str, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, converted, back = (tmp_path / f"{name}.safetensors" for name in ("torch", "jax", "back"))
    parity.save_state(source, state)
    assert main(["convert", str(source), str(converted)]) == 0
    assert main(["convert", str(converted), str(back)]) == 0
    again = parity.load(back)
    assert all(again[name].tobytes() == array.tobytes() for name, array in state.items())
    capsys.readouterr()
    found = []
    for checkpoint in (source, converted):
        assert (
            main(["anomaly", f"--checkpoint={checkpoint}", "--inlier=digits", "--outlier=photographs", "--json"]) == 0
        )
        found.append({**json.loads(capsys.readouterr().out), "images_per_second": 0})
    assert found[0] == found[1]
    assert found[0]["type_2_total"] == 1000


@pytest.mark.parametrize(
    "arguments", [["certify", "{}"], ["convert", "{}", "out.pt"], ["demo", "--output", "demo"]], ids=lambda a: a[0]
)
def test_what_needs_pytorch_says_so(
    state: dict[str, np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.startswith("parity.reference")]:
        monkeypatch.delitem(sys.modules, name)
    path = tmp_path / "jax.safetensors"
    if arguments[0] == "convert":
        parity.save_params(path, parity.convert(state))
    else:
        parity.save_state(path, state)
    assert main([argument.format(path) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert "MissingDependencyError" in error
    assert 'pip install "mathdnn_jax[parity]"' in error
    assert list(tmp_path.rglob("*")) == [path]
