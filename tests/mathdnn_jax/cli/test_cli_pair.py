"""`mathdnn certify --torch … --flax …` on user code."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mathdnn_jax.cli import main

torch = pytest.importorskip("torch", reason="a certificate runs the PyTorch network")

CODE = {
    "torch_side": """
import torch
def build():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 5))
def other():
    return torch.nn.Linear(2, 2)
def nothing():
    return 3
""",
    "flax_side": """
import flax.linen as nn
class Network(nn.Module):
    scale: float = 1.0
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), padding="VALID")(x))
        return nn.Dense(5)(x.reshape(len(x), -1)) * self.scale
def build():
    return Network()
def wrong():
    return Network(1.001)
""",
}
SHAPE = ["--shape", "6,6,3", "--events", "8"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    package = tmp_path / "somebodys_package"
    package.mkdir()
    (package / "__init__.py").touch()
    for name, text in CODE.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    torch.manual_seed(0)
    conv, linear = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(64, 5)
    arrays = {"0": conv, "3": linear}
    torch.save(
        {f"module.{k}.{name}": a.data for k, layer in arrays.items() for name, a in layer.named_parameters()}, "net.pth"
    )
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("somebodys_package")]:
        del sys.modules[name]


def certify(torch_side: str = "build", flax_side: str = "build", *more: str) -> int:
    package = "somebodys_package"
    names = ["--torch", f"{package}.torch_side:{torch_side}", "--flax", f"{package}.flax_side:{flax_side}"]
    return main(["certify", "net.pth", *names, *more])


def test_a_pair_of_user_networks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert certify("build", "build", *SHAPE, "--save-rules", "rules.toml", "--gradients") == 0
    shown = capsys.readouterr().out
    assert "gradient of params/Conv_0/kernel" in shown
    assert "passed: Sequential" in shown
    certificate = json.loads((folder / "net.certificate.json").read_text())
    assert [entry["torch"] for entry in certificate["layers"]] == ["0", "3", "output"]
    assert 'prefix = "module."' in (folder / "rules.toml").read_text()
    np.save("x.npy", np.ones((2, 6, 6, 3), np.float32))
    again = ("--inputs", "x.npy", "--rules", "rules.toml", "--json", "--overwrite")
    assert certify("build", "build", *again) == 0
    assert json.loads(capsys.readouterr().out)["inputs"]["events"] == 2
    assert certify("build", "wrong", *SHAPE, "--output-layout", "same", "--overwrite") == 1
    said = capsys.readouterr().err
    assert "first in output" in said
    assert "What is wrong is between 3 and the output" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("build", "build"), "give the inputs of the networks"),
        (("other", "build", *SHAPE), "does not fit somebodys_package.torch_side:other"),
        (("nothing", "build", *SHAPE), "it returned a int"),
        (("gone", "build", *SHAPE), "there is no somebodys_package.torch_side:gone"),
        (("build", "build", *SHAPE, "-o", "net.pth"), "net.pth"),
        (("build", "build", "--inputs", "none.npy"), "none.npy is not an array"),
    ],
)
def test_invalid_pairs_are_explained(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    before = (folder / "net.pth").read_bytes()
    assert certify(*arguments) == 2
    assert words in capsys.readouterr().err
    assert (folder / "net.pth").read_bytes() == before
    assert not (folder / "net.certificate.json").exists()


def test_options_of_a_pair_need_the_pair(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certify", "net.pth", "--gradients"]) == 2
    assert "--gradients is for your own networks" in capsys.readouterr().err
    assert main(["certify", "net.pth", "--output-layout", "same"]) == 2
    assert "--output-layout is for your own networks" in capsys.readouterr().err
    assert main(["certify", "net.pth", "--torch", "a:b"]) == 2
    assert "--torch and --flax together" in capsys.readouterr().err
